package observe

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
)

// Unmatched is the route under which exchanges count that no route took.
const Unmatched = "unmatched"

// Gateway holds the metrics of the gateway itself. One lives as long as the
// process. Route, Upstream, Listener and Policy are called while a configuration
// is compiled; Problem is called on the request path.
type Gateway struct {
	registry *Registry
	reloads  [2]*meter.Counter // refused, applied

	handovers [3]*meter.Counter // by Handover
	config    atomic.Pointer[appliedConfig]

	mu        sync.Mutex
	routes    handles[RouteMetrics]
	upstreams handles[UpstreamMetrics]
	listeners handles[ListenerMetrics]
	problems  atomic.Pointer[map[problemKey]*meter.Counter] // replaced under mu, never changed
}

type appliedConfig struct {
	revision uint64
	hash     string
	at       time.Time
}

type problemKey struct {
	code   string
	source message.Source
}

// handles are those of things with a name. At most limit names have their own;
// the rest share one, so a name past the limit costs nothing.
type handles[T any] struct {
	limit int
	own   map[string]*T
	other *T
}

// get finds or makes the handle of a name. A name called Other shares.
func (h *handles[T]) get(name string, create func(name string) *T) *T {
	if have, ok := h.own[name]; ok {
		return have
	}
	if name != Other && len(h.own) < h.limit {
		if h.own == nil {
			h.own = map[string]*T{}
		}
		made := create(name)
		h.own[name] = made
		return made
	}
	if h.other == nil {
		h.other = create(Other)
	}
	return h.other
}

// NewGateway registers the metrics of the gateway and of its process. The version
// is the gateway's; started is when it did.
func NewGateway(r *Registry, version string, started time.Time) *Gateway {
	g := &Gateway{registry: r}
	g.routes.limit, g.upstreams.limit, g.listeners.limit = maxRoutes+1, maxUpstreams, maxListeners-1
	g.problems.Store(&map[problemKey]*meter.Counter{})
	r.gauge(&buildInfo, version, runtime.Version()).Set(1)
	r.reader(&uptime, func() float64 { return time.Since(started).Seconds() })
	r.reader(&configRevision, func() float64 {
		if c := g.config.Load(); c != nil {
			return float64(c.revision)
		}
		return 0
	})
	r.collector(&configInfo, func(emit func(float64, ...string)) {
		if c := g.config.Load(); c != nil {
			emit(1, c.hash)
		}
	})
	r.collector(&configApplied, func(emit func(float64, ...string)) {
		if c := g.config.Load(); c != nil {
			emit(float64(c.at.UnixMilli()) / 1e3)
		}
	})
	g.reloads = [2]*meter.Counter{r.counter(&configReloads, "failure"), r.counter(&configReloads, "success")}
	for result, name := range handoverResults {
		g.handovers[result] = r.counter(&handovers, name)
	}
	// Two alerts watch these, so they are there before they first count.
	r.counter(&accessLogLines)
	g.Route(Unmatched)
	registerProcess(r, started)
	return g
}

// Applied counts a configuration that took effect. It is called by whoever swaps
// the snapshot, when that is done.
func (g *Gateway) Applied(revision uint64, hash string, at time.Time) {
	g.config.Store(&appliedConfig{revision, hash, at})
	g.reloads[1].Add(0, 1)
}

// Refused counts a configuration that did not take effect.
func (g *Gateway) Refused() { g.reloads[0].Add(0, 1) }

// Handover is how a hand-over of the listening sockets ended.
type Handover uint8

const (
	HandoverTaken Handover = iota
	HandoverGiven
	HandoverFailed
)

var handoverResults = [...]string{"taken", "given", "failed"}

// HandedOver counts a hand-over.
func (g *Gateway) HandedOver(h Handover) { g.handovers[h].Add(0, 1) }

// Route returns the handles of a route; past 1,000 routes those of Other. They
// are the same after a reload.
func (g *Gateway) Route(name string) *RouteMetrics {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.routes.get(name, func(name string) *RouteMetrics { return newRouteMetrics(g.registry, name) })
}

