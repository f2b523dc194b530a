package engine

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	r, e := newRig(t), &events{}
	passive := r.step("passive", policy.Hooks{
		OnResponse: func(*message.Exchange) message.Verdict { e.add("passive response"); return message.Next },
		OnDone:     func(*message.Exchange) { e.add("passive done") },
	})
	r.Swap(r.snapshot([]Step{r.noting(e, "edge", nil, nil)}, on{
		path:  "/a",
		steps: []Step{r.noting(e, "one", nil, nil), passive, r.noting(e, "two", nil, nil)},
		target: func(x *message.Exchange) error {
			e.add("target " + x.Facts.Route)
			return hello(x)
		},
	}))
	w, _ := r.get("/a")
	if w.status != 200 || string(w.body) != "hello" || w.aborted {
		t.Errorf("%d %q", w.status, w.body)
	}
	e.want(t, "edge request", "one request", "two request", "target route0",
		"two response 200", "passive response", "one response 200", "edge response 200",
		"two done", "passive done", "one done", "edge done")

	w, _ = r.get("/elsewhere")
	if w.status != 404 || problemOf(t, w.body) != "route_not_found" || w.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s", w.status, w.body)
	}
	e.want(t, "edge request", "edge response 404", "edge done")
	r.counts(`sluice_http_requests_total{route="unmatched",status="4xx"} 1`)
	r.counts(`sluice_http_requests_total{route="route0",status="2xx"} 1`)
	r.counts(`sluice_problems_total{code="route_not_found",source="client"} 1`)
}

var refusal = &message.Problem{Status: 403, Code: "forbidden", Title: "You may not", Source: message.SourcePolicy}

// TestVerdicts has three policies of which the middle one says something else than Next, once
// when the request passes and once when the answer does.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	type hook = func(x *message.Exchange) message.Verdict
	deny := func(x *message.Exchange) message.Verdict {
		x.Response.Header.Set("X-Why", "because")
		return x.Deny(refusal)
	}
	reply := func(x *message.Exchange) message.Verdict {
		x.Response.Reset()
		x.Response.Status = 202
		x.Response.SetBody([]byte("mine"))
		return message.Reply
	}
	abort := func(*message.Exchange) message.Verdict { return message.Abort }
	fault := func(x *message.Exchange) message.Verdict { return x.Fault(errBroken) }
	odd := func(*message.Exchange) message.Verdict { return 200 }
	forgetful := func(x *message.Exchange) message.Verdict { x.Deny(refusal); return message.Next }
	empty := func(x *message.Exchange) message.Verdict { x.Response.Reset(); return message.Reply }

	before := []string{"a request", "b request"}
	all := append(before, "c request", "target", "c response 200", "b response 200")
	with := func(list []string, more ...string) []string { return append(append([]string(nil), list...), more...) }
	short := func(status string) []string {
		return []string{"b response " + status, "a response " + status, "b done", "a done"}
	}
	rest := func(status string) []string { return []string{"a response " + status, "c done", "b done", "a done"} }
	tests := map[string]struct {
		request, response hook
		onFault           policy.OnFault
		status            int // 0: cut off
		code              string
		why               string // X-Why
		events            []string
		verdict           string // counted
	}{
		"deny":             {deny, nil, 0, 403, "forbidden", "because", with(before, short("403")...), "reply"},
		"reply":            {reply, nil, 0, 202, "", "", with(before, short("202")...), "reply"},
		"abort":            {abort, nil, 0, 0, "", "", with(before, "b done", "a done"), "abort"},
		"fault":            {fault, nil, policy.FaultDeny, 503, "policy_fault", "", with(before, short("503")...), "fault"},
		"fault, allowed":   {fault, nil, policy.FaultAllow, 200, "", "", with(all, rest("200")...), "fault"},
		"odd":              {odd, nil, policy.FaultDeny, 503, "policy_fault", "", with(before, short("503")...), "fault"},
		"next after deny":  {forgetful, nil, 0, 403, "forbidden", "", with(before, "c request", "c response 403", "b response 403", "a response 403", "c done", "b done", "a done"), ""},
		"reply of nothing": {empty, nil, 0, 500, "internal_error", "", with(before, short("500")...), "reply"},

		"late deny":           {nil, deny, 0, 403, "forbidden", "", with(all, rest("403")...), "reply"},
		"late reply":          {nil, reply, 0, 202, "", "", with(all, rest("202")...), "reply"},
		"late abort":          {nil, abort, 0, 0, "", "", with(all, "c done", "b done", "a done"), "abort"},
		"late fault":          {nil, fault, policy.FaultDeny, 503, "policy_fault", "", with(all, rest("503")...), "fault"},
		"late fault, allowed": {nil, fault, policy.FaultAllow, 200, "", "", with(all, rest("200")...), "fault"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, e := newRig(t), &events{}
			b := r.noting(e, "b", test.request, test.response)
			b.OnFault = test.onFault
			r.Swap(r.snapshot(nil, on{path: "/", steps: []Step{r.noting(e, "a", nil, nil), b, r.noting(e, "c", nil, nil)},
				target: func(x *message.Exchange) error {
					e.add("target")
					x.Response.Header.Append("ETag", `"1"`)
					return hello(x)
				}}))
			w, x := r.get("/")
			e.want(t, test.events...)
			if w.aborted != (test.status == 0) || w.started == (test.status == 0) || w.status != test.status {
				t.Errorf("status %d, aborted %t", w.status, w.aborted)
			}
			if test.code != "" && problemOf(t, w.body) != test.code {
				t.Errorf("%s", w.body)
			}
			if w.header.Get("X-Why") != test.why {
				t.Errorf("X-Why is %q", w.header.Get("X-Why"))
			}
			if test.code != "" && w.header.Has("ETag") {
				t.Error("a field of the answer that was there is left beside the problem")
			}
			if test.status == 0 && x.Response.Status != 0 {
				t.Errorf("the log shows %d for what was cut off", x.Response.Status)
			}
			if test.verdict != "" {
				r.counts(`sluice_policy_verdicts_total{policy="b",verdict="` + test.verdict + `"} 1`)
			}
			if logged := strings.Contains(r.log.String(), "broken"); logged != strings.Contains(name, "fault") {
				t.Errorf("the log is %s", r.log)
			}
		})
	}
}

