package upstream

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, n := newUpstream(t, to(o.address))
	for i := range 3 {
		x := exchange(&wire{}, "GET", nil)
		if body := mustAsk(t, u, x); body != "GET example.com " {
			t.Errorf("the origin got %q", body)
		}
		if x.Facts.Upstream != "orders" || x.Facts.Endpoint != o.address || x.Facts.Tries != 1 {
			t.Errorf("facts: %+v", x.Facts)
		}
		if x.Times.FirstByte <= 0 || (x.Times.Connected > 0) != (i == 0) {
			t.Errorf("times: %+v", x.Times)
		}
	}
	if o.accepted.Load() != 1 || n.connected.Load() != 1 || n.answered.Load() != 3 || n.unanswered.Load() != 0 {
		t.Errorf("%d connections, counted %d, %d answers", o.accepted.Load(), n.connected.Load(), n.answered.Load())
	}
	atRest(t, u)
}

// TestNamelessRequest is a request without Host, as HTTP/1.0 permits: each endpoint
// is asked under its own name, and the request stays as it was.
func TestNamelessRequest(t *testing.T) {
	t.Parallel()
	busy := newOrigin(t, func(c *played) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.answer(503, "")
		}
	})
	o := newOrigin(t, echo)
	c := to(busy.address, o.address)
	c.Retry = again(1, "503")
	u, _ := newUpstream(t, c)
	for range 4 { // Both orders.
		x := exchange(&wire{}, "GET", nil)
		x.Request.Authority = ""
		if body := mustAsk(t, u, x); body != "GET "+o.address+" " {
			t.Errorf("the origin got %q", body)
		}
		if x.Request.Authority != "" {
			t.Errorf("the request is now for %q", x.Request.Authority)
		}
	}
}

// TestSubRequest is a request of a target's own, beside the client's.
func TestSubRequest(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, _ := newUpstream(t, to(o.address))
	x := exchange(&wire{}, "GET", nil)
	x.Response.Header.Append("X-Own", "kept")
	var resp message.Response
	req := message.Request{Method: "POST", Path: "/sub", Authority: "internal", Body: message.NewBytes([]byte("question"))}
	for range 2 {
		req.Rewind()
		if err := u.RoundTrip(x, &req, &resp); err != nil {
			t.Fatal(err)
		}
		body, err := message.ReadAll(resp.Body, 100)
		if string(body) != "POST internal question" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		resp.CloseBody()
		resp.Reset()
	}
	if x.Response.Status != 0 || x.Response.Header.Get("X-Own") != "kept" || x.Request.Method != "GET" || x.Facts.Tries != 2 {
		t.Errorf("the exchange was touched: %+v", x.Response)
	}
	atRest(t, u)
}

// bodies are the kinds of request bodies: none, in memory, and streams with and
// without a first chunk that is there.
func bodies() map[string]func() message.Body {
	return map[string]func() message.Body{
		"none":      func() message.Body { return nil },
		"memory":    func() message.Body { return message.NewBytes([]byte("hello")) },
		"large":     func() message.Body { return message.NewBytes([]byte(strings.Repeat("x", 100_000))) },
		"streaming": func() message.Body { return &streaming{chunks: []string{"he", "llo"}} },
		"ready":     func() message.Body { return &ready{streaming{chunks: []string{"he", "llo"}}} },
	}
}

// TestPooledDied is a connection that the origin has closed while it was idle: not a
// byte has left, so any request goes over another one.
func TestPooledDied(t *testing.T) {
	t.Parallel()
	for kind, body := range bodies() {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+kind, func(t *testing.T) {
				t.Parallel()
				o := newOrigin(t, func(c *played) {
					if c.number == 1 {
						_, _, _ = c.request()
						c.answer(200, "once")
						return
					}
					echo(c)
				})
				u, n := newUpstream(t, to(o.address))
				mustAsk(t, u, exchange(&wire{}, "GET", nil))
				idle := u.Endpoints()[0].pool.idle[0]
				for idle.Quiet() { // The end is on its way.
				}
				x := exchange(&wire{}, method, body())
				mustAsk(t, u, x)
				if x.Facts.Tries != 1 || n.unanswered.Load() != 0 || o.requests.Load() != 2 {
					t.Errorf("%d tries, %d unanswered, the origin got %d requests", x.Facts.Tries, n.unanswered.Load(), o.requests.Load())
				}
				atRest(t, u)
			})
		}
	}
}

