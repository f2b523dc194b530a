package fallback

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
)

// wire is that of a client who waits, or does not.
type wire struct {
	message.Wire
	started, gone bool
}

func (w *wire) Started() bool { return w.started }
func (w *wire) Gone() bool    { return w.gone }

// origin is an upstream that does what a test says.
type origin struct {
	name  string
	serve func(x *message.Exchange) error
	asked int
}

func (o *origin) Name() string { return o.name }

func (o *origin) RoundTrip(x *message.Exchange, _ *message.Request, _ *message.Response) error {
	o.asked++
	x.Facts.Upstream = o.name
	return o.serve(x)
}

// answers makes an origin that sees the request and answers.
func answers(status int, fields ...string) func(x *message.Exchange) error {
	return func(x *message.Exchange) error {
		x.Facts.Tries++
		takeBody(x)
		x.Response.Status = status
		for i := 0; i < len(fields); i += 2 {
			x.Response.Header.Set(fields[i], fields[i+1])
		}
		return nil
	}
}

// breaks makes one that sees the request and fails.
func breaks(p *message.Problem) func(x *message.Exchange) error {
	return func(x *message.Exchange) error {
		x.Facts.Tries++
		takeBody(x)
		return p
	}
}

// refuses makes one that does not get to see the request.
func refuses(p *message.Problem) func(x *message.Exchange) error {
	return func(*message.Exchange) error { return p }
}

func takeBody(x *message.Exchange) {
	for body := x.Request.Body; body != nil; {
		if _, err := body.Next(); err != nil {
			break
		}
	}
}

// counters are the metrics of a test.
type counters map[string]*meter.Counter

func (c counters) Counter(name, _ string, labels ...target.Label) *meter.Counter {
	for _, l := range labels {
		name += " " + l.Value
	}
	if c[name] == nil {
		c[name] = new(meter.Counter)
	}
	return c[name]
}

// envOf has the targets upstream and fixed.
func envOf(metrics counters, origins ...*origin) *target.Env {
	e := &target.Env{Route: "r", Logger: slog.New(slog.DiscardHandler), Metrics: metrics}
	e.Upstream = func(name string) (target.RoundTripper, error) {
		for _, o := range origins {
			if o.name == name {
				return o, nil
			}
		}
		return nil, errors.New("there is no upstream " + name)
	}
	e.Build = func(n *target.Nested) (target.Handler, error) {
		var word string
		node := n.Kinds[0].Value.(*config.Node)
		if err := node.Decode(&word); err != nil {
			return target.Handler{}, err
		}
		switch n.Kind() {
		case "upstream":
			o, err := e.Upstream(word)
			if err != nil {
				return target.Handler{}, node.Locate(err)
			}
			return target.Handler{Serve: func(x *message.Exchange) error {
				return o.RoundTrip(x, &x.Request, &x.Response)
			}, Upstreams: []string{word}}, nil
		case "fixed":
			return target.Handler{Serve: func(x *message.Exchange) error {
				x.Response.Status = 200
				x.Response.Header.Set("X-Fixed", word)
				return nil
			}}, nil
		}
		return target.Handler{}, n.Kinds[0].Key.(*config.Node).Locate(errors.New("no such kind"))
	}
	return e
}