func TestMethodNotAllowed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Swap(r.snapshot(nil, on{path: "/a", methods: []string{"GET", "PUT"}, target: hello}))
	w := &wire{}
	r.Serve(r.exchange(w, "POST", "/a"))
	if w.status != 405 || w.header.Get("Allow") != "GET, HEAD, PUT" && w.header.Get("Allow") != "GET, PUT" || problemOf(t, w.body) != "method_not_allowed" {
		t.Errorf("%d %v", w.status, w.header.Fields())
	}
}

// TestTargetFails leaves nothing of an answer that was begun but when to come back.
func TestTargetFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
		logged bool
	}{
		"problem":         {message.UpstreamTimeout, 504, "upstream_response_timeout", false},
		"wrapped problem": {errors.Join(errBroken, message.UpstreamBusy.WithDetail("x")), 503, "upstream_connections_exhausted", false},
		"other error":     {errBroken, 500, "internal_error", true},
		"no problem":      {(*message.Problem)(nil), 500, "internal_error", true},
		"no answer":       {nil, 500, "internal_error", true},
	} {
		r := newRig(t)
		body := &body{}
		r.Swap(r.snapshot(nil, on{path: "/", target: func(x *message.Exchange) error {
			x.Response.Header.Append("Content-Encoding", "gzip")
			x.Response.Header.Append("Retry-After", "7")
			x.Response.Body = body
			return test.err
		}}))
		w, _ := r.get("/")
		if w.status != test.status || problemOf(t, w.body) != test.code || w.header.Has("Content-Encoding") || body.closed != 1 {
			t.Errorf("%s: %d %v %s, closed %d times", name, w.status, w.header.Fields(), w.body, body.closed)
		}
		if w.header.Has("Retry-After") != (test.status == 503) {
			t.Errorf("%s: %v", name, w.header.Fields())
		}
		if strings.Contains(r.log.String(), `"in":"target"`) != test.logged {
			t.Errorf("%s: the log is %s", name, r.log)
		}
	}
}