// TestDiedWithRequest is a pooled connection that the origin closes when it has the
// request: only what may be repeated, and is there to be repeated, is.
func TestDiedWithRequest(t *testing.T) {
	t.Parallel()
	for kind, body := range bodies() {
		for _, method := range []string{"GET", "PUT", "POST", "PATCH"} {
			again := message.Idempotent(method) && kind != "streaming" && kind != "ready"
			t.Run(method+" "+kind, func(t *testing.T) {
				t.Parallel()
				o := newOrigin(t, func(c *played) {
					if c.number == 1 {
						_, _, _ = c.request()
						c.answer(200, "once")
						_, _, _ = c.request()
						return
					}
					echo(c)
				})
				u, n := newUpstream(t, to(o.address))
				mustAsk(t, u, exchange(&wire{}, "GET", nil))
				x := exchange(&wire{}, method, body())
				status, answer, err := ask(u, x)
				switch {
				case again && (err != nil || status != 200 || x.Facts.Tries != 2):
					t.Errorf("%d %v, %d tries", status, err, x.Facts.Tries)
				case again && kind == "memory" && answer != method+" example.com hello":
					t.Errorf("the origin got %q the second time", answer)
				case !again && (!errors.Is(err, message.UpstreamClosed) || o.accepted.Load() != 1 || x.Facts.Tries != 1):
					t.Errorf("%d %v, %d connections, %d tries", status, err, o.accepted.Load(), x.Facts.Tries)
				}
				if n.unanswered.Load() != 1 {
					t.Errorf("%d unanswered", n.unanswered.Load())
				}
				atRest(t, u)
			})
		}
	}
}

// TestNeverTwice is what must not be sent again although it is idempotent and an
// attempt is left.
func TestNeverTwice(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		second string // what the origin says to the second request on a connection
		stay   bool   // and does not close
		want   *message.Problem
	}{
		"a byte of the answer": {second: "H", want: message.UpstreamClosed},
		"half a head":          {second: "HTTP/1.1 200 OK\r\nX: ", want: message.UpstreamClosed},
		"garbage":              {second: "no HTTP\r\n\r\n", want: message.UpstreamMalformed},
		"silence":              {stay: true, want: message.UpstreamTimeout},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, func(c *played) {
				_, _, _ = c.request()
				c.answer(200, "once")
				_, _, _ = c.request()
				_, _ = io.WriteString(c, test.second)
				if test.stay {
					_, _ = c.in.ReadByte()
				}
			})
			c := to(o.address)
			c.Retry = again(3, "connect_failure", "503")
			if test.stay { // The first request must be answered in this time.
				c.Limits.ResponseTimeout = 500 * time.Millisecond
			}
			u, n := newUpstream(t, c)
			mustAsk(t, u, exchange(&wire{}, "GET", nil))
			x := exchange(&wire{}, "GET", nil)
			_, _, err := ask(u, x)
			if !errors.Is(err, test.want) || x.Facts.Tries != 1 || o.requests.Load() != 2 || n.retried.Load() != 0 {
				t.Errorf("%v, %d tries, %d requests", err, x.Facts.Tries, o.requests.Load())
			}
			if x.Response.Status != 0 || x.Response.Header.Len() != 0 || x.Response.Body != nil {
				t.Errorf("something is left of the answer: %+v", x.Response)
			}
			atRest(t, u)
		})
	}
}