func handler(t *testing.T, text string, metrics counters, origins ...*origin) target.Handler {
	t.Helper()
	node, err := config.ParseNode("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	h, err := Kind.Build(node, envOf(metrics, origins...))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func arrived(method string, w *wire) *message.Exchange {
	x := &message.Exchange{}
	x.Begin(w)
	x.Response.Reset()
	x.Times.Started = time.Now()
	x.Request.Method = method
	return x
}

// stream is a body that can be read once.
type stream struct {
	text   string
	length int64
	closed bool
}

func (s *stream) Next() ([]byte, error) {
	if s.text == "" {
		return nil, io.EOF
	}
	chunk := []byte(s.text)
	s.text = ""
	return chunk, nil
}
func (s *stream) Length() int64            { return s.length }
func (s *stream) Trailer() *message.Header { return nil }
func (s *stream) Close() error             { s.closed = true; return nil }
func (s *stream) Ready() bool              { return true }

// present is a stream all of which is there, as the message of a call is.
type present struct{ stream }

func (p *present) Complete() int64 { return int64(len(p.text)) }

const simple = "{ upstream: a, to: { upstream: b } }"

func TestEachFailure(t *testing.T) {
	t.Parallel()
	all := map[string]func(x *message.Exchange) error{
		"upstream_connect_failed":        refuses(message.UpstreamConnect),
		"upstream_connect_timeout":       refuses(message.UpstreamConnectTime),
		"upstream_untrusted":             refuses(message.UpstreamUntrusted),
		"upstream_protocol":              refuses(message.UpstreamProtocol),
		"upstream_closed":                breaks(message.UpstreamClosed),
		"upstream_response_timeout":      breaks(message.UpstreamTimeout),
		"upstream_malformed_response":    breaks(message.UpstreamMalformed),
		"upstream_header_too_large":      breaks(message.UpstreamHeaderLimit.WithDetail("64 KiB")),
		"upstream_breaker_open":          refuses(message.UpstreamBroken),
		"upstream_overloaded":            refuses(message.UpstreamOverloaded),
		"upstream_connections_exhausted": refuses(message.UpstreamBusy),
		"upstream_no_endpoint":           refuses(message.UpstreamNoEndpoint),
		"deadline_exceeded":              breaks(message.DeadlineExceeded), // Of the upstream: the exchange has none.
		"502":                            answers(502),
		"503":                            answers(503, "X-Ill", "yes"),
		"504":                            answers(504),
	}
	for cause, serve := range all {
		metrics := counters{}
		a, b := &origin{name: "a", serve: serve}, &origin{name: "b", serve: answers(200, "X-From", "b")}
		h := handler(t, simple, metrics, a, b)
		x := arrived("GET", &wire{})
		x.Response.Header.Set("Retry-After", "1")
		if err := h.Serve(x); err != nil || x.Response.Status != 200 || b.asked != 1 || a.asked != 1 {
			t.Errorf("%s: %v, status %d, asked %d and %d times", cause, err, x.Response.Status, a.asked, b.asked)
		}
		if f := x.Response.Header.Fields(); len(f) != 1 || f[0].Value != "b" {
			t.Errorf("%s: what the first target left: %v", cause, f)
		}
		if x.Facts.Fallback != "b" || x.Facts.FallbackCause != cause {
			t.Errorf("%s: the facts are %q because of %q", cause, x.Facts.Fallback, x.Facts.FallbackCause)
		}
		if n := metrics["sluice_fallbacks_total r b"].Value(); n != 1 {
			t.Errorf("%s: counted %d", cause, n)
		}
	}
	for name, serve := range map[string]func(x *message.Exchange) error{
		"200": answers(200), "404": answers(404), "500": answers(500), "501": answers(501),
		"client gone": refuses(message.ClientGone), "bad body": refuses(message.BadRequestBody), "other": func(*message.Exchange) error { return errors.New("odd") },
	} {
		metrics := counters{}
		a, b := &origin{name: "a", serve: serve}, &origin{name: "b", serve: answers(200)}
		h := handler(t, simple, metrics, a, b)
		x := arrived("GET", &wire{})
		_ = h.Serve(x)
		if b.asked != 0 || x.Facts.Fallback != "" || metrics["sluice_fallbacks_total r b"].Value() != 0 {
			t.Errorf("%s: the fallback was asked", name)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		on    string
		serve func(x *message.Exchange) error
		asked int
	}{
		{"5xx", answers(500), 1},
		{"5xx", refuses(message.UpstreamConnect), 0},
		{"[timeout, \"429\"]", answers(429), 1},
		{"[timeout, \"429\"]", answers(503), 0},
		{"timeout", breaks(message.UpstreamTimeout), 1},
		{"reset", breaks(message.UpstreamTimeout), 0},
		{"4xx", answers(404), 1},
		{"'grpc:unavailable'", answers(200, "Grpc-Status", "14"), 1},
		{"'grpc:unavailable'", answers(200, "Grpc-Status", "13"), 0},
		{"'grpc:unavailable'", answers(200, "Grpc-Status", "x"), 0},
		{"'grpc:unavailable'", answers(200), 0},
	} {
		a, b := &origin{name: "a", serve: test.serve}, &origin{name: "b", serve: answers(200)}
		h := handler(t, "{ upstream: a, to: { upstream: b }, on: "+test.on+" }", counters{}, a, b)
		if _ = h.Serve(arrived("GET", &wire{})); b.asked != test.asked {
			t.Errorf("on %s: asked %d times, want %d", test.on, b.asked, test.asked)
		}
	}
}

// A request goes to another origin only if it is whole, and unseen or repeatable.
func TestSafety(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10)
	for name, test := range map[string]struct {
		method, more string
		body         message.Body
		serve        func(x *message.Exchange) error
		asked, fixed int
		got          string
	}{
		"POST that was seen":            {"POST", "", nil, answers(503), 0, 1, ""},
		"POST that was not":             {"POST", "", nil, refuses(message.UpstreamBroken), 1, 0, ""},
		"POST, vouched for":             {"POST", "methods: POST, ", nil, answers(503), 1, 0, ""},
		"PUT with a short body":         {"PUT", "", &stream{text: long, length: 10}, answers(503), 1, 0, long},
		"PUT with a long body":          {"PUT", "body: 9B, ", &stream{text: long, length: 10}, answers(503), 0, 1, ""},
		"PUT without a length":          {"PUT", "", &stream{text: long, length: -1}, answers(503), 0, 1, ""},
		"PUT, nothing kept":             {"PUT", "body: 0B, ", &stream{text: long, length: 10}, answers(503), 0, 1, ""},
		"PUT without a length, unseen":  {"PUT", "", &stream{text: long, length: -1}, refuses(message.UpstreamConnect), 1, 0, long},
		"POST with a body, unseen":      {"POST", "", &stream{text: long, length: 10}, refuses(message.UpstreamConnect), 1, 0, long},
		"POST with a body, vouched for": {"POST", "methods: POST, ", &stream{text: long, length: 10}, breaks(message.UpstreamClosed), 1, 0, long},
		"POST in memory":                {"POST", "", message.NewBytes([]byte(long)), answers(503), 0, 1, ""},
		"gRPC":                          {"POST", "on: ['grpc:unavailable'], ", message.NewBytes([]byte(long)), answers(200, "Grpc-Status", "14"), 1, 0, long},
		"gRPC that is there":            {"POST", "on: ['grpc:unavailable'], ", &present{stream{text: long, length: -1}}, answers(200, "Grpc-Status", "14"), 1, 0, long},
		"gRPC that is long":             {"POST", "body: 9B, on: ['grpc:unavailable'], ", &present{stream{text: long, length: -1}}, answers(200, "Grpc-Status", "14"), 0, 1, ""},
		"gRPC, of which none is named":  {"POST", "", &present{stream{text: long, length: -1}}, answers(503), 0, 1, ""},
		"POST that is there":            {"POST", "on: ['grpc:unavailable', '503'], ", &present{stream{text: long, length: -1}}, answers(503), 0, 1, ""},
		"PUT that is there":             {"PUT", "", &present{stream{text: long, length: -1}}, answers(503), 1, 0, long},
		"gRPC without a whole request":  {"POST", "on: ['grpc:unavailable'], ", &stream{text: long, length: -1}, answers(200, "Grpc-Status", "14"), 0, 1, ""},
	} {
		got := ""
		a, b := &origin{name: "a", serve: test.serve}, &origin{name: "b"}
		b.serve = func(x *message.Exchange) error {
			for body := x.Request.Body; body != nil; {
				chunk, err := body.Next()
				if err != nil {
					break
				}
				got += string(chunk)
			}
			x.Response.Status = 200
			return nil
		}
		h := handler(t, "{ upstream: a, "+test.more+"to: [{ upstream: b }, { fixed: f }] }", counters{}, a, b)
		x := arrived(test.method, &wire{})
		x.Request.Body = test.body
		if strings.HasPrefix(name, "gRPC") {
			x.Request.Header.Set("Content-Type", "application/grpc")
		}
		if err := h.Serve(x); err != nil || x.Response.Status != 200 {
			t.Errorf("%s: %v, status %d", name, err, x.Response.Status)
		}
		fixed := 0
		if x.Response.Header.Has("X-Fixed") {
			fixed = 1
		}
		if b.asked != test.asked || fixed != test.fixed || got != test.got {
			t.Errorf("%s: asked the upstream %d times with %q, the fixed answer %d times", name, b.asked, got, fixed)
		}
	}
}

func TestNobodyToAskFor(t *testing.T) {
	t.Parallel()
	past, later := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		change func(x *message.Exchange, w *wire)
		asked  int
	}{
		"usual":                     {func(*message.Exchange, *wire) {}, 1},
		"the client has an answer":  {func(_ *message.Exchange, w *wire) { w.started = true }, 0},
		"the client is gone":        {func(_ *message.Exchange, w *wire) { w.gone = true }, 0},
		"its time is over":          {func(x *message.Exchange, _ *wire) { x.Deadline = past }, 0},
		"there is time":             {func(x *message.Exchange, _ *wire) { x.Deadline = later }, 1},
		"the time it named is over": {func(x *message.Exchange, _ *wire) { x.ClientDeadline = past }, 0},
	} {
		a, b := &origin{name: "a", serve: answers(503)}, &origin{name: "b", serve: answers(200)}
		h := handler(t, simple, counters{}, a, b)
		w := &wire{}
		x := arrived("GET", w)
		test.change(x, w)
		if err := h.Serve(x); err != nil || b.asked != test.asked || test.asked == 0 && x.Response.Status != 503 {
			t.Errorf("%s: %v, status %d, asked %d times", name, err, x.Response.Status, b.asked)
		}
	}
}