// body notes what happens to it. Its chunks end with an error.
type body struct {
	chunks []string
	err    error
	closed int
	inner  message.Body
	panics string // the method that does
}

func (b *body) Next() ([]byte, error) {
	if b.panics == "Next" {
		panic("a mistake in Next")
	}
	if len(b.chunks) == 0 {
		if b.err == nil {
			return nil, io.EOF
		}
		return nil, b.err
	}
	chunk := b.chunks[0]
	b.chunks = b.chunks[1:]
	if chunk == "panic" {
		panic("a mistake in Next")
	}
	return []byte(chunk), nil
}
func (b *body) Length() int64            { return -1 }
func (b *body) Trailer() *message.Header { return nil }
func (b *body) Close() error {
	b.closed++
	if b.panics == "Close" {
		panic("a mistake in Close")
	}
	if b.inner != nil {
		return b.inner.Close()
	}
	return nil
}

// TestSendFails is an answer that breaks off: it is replaced as long as nothing
// was written, and cut off afterwards.
func TestSendFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body     *body
		failures []error
		gone     bool
		status   int
		aborted  bool
		code     string // counted
	}{
		"at once":           {&body{err: errBroken}, nil, false, 502, false, "upstream_body_broken"},
		"in the middle":     {&body{chunks: []string{"he"}, err: errBroken}, nil, false, 200, true, "upstream_body_broken"},
		"twice":             {&body{}, []error{errBroken, errBroken}, false, 0, true, "internal_error"},
		"client gone":       {&body{}, []error{message.ClientWriteFailed}, true, 0, true, "client_write_failed"},
		"problem of a body": {&body{}, []error{message.UpstreamTimeout}, false, 504, false, "upstream_response_timeout"},
	} {
		r := newRig(t)
		r.Swap(r.snapshot(nil, on{path: "/", target: func(x *message.Exchange) error {
			x.Response.Status = 200
			x.Response.Header.Append("ETag", `"1"`)
			x.Response.SetStream(test.body)
			return nil
		}}))
		w := &wire{failures: test.failures, gone: test.gone}
		r.Serve(r.exchange(w, "GET", "/"))
		if w.status != test.status || w.aborted != test.aborted || test.body.closed != 1 {
			t.Errorf("%s: %d, aborted %t, body closed %d times", name, w.status, w.aborted, test.body.closed)
		}
		if test.status >= 500 && (w.header.Has("ETag") || problemOf(t, w.body) != test.code) {
			t.Errorf("%s: %v %s", name, w.header.Fields(), w.body)
		}
		if !strings.Contains(r.metrics(), `code="`+test.code+`"`) {
			t.Errorf("%s: %s is not counted", name, test.code)
		}
	}
}

// TestWireProblem is a request that the wire has refused: no policy sees it, and it
// is answered and counted like the others.
func TestWireProblem(t *testing.T) {
	t.Parallel()
	r, e := newRig(t), &events{}
	r.Swap(r.snapshot([]Step{r.noting(e, "edge", nil, nil)}, on{path: "/", target: hello}))
	w := &wire{}
	x := r.exchange(w, "", "")
	x.Deny(message.HeaderTooLarge)
	r.Serve(x)
	e.want(t)
	if w.status != 431 || problemOf(t, w.body) != "header_too_large" || x.Response.Status != 431 {
		t.Errorf("%d %s", w.status, w.body)
	}
	r.counts(`sluice_problems_total{code="header_too_large",source="client"} 1`)
	r.counts(`sluice_http_requests_total{route="unmatched",status="4xx"} 1`)
}