// TestFreshDied is a new connection that dies with the request: the origin may
// have closed it because of that.
func TestFreshDied(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, func(c *played) { _, _, _ = c.request() })
	c := to(o.address)
	c.Retry = again(3, "connect_failure")
	u, _ := newUpstream(t, c)
	_, _, err := ask(u, exchange(&wire{}, "GET", nil))
	if !errors.Is(err, message.UpstreamClosed) || o.accepted.Load() != 1 {
		t.Errorf("%v, %d connections", err, o.accepted.Load())
	}
	atRest(t, u)
}

func TestConnectFailure(t *testing.T) {
	t.Parallel()
	for kind, body := range bodies() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, echo)
			c := to(refusing(t), o.address)
			c.Retry = again(1, "connect_failure")
			u, n := newUpstream(t, c)
			for range 4 { // Both orders.
				x := exchange(&wire{}, "POST", body())
				mustAsk(t, u, x)
				if x.Facts.Tries != 1 || x.Facts.Endpoint != o.address {
					t.Errorf("facts: %+v", x.Facts)
				}
			}
			if n.retried.Load() != 2 || n.failed.Load() != 2 {
				t.Errorf("%d retries, %d failures to connect", n.retried.Load(), n.failed.Load())
			}
			atRest(t, u)
		})
	}
	for name, retry := range map[string]Retry{"no attempts": again(0, "connect_failure"), "not wanted": again(2), "all down": again(2, "connect_failure")} {
		c := to(refusing(t))
		c.Retry = retry
		u, n := newUpstream(t, c)
		x := exchange(&wire{}, "GET", nil)
		_, _, err := ask(u, x)
		if !errors.Is(err, message.UpstreamConnect) || x.Facts.Tries != 0 || x.Facts.Endpoint == "" {
			t.Errorf("%s: %v, facts %+v", name, err, x.Facts)
		}
		if name == "all down" && n.retried.Load() != 2 {
			t.Errorf("%s: %d retries", name, n.retried.Load())
		}
		atRest(t, u)
	}
}

func TestRetryStatus(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		method   string
		body     string // a key of bodies
		attempts int
		statuses []int // in turn, the last one for ever
		want     int
		tries    int
	}{
		"until it works": {"GET", "none", 3, []int{503, 502, 200}, 200, 3},
		"no more than":   {"GET", "none", 2, []int{503}, 503, 3},
		"another status": {"GET", "none", 2, []int{500}, 500, 1},
		"not idempotent": {"POST", "none", 2, []int{503}, 503, 1},
		"body in memory": {"PUT", "memory", 2, []int{503, 200}, 200, 2},
		"large body":     {"PUT", "large", 2, []int{503, 200}, 200, 2},
		"streaming body": {"PUT", "streaming", 2, []int{503, 200}, 503, 1},
		"no attempts":    {"GET", "none", 0, []int{503}, 503, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lengths := make(chan int, 10)
			o := newOrigin(t, func(c *played) {
				for {
					_, body, ok := c.request()
					if !ok {
						return
					}
					lengths <- len(body)
					c.answer(test.statuses[min(int(c.origin.requests.Load()), len(test.statuses))-1], "answer")
				}
			})
			c := to(o.address)
			c.Retry = again(test.attempts, "502", "503")
			u, n := newUpstream(t, c)
			x := exchange(&wire{}, test.method, bodies()[test.body]())
			status, body, err := ask(u, x)
			if err != nil || status != test.want || body != "answer" || x.Facts.Tries != test.tries {
				t.Errorf("%d %q %v after %d tries", status, body, err, x.Facts.Tries)
			}
			if x.Response.Header.Len() != 0 { // The wire takes Content-Length out.
				t.Errorf("the header is %v", x.Response.Header.Fields())
			}
			if o.accepted.Load() != 1 {
				t.Errorf("%d connections: an answer that is dropped costs its connection", o.accepted.Load())
			}
			if int(n.retried.Load()) != test.tries-1 || int(o.requests.Load()) != test.tries {
				t.Errorf("%d retries, %d requests", n.retried.Load(), o.requests.Load())
			}
			first := <-lengths
			for range test.tries - 1 {
				if again := <-lengths; again != first {
					t.Errorf("bodies of %d and %d bytes", first, again)
				}
			}
			atRest(t, u)
		})
	}
}