// The deadline that an upstream sets for itself does not hold for the next one, but that of
// the client does.
func TestDeadlinesOfUpstreams(t *testing.T) {
	t.Parallel()
	now := time.Now()
	whole, client := now.Add(time.Hour), now.Add(time.Minute)
	for _, test := range []struct{ before, client, want time.Time }{
		{whole, time.Time{}, whole}, {time.Time{}, time.Time{}, time.Time{}}, {whole, client, client}, {time.Time{}, client, client}, {client, whole, client},
	} {
		a, b := &origin{name: "a"}, &origin{name: "b"}
		a.serve = func(x *message.Exchange) error {
			x.Deadline, x.ClientDeadline = now.Add(-time.Second), test.client
			return message.DeadlineExceeded
		}
		var got time.Time
		b.serve = func(x *message.Exchange) error {
			got = x.Deadline
			x.Response.Status = 200
			return nil
		}
		x := arrived("GET", &wire{})
		x.Deadline = test.before
		if err := handler(t, simple, counters{}, a, b).Serve(x); err != nil || b.asked != 1 || !got.Equal(test.want) {
			t.Errorf("%v, asked %d times, the deadline is %v, want %v", err, b.asked, got, test.want)
		}
		if !x.Times.Waited {
			t.Error("the next try begins with the exchange")
		}
	}
}