// TestClientGone answers nobody, and the log says 499.
func TestClientGone(t *testing.T) {
	t.Parallel()
	r, e := newRig(t), &events{}
	r.Swap(r.snapshot(nil, on{path: "/", steps: []Step{r.noting(e, "a", nil, nil)},
		target: func(*message.Exchange) error { return message.ClientGone }}))
	w, x := r.get("/")
	if w.started || !w.aborted || x.Response.Status != 499 {
		t.Errorf("status %d, started %t, aborted %t", x.Response.Status, w.started, w.aborted)
	}
	e.want(t, "a request", "a response 499", "a done")
	r.counts(`sluice_problems_total{code="client_gone",source="client"} 1`)
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		asks    string
		allowed []string
		status  int
		passed  string // to the target
	}{
		"none":            {"", []string{"websocket"}, 200, ""},
		"allowed":         {"WebSocket", []string{"foo", "websocket"}, 101, "WebSocket"},
		"not allowed":     {"websocket", nil, 403, ""},
		"other, ignored":  {"foo", []string{"websocket"}, 200, ""},
		"a list, ignored": {"websocket, foo", []string{"websocket"}, 200, ""},
		"other, allowed":  {"foo", []string{"foo"}, 101, "foo"},
	} {
		r := newRig(t)
		tunnel := &tunnel{}
		r.Swap(r.snapshot(nil, on{path: "/", upgrades: test.allowed, target: func(x *message.Exchange) error {
			if x.Request.Upgrade != test.passed {
				t.Errorf("%s: the target sees %q", name, x.Request.Upgrade)
			}
			if x.Request.Upgrade == "" {
				return hello(x)
			}
			x.Response.Status, x.Response.Tunnel = 101, tunnel
			return nil
		}}))
		w := &wire{}
		x := r.exchange(w, "GET", "/")
		x.Request.Upgrade = test.asks
		r.Serve(x)
		x.Finish()
		if w.status != test.status || (tunnel.closed > 0) != (test.status == 101) {
			t.Errorf("%s: %d, tunnel closed %d times", name, w.status, tunnel.closed)
		}
	}
}

// A tunnel keeps its snapshot, and its policies hear of its end, although Serve has returned.
func TestTunnelEndsLater(t *testing.T) {
	t.Parallel()
	r, done := newRig(t), 0
	step := r.step("a", policy.Hooks{OnDone: func(*message.Exchange) { done++ }})
	route := on{path: "/", upgrades: []string{"foo"}, steps: []Step{step}, target: func(x *message.Exchange) error {
		x.Response.Status, x.Response.Tunnel = 101, &tunnel{}
		return nil
	}}
	r.Swap(r.snapshot(nil, route))
	x := r.exchange(&wire{}, "GET", "/")
	x.Request.Upgrade = "foo"
	r.Serve(x)
	if used := r.Current().inUse(); done != 0 || !used || x.Times.Done != 0 {
		t.Errorf("at its beginning: %d times done, snapshot in use %v", done, used)
	}
	for range 2 {
		x.Finish()
		if used := r.Current().inUse(); done != 1 || used || x.Times.Done == 0 {
			t.Errorf("at its end: %d times done, snapshot in use %v", done, used)
		}
	}
}

// leaver notes that it was told to leave.
type leaver struct{ told int }

func (l *leaver) Leave() { l.told++ }

// Tunnels are told to go away by the names of their route and upstream, as long as they last.
func TestLeaveTunnels(t *testing.T) {
	t.Parallel()
	r, l := newRig(t), &leaver{}
	r.Swap(r.snapshot(nil, on{path: "/", upgrades: []string{"foo"}, target: func(x *message.Exchange) error {
		x.Response.Status, x.Response.Tunnel = 101, &tunnel{}
		x.Facts.Upstream = "origin"
		x.SetLeaver(l) // The wire's part.
		return nil
	}}))
	x := r.exchange(&wire{}, "GET", "/")
	x.Request.Upgrade = "foo"
	r.Serve(x)
	route := x.Facts.Route
	r.LeaveTunnels(func(a, b string) bool { return a != route || b != "origin" })
	if l.told != 0 {
		t.Error("told without a reason")
	}
	r.LeaveTunnels(func(a, b string) bool { return a == route && b == "origin" })
	x.Finish()
	r.LeaveTunnels(func(string, string) bool { return true })
	if l.told != 1 {
		t.Errorf("told %d times", l.told)
	}
}

// tunnel notes that it is closed.
type tunnel struct {
	message.Tunnel
	closed int
}

func (t *tunnel) Close() error { t.closed++; return nil }