// TestRetryGoesElsewhere sees to it that an endpoint that answered badly is not
// asked again while there is another one.
func TestRetryGoesElsewhere(t *testing.T) {
	t.Parallel()
	for _, balance := range []Balance{RoundRobin, LeastRequest, Random} {
		var origins []*origin
		var addresses []string
		for range 4 {
			o := newOrigin(t, func(c *played) {
				for {
					if _, _, ok := c.request(); !ok {
						return
					}
					c.answer(503, "")
				}
			})
			origins, addresses = append(origins, o), append(addresses, o.address)
		}
		c := to(addresses...)
		c.Balance, c.Retry = balance, again(3, "503")
		u, _ := newUpstream(t, c)
		for range 20 {
			_, _, _ = ask(u, exchange(&wire{}, "GET", nil))
		}
		for _, o := range origins {
			if o.requests.Load() != 20 {
				t.Errorf("%s: %d requests of 20", balance, o.requests.Load())
			}
		}
	}
}

func TestNoEndpoint(t *testing.T) {
	t.Parallel()
	u, _ := newUpstream(t, to())
	if _, _, err := ask(u, exchange(&wire{}, "GET", nil)); !errors.Is(err, message.UpstreamNoEndpoint) {
		t.Error(err)
	}
}

// TestPanickingBody is a mistake in a policy that wraps the request's body: the
// panic goes on, and the pool does not lose count.
func TestPanickingBody(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.MaxConnections = 1
	u, _ := newUpstream(t, c)
	for range 3 {
		panicking(t, u)
		atRest(t, u)
	}
	mustAsk(t, u, exchange(&wire{}, "GET", nil))
}

// TestPanicInAFurtherTry gives back what the budget gave for it, and what is counted of the endpoint.
func TestPanicInAFurtherTry(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		c := to(refusing(t), newRunner(t, p).address)
		c.Protocol, c.Endpoints[1].Priority = p, 1
		c.Retry = again(1, "connect_failure")
		u, n := newUpstream(t, c)
		panicking(t, u)
		if retried, underway := n.retried.Load(), u.budget.Underway(); retried != 1 || underway != 0 {
			t.Errorf("%d further tries, of which %d are under way", retried, underway)
		}
		restored(t, u)
	})
}

// panicking asks with a body that panics.
func panicking(t *testing.T, u *Upstream) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
	}()
	_, _, _ = ask(u, exchange(&wire{}, "POST", &ready{streaming{panics: true}}))
}

func TestEqual(t *testing.T) {
	t.Parallel()
	a, b := to("10.0.0.1:80", "10.0.0.2:80"), to("10.0.0.1:80", "10.0.0.2:80")
	a.Retry, b.Retry = again(1, "503"), again(1, "503")
	if !a.Equal(&b) {
		t.Error("equal configurations differ")
	}
	for name, change := range map[string]func(c *Config){
		"weight":  func(c *Config) { c.Endpoints[1].Weight = 2 },
		"address": func(c *Config) { c.Endpoints[1].Address = "10.0.0.3:80" },
		"balance": func(c *Config) { c.Balance = Random },
		"status":  func(c *Config) { c.Retry = again(1, "502") },
		"limit":   func(c *Config) { c.Limits = http1.ClientLimits{HeaderBytes: 1} },
	} {
		c := to("10.0.0.1:80", "10.0.0.2:80")
		c.Retry = again(1, "503")
		change(&c)
		if a.Equal(&c) {
			t.Errorf("%s: a difference is not seen", name)
		}
	}
	u := New(a, &counts{}, nil)
	if !u.Made().Equal(&b) || u.Config().MaxConnections != 512 || u.Name() != "orders" {
		t.Errorf("%+v", u.Config())
	}
}
