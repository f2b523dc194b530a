package observe

import "github.com/sluice-gateway/sluice/internal/meter"

// UpstreamState is what is known of an upstream's endpoints when somebody looks.
type UpstreamState struct {
	Upstream  string
	Breaker   BreakerState // of the upstream as a whole
	Endpoints []EndpointState
}

// EndpointState is what is known of one endpoint.
type EndpointState struct {
	Address      string
	Active, Idle int    // connections
	State        string // healthy, unhealthy or ejected
	Breaker      BreakerState
}

// BreakerState is what a breaker does, the better first.
type BreakerState uint8

const (
	NoBreaker BreakerState = iota
	BreakerClosed
	BreakerHalfOpen
	BreakerOpen
)

// value is that of the metric.
func (s BreakerState) value() float64 { return float64(s) - float64(BreakerClosed) }

// The values of labels.
var (
	endpointStates  = [...]string{"healthy", "unhealthy", "ejected"}
	checkResults    = [...]string{"bad", "good"}
	breakerScopes   = [...]string{"upstream", "endpoint"}
	ejectionReasons = [...]string{"consecutive_failures", "failure_share", "success_rate", "latency"}
)

const healthy = 0 // Its place among endpointStates.

// UpstreamStates says who knows the endpoints. read is called on the goroutine that writes the metrics out,
// once for each metric.
func (g *Gateway) UpstreamStates(read func() []UpstreamState) {
	g.registry.collector(&upstreamConnections, func(emit func(float64, ...string)) {
		for _, r := range endpointRows(read()) {
			emit(float64(r.active), r.upstream, r.endpoint, "active")
			emit(float64(r.idle), r.upstream, r.endpoint, "idle")
		}
	})
	g.registry.collector(&upstreamEndpointHealthy, func(emit func(float64, ...string)) {
		for _, r := range endpointRows(read()) {
			emit(float64(r.healthy), r.upstream, r.endpoint)
		}
	})
	g.registry.collector(&upstreamBreakerState, func(emit func(float64, ...string)) {
		states := read()
		for i := range states {
			if b := states[i].Breaker; b != NoBreaker {
				emit(b.value(), states[i].Upstream, "")
			}
		}
		for _, r := range endpointRows(states) {
			if r.breaker != NoBreaker {
				emit(r.breaker.value(), r.upstream, r.endpoint)
			}
		}
	})
	g.registry.collector(&upstreamEndpoints, func(emit func(float64, ...string)) {
		for _, u := range read() {
			counts := map[string]int{}
			for i := range u.Endpoints {
				counts[u.Endpoints[i].State]++
			}
			for _, state := range endpointStates {
				emit(float64(counts[state]), u.Upstream, state)
			}
		}
	})
}

// endpointRow is an endpoint, or several under the name Other.
type endpointRow struct {
	upstream, endpoint    string
	active, idle, healthy int
	breaker               BreakerState // the worst
}

// endpointRows lists the endpoints that have series of their own, and for each upstream that has more
// the rest as one. An address that an upstream has twice is one.
func endpointRows(states []UpstreamState) (rows []endpointRow) {
	own := 0 // rows for a single address
	for i := range states {
		u := &states[i]
		at := map[string]int{} // places in rows of this upstream
		for j := range u.Endpoints {
			e := &u.Endpoints[j]
			name := e.Address
			row, ok := at[name]
			if !ok && (len(at) >= maxEndpointsOfOne || own >= maxEndpoints) {
				name = Other
				row, ok = at[name]
			}
			if !ok {
				if name != Other {
					own++
				}
				row = len(rows)
				at[name] = row
				rows = append(rows, endpointRow{upstream: u.Upstream, endpoint: name})
			}
			rows[row].add(e, name == Other)
		}
	}
	return rows
}

// add counts an endpoint in a row; several of one address are healthy or not together.
func (r *endpointRow) add(e *EndpointState, several bool) {
	r.active += e.Active
	r.idle += e.Idle
	r.breaker = max(r.breaker, e.Breaker)
	if e.State == endpointStates[healthy] && (several || r.healthy == 0) {
		r.healthy++
	}
}

// watchMetrics count what watches the endpoints of an upstream. Each is nil until that is there.
type watchMetrics struct {
	checks    *[len(checkResults)]*meter.Counter
	ejections *[len(ejectionReasons)]*meter.Counter
	opened    *[len(breakerScopes)]*meter.Counter
	refused   *[len(breakerScopes)]*meter.Counter
}

// Watch is called before anything of what it names is counted, while a configuration is
// compiled. What was there before stays.
func (m *UpstreamMetrics) Watch(checks, ejections, breakers bool) {
	for {
		before := m.watch.Load()
		var after watchMetrics
		if before != nil {
			after = *before
		}
		if checks && after.checks == nil {
			after.checks = new([len(checkResults)]*meter.Counter)
			m.resolve(&upstreamHealthChecks, after.checks[:], checkResults[:])
		}
		if ejections && after.ejections == nil {
			after.ejections = new([len(ejectionReasons)]*meter.Counter)
			m.resolve(&upstreamEjections, after.ejections[:], ejectionReasons[:])
		}
		if breakers && after.opened == nil {
			after.opened, after.refused = new([len(breakerScopes)]*meter.Counter), new([len(breakerScopes)]*meter.Counter)
			m.resolve(&upstreamBreakerOpened, after.opened[:], breakerScopes[:])
			m.resolve(&upstreamBreakerRefused, after.refused[:], breakerScopes[:])
		}
		if m.watch.CompareAndSwap(before, &after) {
			return
		}
	}
}

func (m *UpstreamMetrics) resolve(metric *Metric, counters []*meter.Counter, values []string) {
	for i := range counters {
		counters[i] = m.registry.counter(metric, m.upstream, values[i])
	}
}

// Checked counts an active check of an endpoint.
func (m *UpstreamMetrics) Checked(good bool) { m.watch.Load().checks[number(good)].Add(0, 1) }

// Ejected counts an ejection.
func (m *UpstreamMetrics) Ejected(reason string) {
	for i, known := range ejectionReasons {
		if known == reason {
			m.watch.Load().ejections[i].Add(0, 1)
		}
	}
}

// BreakerOpened counts a breaker that has opened: an endpoint's, or the upstream's.
func (m *UpstreamMetrics) BreakerOpened(endpoint bool) {
	m.watch.Load().opened[number(endpoint)].Add(0, 1)
}

// BreakerRefused counts a try that a breaker has refused.
func (m *UpstreamMetrics) BreakerRefused(shard uint32, endpoint bool) {
	m.watch.Load().refused[number(endpoint)].Add(shard, 1)
}

// number is the place of a claim that is true or not.
func number(claim bool) int {
	if claim {
		return 1
	}
	return 0
}

func removeWatchMetrics(r *Registry, upstream string) {
	for _, of := range []struct {
		metric *Metric
		values []string
	}{
		{&upstreamHealthChecks, checkResults[:]}, {&upstreamEjections, ejectionReasons[:]},
		{&upstreamBreakerOpened, breakerScopes[:]}, {&upstreamBreakerRefused, breakerScopes[:]},
	} {
		for _, value := range of.values {
			r.remove(of.metric, upstream, value)
		}
	}
}