// TestTunnelIsClosed is a tunnel that does not come about.
func TestTunnelIsClosed(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func(x *message.Exchange) message.Verdict{
		"deny":  func(x *message.Exchange) message.Verdict { return x.Deny(refusal) },
		"abort": func(*message.Exchange) message.Verdict { return message.Abort },
		"panic": func(*message.Exchange) message.Verdict { panic("a mistake") },
	} {
		r, e, tunnel := newRig(t), &events{}, &tunnel{}
		r.Swap(r.snapshot(nil, on{path: "/", upgrades: []string{"foo"}, steps: []Step{r.noting(e, "a", nil, late)},
			target: func(x *message.Exchange) error {
				x.Response.Status, x.Response.Tunnel = 101, tunnel
				return nil
			}}))
		w := &wire{}
		x := r.exchange(w, "GET", "/")
		x.Request.Upgrade = "foo"
		r.Serve(x)
		if tunnel.closed != 1 || w.status == 101 || x.Response.Tunnel != nil {
			t.Errorf("%s: closed %d times, answered %d", name, tunnel.closed, w.status)
		}
	}
}

// TestWithoutConfiguration is before the first Swap and after Close.
func TestWithoutConfiguration(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w, _ := r.get("/")
	if w.status != 503 || problemOf(t, w.body) != "shutting_down" {
		t.Errorf("%d %s", w.status, w.body)
	}
	w = &wire{}
	x := r.exchange(w, "GET", "/")
	x.Deny(message.BadRequest)
	r.Serve(x)
	if w.status != 400 {
		t.Errorf("%d: the wire's problem is lost", w.status)
	}
}

// TestAnswerHead keeps what an answer to HEAD and 304 announce.
func TestAnswerHead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Swap(r.snapshot(nil, on{path: "/", target: func(x *message.Exchange) error {
		x.Response.Status, x.Response.Length = 304, 1234
		return nil
	}}))
	w, x := r.get("/")
	if w.status != 304 || x.Response.Length != 1234 || w.body != nil {
		t.Errorf("%d, length %d, %q", w.status, x.Response.Length, w.body)
	}
}

// TestServeAllocations is the budget of the engine's own work on a plain route:
// none.
func TestServeAllocations(t *testing.T) {
	r := newRig(t)
	nothing := func(*message.Exchange) message.Verdict { return message.Next }
	plain := r.step("plain", policy.Hooks{OnRequest: nothing, OnResponse: nothing, OnDone: func(*message.Exchange) {}})
	r.Swap(r.snapshot([]Step{plain}, on{path: "/orders/{id}", methods: []string{"GET"}, steps: []Step{plain, plain}, target: hello}))
	x, w := &message.Exchange{}, &wire{quiet: true}
	run := func() {
		fill(x, w, r.started, "GET", "/orders/17", "Accept", "*/*", "X-Forwarded-For", "10.0.0.1", "User-Agent", "test")
		r.Serve(x)
	}
	run()
	if n := testing.AllocsPerRun(1000, run); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if x.Response.Status != 200 {
		t.Errorf("status %d", x.Response.Status)
	}
}

func BenchmarkServe(b *testing.B) {
	r := newRig(b)
	r.Swap(r.snapshot(nil, on{path: "/orders/{id}", target: hello}))
	x, w := &message.Exchange{}, &wire{quiet: true}
	b.ReportAllocs()
	for b.Loop() {
		fill(x, w, r.started, "GET", "/orders/17", "Accept", "*/*", "Host", "api.example.com", "User-Agent", "test")
		r.Serve(x)
	}
}

// TestPrecedenceReachesTheTarget: the queues of upstreams go by it.
func TestPrecedenceReachesTheTarget(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seen := int8(-9)
	s := r.snapshot(nil, on{path: "/", target: func(x *message.Exchange) error {
		seen = x.Facts.Precedence
		x.Response.Status = 204
		return nil
	}})
	s.Routes[0].Precedence = 2
	r.Swap(s)
	r.Serve(r.exchange(&wire{}, "GET", "/"))
	if seen != 2 {
		t.Errorf("the target sees %d", seen)
	}
}
