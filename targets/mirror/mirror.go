// Package mirror sends a copy of each request to a second upstream and compares the answers.
//
// The client gets the answer of the target within and nothing of the copy: that has a
// goroutine, a connection and a time of its own, there are only so many of them at one time,
// and whatever becomes of one is counted and no more.
package mirror

import (
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/detached"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the target mirror.
var Kind = target.Define("mirror", files, build)

// mirror is one mirror target.
type mirror struct {
	route   string
	inner   func(x *message.Exchange) error
	to      target.RoundTripper
	share   uint32 // of unit.Whole
	key     *template.Key
	body    int64 // longest body of a request that is copied
	most    int64 // copies at one time
	timeout time.Duration
	field   string
	rules   *rules // nil: answers are not compared
	logger  *slog.Logger
	counts  counters

	under atomic.Int64 // copies that there are

	closing chan struct{} // closed when the copies are to end
	done    sync.WaitGroup
	mu      sync.Mutex
	calls   map[*detached.Call]bool // under way; guarded by mu, nil once closing
}

// counters are what became of copies.
type counters struct {
	answered, failed, dropped, tooLarge, incomplete *meter.Counter
	compared                                        [verdicts]*meter.Counter
}

func build(c *Config, env *target.Env) (target.Handler, error) {
	m, err := newMirror(c, env)
	if err != nil {
		return target.Handler{}, err
	}
	return target.Handler{Serve: m.serve, Close: m.close, Upstreams: []string{m.to.Name()}, Words: words(c)}, nil
}

func newMirror(c *Config, env *target.Env) (*mirror, error) {
	inner, err := env.Build(&c.Nested)
	errs := []error{err, c.check()}
	to, err := env.Upstream(c.To)
	errs = append(errs, unit.At("to", err))
	if len(inner.Upstreams) == 1 && inner.Upstreams[0] == c.To {
		errs = append(errs, unit.Problem("to", c.To+" is where the requests go: name another upstream"))
	}
	key, err := template.ParseKey(c.Key)
	errs = append(errs, unit.At("key", err))
	m := &mirror{
		route: env.Route, inner: inner.Serve, to: to, share: uint32(c.Share), key: key, body: c.Body.Bytes(), most: int64(c.Concurrency),
		timeout: c.Timeout.Std(), field: c.Header, logger: env.Logger,
		closing: make(chan struct{}), calls: map[*detached.Call]bool{},
	}
	if c.Compare != nil {
		m.rules, err = newRules(c.Compare)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.counts = newCounters(env, c.To, m.rules != nil)
	return m, nil
}

// words say what the settings mean, for explain.
func words(c *Config) []string {
	line := fmt.Sprintf("copies %s of the requests to %s, with bodies up to %s; no more than %d at one time, each for %s",
		c.Share, c.To, c.Body, c.Concurrency, c.Timeout)
	if c.Compare == nil {
		return []string{line}
	}
	return []string{line, fmt.Sprintf("compares the answers: status, header fields, bodies up to %s; logs %d differences a minute", c.Compare.Body, c.Compare.Log)}
}

func newCounters(env *target.Env, to string, compares bool) counters {
	counter := func(name, help, result string) *meter.Counter {
		if env.Metrics == nil {
			return new(meter.Counter)
		}
		return env.Metrics.Counter(name, help, target.Label{Name: "route", Value: env.Route}, target.Label{Name: "to", Value: to}, target.Label{Name: "result", Value: result})
	}
	copied := func(result string) *meter.Counter {
		return counter("sluice_mirror_requests_total", "Requests that were chosen to be copied to another upstream, and what became of the copy.", result)
	}
	c := counters{answered: copied("answered"), failed: copied("failed"), dropped: copied("dropped"), tooLarge: copied("too_large"), incomplete: copied("incomplete")}
	for v := range verdicts {
		if compares {
			c.compared[v] = counter("sluice_mirror_comparisons_total", "Answers to copied requests that were compared with those that clients got, and what differed first.", v.String())
		}
	}
	return c
}

// serve costs a request that is not copied a random number, and one that is the copy of its
// head, some allocations, and where its body streams the copy of that.
func (m *mirror) serve(x *message.Exchange) error {
	if x.Request.Upgrade != "" || m.share < uint32(unit.Whole) && m.key.Draw(x, uint32(unit.Whole)) >= m.share {
		return m.inner(x)
	}
	if x.Request.BodyLength() > m.body {
		m.counts.tooLarge.Add(x.Shard, 1)
		return m.inner(x)
	}
	if m.under.Add(1) > m.most {
		m.under.Add(-1)
		m.counts.dropped.Add(x.Shard, 1)
		return m.inner(x)
	}
	return m.serveCopied(x)
}

func (m *mirror) serveCopied(x *message.Exchange) error {
	c := &copied{mirror: m, call: detached.New(x, &x.Request), shard: x.Shard}
	if m.rules != nil {
		c.both = &comparison{rules: m.rules, arrived: make(chan struct{})}
	}
	defer c.settle() // A panic may pass here.
	if x.Request.Whole() {
		c.begin(nil)
	} else {
		x.Request.Body = &tee{Body: x.Request.Body, copied: c, length: x.Request.Body.Length()}
	}
	err := m.inner(x)
	if c.settle() && c.both != nil {
		c.both.watch(x, err)
	}
	return err
}

// close ends what is under way and waits for it. No exchange uses the target any more.
func (m *mirror) close() error {
	m.mu.Lock()
	close(m.closing)
	for call := range m.calls {
		call.Cancel()
	}
	m.calls = nil
	m.mu.Unlock()
	m.done.Wait()
	return nil
}

// enter notes a call that is under way; false where all are to end.
func (m *mirror) enter(call *detached.Call) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		return false
	}
	m.calls[call] = true
	return true
}

func (m *mirror) leave(call *detached.Call) {
	m.mu.Lock()
	delete(m.calls, call)
	m.mu.Unlock()
}