// Upstream returns the handles of an upstream; past 1,000 those of Other.
func (g *Gateway) Upstream(name string) *UpstreamMetrics {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.upstreams.get(name, func(name string) *UpstreamMetrics { return newUpstreamMetrics(g.registry, name) })
}

// Listener returns the handles of a listener; past 99 those of Other.
func (g *Gateway) Listener(name string) *ListenerMetrics {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listeners.get(name, func(name string) *ListenerMetrics { return newListenerMetrics(g.registry, name) })
}

// Policy returns the handles of a kind of policy.
func (g *Gateway) Policy(kind string) *PolicyMetrics { return newPolicyMetrics(g.registry, kind) }

// Discovery is how one upstream's source of endpoints does.
type Discovery struct {
	Upstream        string
	Updates, Faults uint64
	Good            time.Time // when it last had a good list; zero: never
}

// Discoveries says who knows the sources of endpoints. read is called on the goroutine
// that writes the metrics out.
func (g *Gateway) Discoveries(read func() []Discovery) {
	tell := func(m *Metric, value func(d *Discovery) float64) {
		g.registry.collector(m, func(emit func(float64, ...string)) {
			for _, d := range read() {
				if v := value(&d); v >= 0 {
					emit(v, d.Upstream)
				}
			}
		})
	}
	tell(&discoveryUpdates, func(d *Discovery) float64 { return float64(d.Updates) })
	tell(&discoveryFaults, func(d *Discovery) float64 { return float64(d.Faults) })
	tell(&discoveryAge, func(d *Discovery) float64 {
		if d.Good.IsZero() {
			return -1
		}
		return max(0, time.Since(d.Good).Seconds())
	})
}

// Load is how busy one upstream with a limit of concurrency is.
type Load struct {
	Upstream                  string
	Limit, Active, Waiting    int
	Full, Displaced, TimedOut int64 // refused, by reason, since the upstream was made
}

// Loads says who knows the limits of concurrency. read is called on the goroutine that
// writes the metrics out.
func (g *Gateway) Loads(read func() []Load) {
	g.registry.collector(&upstreamConcurrency, func(emit func(float64, ...string)) {
		for _, l := range read() {
			emit(float64(l.Limit), l.Upstream, "limit")
			emit(float64(l.Active), l.Upstream, "active")
			emit(float64(l.Waiting), l.Upstream, "waiting")
		}
	})
	g.registry.collector(&upstreamShed, func(emit func(float64, ...string)) {
		for _, l := range read() {
			emit(float64(l.Full), l.Upstream, "full")
			emit(float64(l.Displaced), l.Upstream, "displaced")
			emit(float64(l.TimedOut), l.Upstream, "timed_out")
		}
	})
}

// Group is how one upstream that is made of others does.
type Group struct {
	Upstream string
	Refused  int64
	Members  []GroupMember
}

// GroupMember is how a member does: its state is one of memberStates.
type GroupMember struct {
	Name, State                         string
	Requests, Spilled, Failures, Passed int64
}

// Groups says who knows the upstreams that are made of others. read is called on the goroutine
// that writes the metrics out.
func (g *Gateway) Groups(read func() []Group) {
	tell := func(m *Metric, value func(m *GroupMember) int64) {
		g.registry.collector(m, func(emit func(float64, ...string)) {
			for _, group := range read() {
				for i := range group.Members {
					emit(float64(value(&group.Members[i])), group.Upstream, group.Members[i].Name)
				}
			}
		})
	}
	tell(&groupRequests, func(m *GroupMember) int64 { return m.Requests })
	tell(&groupSpilled, func(m *GroupMember) int64 { return m.Spilled })
	tell(&groupFailures, func(m *GroupMember) int64 { return m.Failures })
	tell(&groupPassed, func(m *GroupMember) int64 { return m.Passed })
	g.registry.collector(&groupRefused, func(emit func(float64, ...string)) {
		for _, group := range read() {
			emit(float64(group.Refused), group.Upstream)
		}
	})
	g.registry.collector(&groupState, func(emit func(float64, ...string)) {
		for _, group := range read() {
			for _, m := range group.Members {
				for _, state := range memberStates {
					is := 0.0
					if m.State == state {
						is = 1
					}
					emit(is, group.Upstream, m.Name, state)
				}
			}
		}
	})
}

