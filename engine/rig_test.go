package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/route"
	"github.com/sluice-gateway/sluice/target"
)

// rig is an engine with all that it talks to.
type rig struct {
	*Engine
	t        testing.TB
	registry *observe.Registry
	gateway  *observe.Gateway
	log      *lockedBuffer
	started  time.Time // of the exchanges; moves on, so that no log line is held back
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, registry: observe.NewRegistry(), log: &lockedBuffer{}, started: time.Now()}
	r.gateway = observe.NewGateway(r.registry, "test", time.Now())
	r.Engine = New(r.gateway, slog.New(slog.NewJSONHandler(r.log, nil)))
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// metrics is the text that a scraper gets.
func (r *rig) metrics() string {
	var b bytes.Buffer
	if err := r.registry.WriteText(&b); err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

// counts fails the test unless the metrics have this line.
func (r *rig) counts(line string) {
	r.t.Helper()
	if !strings.Contains(r.metrics(), "\n"+line+"\n") {
		r.t.Errorf("the metrics have no %s", line)
	}
}

// on makes a route of a target for a path.
type on struct {
	path     string
	methods  []string
	steps    []Step
	target   func(x *message.Exchange) error
	upgrades []string
}

func (r *rig) snapshot(edge []Step, routes ...on) *Snapshot {
	r.t.Helper()
	s := &Snapshot{Edge: edge, Unmatched: r.gateway.Route(observe.Unmatched), Listeners: []Listener{{Name: "web"}}}
	var rules []route.Rule
	for i, o := range routes {
		pattern, err := route.ParsePattern(o.path)
		if err != nil {
			r.t.Fatal(err)
		}
		name := fmt.Sprintf("route%d", i)
		rules = append(rules, route.Rule{Name: name, Paths: []route.Pattern{pattern}, Methods: o.methods})
		s.Routes = append(s.Routes, &Route{
			Name: name, Steps: o.steps, Target: target.Handler{Serve: o.target}, Kind: "test",
			Upgrades: o.upgrades, Metrics: r.gateway.Route(name),
		})
	}
	table, _, err := route.Build(rules, func() {})
	if err != nil {
		r.t.Fatal(err)
	}
	s.Table = table
	return s
}

// step makes a policy of hooks; its kind is also its name.
func (r *rig) step(kind string, h policy.Hooks) Step {
	return Step{Kind: kind, Name: kind, Hooks: h, Metrics: r.gateway.Policy(kind)}
}

// hello is a target that answers 200.
func hello(x *message.Exchange) error {
	x.Response.Status = 200
	x.Response.Header.Append("Content-Type", "text/plain")
	x.Response.SetBody(helloBody)
	return nil
}

var helloBody = []byte("hello")

// wire is a client: it keeps what it was answered.
type wire struct {
	status  int
	header  message.Header
	body    []byte
	started bool
	aborted bool
	gone    bool
	// failures are the errors of the first calls of Respond.
	failures []error
	quiet    bool // keeps nothing, and allocates nothing
}

func (w *wire) Respond(x *message.Exchange) error {
	resp := &x.Response
	if w.quiet {
		for resp.Body != nil {
			if _, err := resp.Body.Next(); err != nil {
				break
			}
		}
		resp.CloseBody()
		return nil
	}
	if len(w.failures) > 0 {
		err := w.failures[0]
		w.failures = w.failures[1:]
		if err != nil {
			return err
		}
	}
	if w.started {
		panic("two answers to one request")
	}
	if resp.Tunnel != nil {
		w.started, w.status = true, resp.Status
		return resp.Tunnel.Close()
	}
	var body []byte
	for resp.Body != nil {
		chunk, err := resp.Body.Next()
		if err != nil {
			if err.Error() == "EOF" {
				break
			}
			return message.UpstreamBodyBroken
		}
		w.started, w.status = true, resp.Status
		body = append(body, chunk...)
		w.body = body
	}
	w.started, w.status, w.body = true, resp.Status, body
	w.header.CopyFrom(&resp.Header)
	resp.CloseBody()
	return nil
}

func (w *wire) Started() bool               { return w.started }
func (w *wire) Abort()                      { w.aborted = true }
func (w *wire) Inform(int, *message.Header) {}
func (w *wire) Await(message.Canceler)      {}
func (w *wire) Arrived()                    {}
func (w *wire) LendBody()                   {}
func (w *wire) StopBody()                   {}
func (w *wire) ReturnBody()                 {}
func (w *wire) Gone() bool                  { return w.gone }
func (w *wire) BytesIn() int64              { return 10 }
func (w *wire) BytesOut() int64             { return int64(len(w.body)) }

// fill makes x a request that has just arrived.
func fill(x *message.Exchange, w *wire, started time.Time, method, path string, fields ...string) {
	x.Reset()
	x.Begin(w)
	x.Times.Started = started
	x.Response.Length = -1
	r := &x.Request
	r.Method, r.RawPath, r.Protocol, r.Scheme, r.Authority = method, path, "HTTP/1.1", "http", "api.example.com"
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Append(fields[i], fields[i+1])
	}
	x.Client = message.Client{Peer: peer, Address: peer.Addr(), AddressText: "192.0.2.9", Listener: "web"}
}

var peer = netip.MustParseAddrPort("192.0.2.9:40000")

func (r *rig) exchange(w *wire, method, path string, fields ...string) *message.Exchange {
	x := &message.Exchange{}
	r.started = r.started.Add(time.Minute)
	fill(x, w, r.started, method, path, fields...)
	return x
}

// get serves a GET.
func (r *rig) get(path string, fields ...string) (*wire, *message.Exchange) {
	w := &wire{}
	x := r.exchange(w, "GET", path, fields...)
	r.Serve(x)
	r.unpinned()
	return w, x
}

// unpinned fails the test if an exchange has not let go of its snapshot.
func (r *rig) unpinned() {
	r.t.Helper()
	if s := r.Current(); s != nil && s.inUse() {
		r.t.Error("the snapshot is still pinned")
	}
}

// problemOf reads a problem document with another parser.
func problemOf(t testing.TB, body []byte) (code string) {
	t.Helper()
	var doc struct {
		Type, Title, Code, Source, Retry string
		Status                           int
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	if doc.Type != ProblemType+doc.Code || doc.Title == "" || doc.Status < 400 || doc.Source == "" || doc.Retry == "" {
		t.Errorf("the problem document lacks something: %s", body)
	}
	return doc.Code
}

// events is what hooks note.
type events struct{ list []string }

func (e *events) add(s string) { e.list = append(e.list, s) }

func (e *events) want(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(e.list, want) {
		t.Errorf("events are\n%q, not\n%q", e.list, want)
	}
	e.list = nil
}

// noting returns a policy that notes each of its hooks.
func (r *rig) noting(e *events, kind string, onRequest, onResponse func(x *message.Exchange) message.Verdict) Step {
	return r.step(kind, policy.Hooks{
		OnRequest: func(x *message.Exchange) message.Verdict {
			e.add(kind + " request")
			if onRequest == nil {
				return message.Next
			}
			return onRequest(x)
		},
		OnResponse: func(x *message.Exchange) message.Verdict {
			e.add(fmt.Sprint(kind, " response ", x.Response.Status))
			if onResponse == nil {
				return message.Next
			}
			return onResponse(x)
		},
		OnDone: func(*message.Exchange) { e.add(kind + " done") },
	})
}

var errBroken = errors.New("broken")