func TestChoicesInTurn(t *testing.T) {
	t.Parallel()
	metrics := counters{}
	a, b, c := &origin{name: "a", serve: answers(503)}, &origin{name: "b", serve: refuses(message.UpstreamConnect)}, &origin{name: "c", serve: answers(502)}
	h := handler(t, "{ upstream: a, to: [{ upstream: b }, { upstream: c }], header: x-fallback }", metrics, a, b, c)
	x := arrived("GET", &wire{})
	if err := h.Serve(x); err != nil || x.Response.Status != 502 || x.Response.Header.Get("X-Fallback") != "c" {
		t.Errorf("%v, status %d, fields %v", err, x.Response.Status, x.Response.Header.Fields())
	}
	if x.Facts.Fallback != "c" || x.Facts.FallbackCause != "upstream_connect_failed" || metrics["sluice_fallbacks_total r b"].Value() != 1 {
		t.Errorf("facts %+v", x.Facts.Fallback)
	}
	b.serve, c.serve = answers(503), refuses(message.UpstreamNoEndpoint)
	x = arrived("GET", &wire{})
	if err := h.Serve(x); !errors.Is(err, message.UpstreamNoEndpoint) || x.Response.Header.Has("X-Fallback") {
		t.Errorf("the last failure is %v, fields %v", err, x.Response.Header.Fields())
	}
	a.serve = answers(200)
	x = arrived("GET", &wire{})
	if err := h.Serve(x); err != nil || x.Response.Header.Has("X-Fallback") || x.Facts.Fallback != "" {
		t.Errorf("where nothing failed: %v %v", err, x.Response.Header.Fields())
	}
}