// Certificates says who knows the certificates of listeners. read is called on the
// goroutine that writes the metrics out.
func (g *Gateway) Certificates(read func(emit func(listener, source string, seconds float64))) {
	g.registry.collector(&certificateLeft, func(emit func(float64, ...string)) {
		read(func(listener, source string, seconds float64) { emit(seconds, listener, source) })
	})
}

// Floods says who knows the streams and connections of clients that were turned away. Each read is called on the
// goroutine that writes the metrics out, and emits each set of labels once.
func (g *Gateway) Floods(floods, resets func(emit func(listener, protocol, kind string, n int64))) {
	g.registry.collector(&listenerFloods, func(emit func(float64, ...string)) {
		floods(func(listener, protocol, kind string, n int64) { emit(float64(n), listener, protocol, kind) })
	})
	g.registry.collector(&listenerResets, func(emit func(float64, ...string)) {
		resets(func(listener, protocol, reason string, n int64) { emit(float64(n), listener, protocol, reason) })
	})
}

// UpstreamFloods is the same for origins.
func (g *Gateway) UpstreamFloods(read func(emit func(upstream, kind string, n int64))) {
	g.registry.collector(&upstreamFloods, func(emit func(float64, ...string)) {
		read(func(upstream, kind string, n int64) { emit(float64(n), upstream, kind) })
	})
}

// CertificateProblems says who knows how many certificates of a listener need somebody.
// read is called on the goroutine that writes the metrics out.
func (g *Gateway) CertificateProblems(read func(emit func(listener string, number int))) {
	g.registry.collector(&certificateProblems, func(emit func(float64, ...string)) {
		read(func(listener string, number int) { emit(float64(number), listener) })
	})
}

// Retain forgets the routes, upstreams and listeners for which it is told false,
// so that a process whose configuration changes often does not run into the limits
// with names that are gone. It is called after a swap. Exchanges that still use a
// forgotten handle do no harm; their counts are not shown.
func (g *Gateway) Retain(route, upstream, listener func(name string) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range g.routes.own {
		if name != Unmatched && !route(name) {
			delete(g.routes.own, name)
			removeRouteMetrics(g.registry, name)
		}
	}
	for name := range g.upstreams.own {
		if !upstream(name) {
			delete(g.upstreams.own, name)
			removeUpstreamMetrics(g.registry, name)
		}
	}
	for name := range g.listeners.own {
		if !listener(name) {
			delete(g.listeners.own, name)
			removeListenerMetrics(g.registry, name)
		}
	}
}

// Problem counts an exchange that ended with p. It takes no lock for a problem
// that was counted before: a flood of refusals stays cheap.
func (g *Gateway) Problem(shard uint32, p *message.Problem) {
	key := problemKey{p.Code, p.Source}
	counter, ok := (*g.problems.Load())[key]
	if !ok {
		counter = g.newProblem(key)
	}
	counter.Add(shard, 1)
}

// newProblem adds a counter to a copy of the table. Codes are declared in code
// and few; should they not be, the registry hands out Other and the table stops
// growing at its limit.
func (g *Gateway) newProblem(key problemKey) *meter.Counter {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := *g.problems.Load()
	if counter, ok := old[key]; ok {
		return counter
	}
	counter := g.registry.counter(&problems, key.code, key.source.String())
	if len(old) >= maxProblems {
		return counter
	}
	grown := make(map[problemKey]*meter.Counter, len(old)+1)
	for k, v := range old {
		grown[k] = v
	}
	grown[key] = counter
	g.problems.Store(&grown)
	return counter
}