func TestDroppedAnswerIsClosed(t *testing.T) {
	t.Parallel()
	body := &stream{text: "ill", length: 3}
	a, b := &origin{name: "a"}, &origin{name: "b", serve: answers(200)}
	a.serve = func(x *message.Exchange) error {
		x.Response.Status = 503
		x.Response.SetStream(body)
		return nil
	}
	x := arrived("GET", &wire{})
	if err := handler(t, simple, counters{}, a, b).Serve(x); err != nil || !body.closed || body.text != "" || x.Response.Body != nil {
		t.Errorf("%v, closed %t, left %q", err, body.closed, body.text)
	}
}

// A client that sends a bad body is told so, as without a fallback.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	a := &origin{name: "a", serve: answers(200)}
	x := arrived("PUT", &wire{})
	x.Request.Body = &failing{message.RequestBodyTooSlow}
	h := handler(t, "{ upstream: a, to: { upstream: b } }", counters{}, a, &origin{name: "b"})
	if err := h.Serve(x); !errors.Is(err, message.RequestBodyTooSlow) || a.asked != 0 {
		t.Errorf("%v, asked %d times", err, a.asked)
	}
	x.Request.Body = &failing{errors.New("odd")}
	if err := h.Serve(x); !errors.Is(err, message.BadRequestBody) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f *failing) Next() ([]byte, error)    { return nil, f.err }
func (f *failing) Length() int64            { return 5 }
func (f *failing) Trailer() *message.Header { return nil }
func (f *failing) Close() error             { return nil }

func TestAllocations(t *testing.T) {
	a, b := &origin{name: "a"}, &origin{name: "b"}
	ok := func(x *message.Exchange) error { x.Response.Status = 200; return nil }
	a.serve, b.serve = ok, ok
	h := handler(t, simple, counters{}, a, b)
	x := arrived("GET", &wire{})
	if n := testing.AllocsPerRun(100, func() { _ = h.Serve(x) }); n != 0 {
		t.Errorf("%v allocations without a failure", n)
	}
	a.serve = func(x *message.Exchange) error { x.Response.Status = 503; return nil }
	if n := testing.AllocsPerRun(100, func() { _ = h.Serve(x) }); n != 0 {
		t.Errorf("%v allocations after a failure", n)
	}
}
