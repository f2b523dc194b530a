package upstream

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/leaktest"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, "upstream")) }

// runner is an origin that answers when it is told to.
type runner struct {
	address string
	asked   chan string // the body of each request
	answer  chan runnersAnswer
	left    chan struct{} // a value for each request that was given up
}

type runnersAnswer struct {
	status int
	body   string
}

func newRunner(t testing.TB, p Protocol) *runner {
	t.Helper()
	r := &runner{asked: make(chan string, 1000), answer: make(chan runnersAnswer, 1000), left: make(chan struct{}, 1000)}
	end := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.asked <- string(body)
		select {
		case a := <-r.answer:
			if a.status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(a.status)
			_, _ = io.WriteString(w, a.body)
			if a.body == "begin" {
				w.(http.Flusher).Flush()
				<-req.Context().Done()
				r.left <- struct{}{}
			}
		case <-req.Context().Done():
			r.left <- struct{}{}
		case <-end:
		}
	}))
	if p == HTTP2 {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	s.Start()
	r.address = s.Listener.Addr().String()
	t.Cleanup(func() {
		close(end)
		s.Close()
	})
	return r
}

// racing is an upstream that asks the first runner first, and has all that must be given back.
func racing(t testing.TB, p Protocol, after time.Duration, change func(c *Config), runners ...*runner) (*Upstream, *counts) {
	t.Helper()
	c := Config{Name: "orders", Protocol: p, ConnectTimeout: time.Minute}
	for i, r := range runners {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: r.address, Priority: i})
	}
	c.Retry.Hedge = Hedge{After: after, Max: 1, Methods: "GET PUT "}
	c.Retry.Budget = retry.BudgetConfig{Share: 1, Minimum: 1000}
	c.Retry.BodyLimit = 1 << 20
	c.Concurrency = &Concurrency{Limiter: overload.Config{Limit: 100, Queue: 10}}
	c.Breaker, c.BreakAll, c.BreakEach = &breaker.Config{FailureShare: 0.5, Volume: 1, OpenFor: time.Hour}, true, true
	if change != nil {
		change(&c)
	}
	u, n := newUpstream(t, c)
	t.Cleanup(func() { restored(t, u) })
	return u, n
}

// restored waits until nothing of an upstream is in use, and looks whether somebody was blamed.
func restored(t testing.TB, u *Upstream) {
	t.Helper()
	busy := func() bool {
		load, _ := u.Load()
		for _, e := range u.Endpoints() {
			if open, idle := e.Connections(); open != idle || e.Active() != 0 {
				return true
			}
		}
		return load.InFlight != 0 || load.Waiting != 0 || u.budget.Underway() != 0 || u.active.Load() != 0
	}
	for deadline := time.Now().Add(20 * time.Second); busy(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			load, _ := u.Load()
			t.Errorf("%+v, %d further tries, %d active", load, u.budget.Underway(), u.active.Load())
			atRest(t, u)
			return
		}
	}
}

func overBoth(t *testing.T, run func(t *testing.T, p Protocol)) {
	t.Parallel()
	for name, p := range map[string]Protocol{"http1": HTTP1, "http2": HTTP2} {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t, p) })
	}
}

const (
	soon  = time.Millisecond
	never = time.Hour
)

// TestHedgeWins is a slow endpoint beside a quick one: the slow one is left and not blamed.
func TestHedgeWins(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		slow, quick := newRunner(t, p), newRunner(t, p)
		u, n := racing(t, p, soon, nil, slow, quick)
		x := exchange(&wire{}, "PUT", message.NewBytes([]byte("hello")))
		sent := make(chan string, 1)
		go func() {
			sent <- <-slow.asked
			quick.answer <- runnersAnswer{200, "quick"}
		}()
		if got := mustAsk(t, u, x); got != "quick" {
			t.Errorf("the answer is %q", got)
		}
		<-slow.left
		if x.Facts.Endpoint != quick.address || x.Facts.Tries != 2 || x.Times.FirstByte < soon {
			t.Errorf("%+v, %+v", x.Facts, x.Times)
		}
		if a, b := <-sent, <-quick.asked; a != "hello" || b != "hello" {
			t.Errorf("they were sent %q and %q", a, b)
		}
		if n.hedgeWon.Load() != 1 || n.hedgeLost.Load()+n.hedgeRefused.Load() != 0 {
			t.Errorf("won %d, lost %d, refused %d", n.hedgeWon.Load(), n.hedgeLost.Load(), n.hedgeRefused.Load())
		}
		restored(t, u)
		for _, e := range u.Endpoints() { // With a volume of one a failure would have opened it.
			if !e.breaker.Allow(message.Clock()).OK {
				t.Errorf("%s is blamed", e.address)
			}
		}
	})
}

// TestHedgeIsToldAnew tells the second endpoint what is left by then, and not what the first one was told.
func TestHedgeIsToldAnew(t *testing.T) {
	t.Parallel()
	told := make(chan int, 2)
	waits := func(c *played) (ok bool) {
		r, _, ok := c.request()
		if ok {
			ms, err := strconv.Atoi(r.Header.Get("X-Wait"))
			if err != nil {
				t.Error(err)
			}
			told <- ms
		}
		return ok
	}
	slow := newOrigin(t, func(c *played) {
		if waits(c) {
			_, _ = c.in.ReadByte() // Until it is given up.
		}
	})
	quick := newOrigin(t, func(c *played) {
		for waits(c) {
			c.answer(200, "quick")
		}
	})
	c := to(slow.address, quick.address)
	c.Endpoints[1].Priority = 1
	c.DeadlineField = "X-Wait"
	c.Retry.Hedge = Hedge{After: 20 * time.Millisecond, Max: 1, Methods: "GET "}
	u, _ := newUpstream(t, c)
	x := exchange(&wire{}, "GET", nil)
	x.Deadline = x.Times.Started.Add(time.Hour)
	if got := mustAsk(t, u, x); got != "quick" {
		t.Errorf("the answer is %q", got)
	}
	if first, second := <-told, <-told; second > first-15 || second < first-60000 {
		t.Errorf("%d ms are left, and then %d", first, second)
	}
	restored(t, u)
}

// TestHedgeLoses is a first endpoint that answers behind the hedge, and yet before the other one.
func TestHedgeLoses(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		first, other := newRunner(t, p), newRunner(t, p)
		u, n := racing(t, p, soon, nil, first, other)
		go func() {
			<-other.asked
			first.answer <- runnersAnswer{200, "first"}
		}()
		x := exchange(&wire{}, "GET", nil)
		if got := mustAsk(t, u, x); got != "first" || x.Facts.Endpoint != first.address {
			t.Errorf("the answer is %q, of %s", got, x.Facts.Endpoint)
		}
		<-other.left
		if n.hedgeWon.Load() != 0 || n.hedgeLost.Load() != 1 {
			t.Errorf("won %d, lost %d", n.hedgeWon.Load(), n.hedgeLost.Load())
		}
	})
}

// TestNoHedge is requests that go to one endpoint only.
func TestNoHedge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		body   message.Body
		change func(*Config)
		spoil  func(*message.Exchange)
	}{
		"a method that is not named":    {"POST", nil, nil, nil},
		"a body that streams":           {"PUT", &streaming{chunks: []string{"a"}}, nil, nil},
		"a body that is too long":       {"PUT", &streaming{chunks: []string{"ab"}, length: 2}, func(c *Config) { c.Retry.BodyLimit = 1 }, nil},
		"a tunnel":                      {"GET", nil, nil, func(x *message.Exchange) { x.Request.Upgrade = "websocket" }},
		"nobody else":                   {"GET", nil, func(c *Config) { c.Endpoints = c.Endpoints[:1] }, nil},
		"not for a long time":           {"GET", nil, func(c *Config) { c.Retry.Hedge.After = never }, nil},
		"no budget":                     {"GET", nil, func(c *Config) { c.Retry.Budget = retry.BudgetConfig{Share: 0.001, Minimum: 1} }, nil},
		"no room in the limit":          {"GET", nil, func(c *Config) { c.Concurrency.Limiter.Limit = 1 }, nil},
		"not wanted":                    {"GET", nil, func(c *Config) { c.Retry.Hedge = Hedge{} }, nil},
		"the others' breakers are open": {"GET", nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, other := newRunner(t, HTTP1), newRunner(t, HTTP1)
			u, n := racing(t, HTTP1, soon, test.change, first, other)
			refused := int64(0)
			switch name {
			case "no budget":
				u.budget.Take(message.Clock(), 1)
				defer u.budget.Return()
				refused = 1
			case "no room in the limit":
				refused = 1
			case "the others' breakers are open":
				u.Endpoints()[1].breaker.Record(message.Clock(), 0, 0, true, 0)
			}
			x := exchange(&wire{}, test.method, test.body)
			if test.spoil != nil {
				test.spoil(x)
			}
			go func() {
				<-first.asked
				for range 100 { // Time in which it could be hedged.
					time.Sleep(soon / 10)
				}
				for deadline := time.Now().Add(20 * time.Second); n.hedgeRefused.Load() < refused && time.Now().Before(deadline); {
					time.Sleep(soon)
				}
				first.answer <- runnersAnswer{200, "first"}
			}()
			if got := mustAsk(t, u, x); got != "first" || x.Facts.Tries != 1 {
				t.Errorf("%q after %d tries", got, x.Facts.Tries)
			}
			if len(other.asked) != 0 || n.hedgeWon.Load()+n.hedgeLost.Load() != 0 || n.hedgeRefused.Load() != refused {
				t.Errorf("asked %d, won %d, lost %d, refused %d", len(other.asked), n.hedgeWon.Load(), n.hedgeLost.Load(), n.hedgeRefused.Load())
			}
		})
	}
}

// TestHedgeAndRetry is endpoints whose answers are not wanted.
func TestHedgeAndRetry(t *testing.T) {
	t.Parallel()
	conditions, err := retry.Compile([]string{"503", "reset"})
	if err != nil {
		t.Fatal(err)
	}
	retried := func(attempts int) func(c *Config) {
		return func(c *Config) {
			c.Retry.Attempts, c.Retry.On = attempts, conditions
			c.Retry.Backoff = retry.Backoff{Base: 1, Cap: 1}
			c.Breaker = nil
		}
	}
	t.Run("the hedge makes good", func(t *testing.T) {
		t.Parallel()
		first, other := newRunner(t, HTTP1), newRunner(t, HTTP1)
		u, n := racing(t, HTTP1, soon, retried(0), first, other)
		go func() {
			<-other.asked
			first.answer <- runnersAnswer{503, "busy"}
			other.answer <- runnersAnswer{200, "other"}
		}()
		if got := mustAsk(t, u, exchange(&wire{}, "GET", nil)); got != "other" || n.hedgeWon.Load() != 1 || n.retried.Load() != 0 {
			t.Errorf("%q, won %d, %d retries", got, n.hedgeWon.Load(), n.retried.Load())
		}
	})
	t.Run("an answer is better than none", func(t *testing.T) {
		t.Parallel()
		first, other := newRunner(t, HTTP1), newRunner(t, HTTP1)
		u, _ := racing(t, HTTP1, soon, retried(0), first, other)
		go func() {
			<-other.asked
			first.answer <- runnersAnswer{}
			other.answer <- runnersAnswer{503, "busy"}
		}()
		x := exchange(&wire{}, "GET", nil)
		status, body, err := ask(u, x)
		if status != 503 || body != "busy" || err != nil || x.Facts.Tries != 2 {
			t.Errorf("%d %q %v after %d tries", status, body, err, x.Facts.Tries)
		}
	})
	t.Run("both are bad and the next one is good", func(t *testing.T) {
		t.Parallel()
		first, other, third := newRunner(t, HTTP1), newRunner(t, HTTP1), newRunner(t, HTTP1)
		u, n := racing(t, HTTP1, soon, retried(1), first, other, third)
		go func() {
			<-other.asked
			first.answer <- runnersAnswer{503, "busy"}
			other.answer <- runnersAnswer{503, "busy"}
			third.answer <- runnersAnswer{200, "third"}
		}()
		x := exchange(&wire{}, "GET", nil)
		if got := mustAsk(t, u, x); got != "third" || x.Facts.Tries != 3 || n.retried.Load() != 1 || n.hedgeLost.Load() != 1 {
			t.Errorf("%q after %d tries, %d retries, lost %d", got, x.Facts.Tries, n.retried.Load(), n.hedgeLost.Load())
		}
	})
	t.Run("quick failures are retried without a hedge", func(t *testing.T) {
		t.Parallel()
		first, other := newRunner(t, HTTP1), newRunner(t, HTTP1)
		u, n := racing(t, HTTP1, never, retried(1), first, other)
		first.answer <- runnersAnswer{}
		other.answer <- runnersAnswer{200, "other"}
		x := exchange(&wire{}, "GET", nil)
		if got := mustAsk(t, u, x); got != "other" || x.Facts.Tries != 2 || n.hedgeLost.Load()+n.hedgeWon.Load() != 0 {
			t.Errorf("%q after %d tries", got, x.Facts.Tries)
		}
	})
}

// TestSeveralHedges asks one more each time.
func TestSeveralHedges(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		runners := []*runner{newRunner(t, p), newRunner(t, p), newRunner(t, p), newRunner(t, p)}
		u, n := racing(t, p, soon, func(c *Config) { c.Retry.Hedge.Max = 2 }, runners...)
		go func() {
			for _, r := range runners[:3] {
				<-r.asked
			}
			runners[2].answer <- runnersAnswer{200, "third"}
		}()
		x := exchange(&wire{}, "GET", nil)
		if got := mustAsk(t, u, x); got != "third" || x.Facts.Tries != 3 {
			t.Errorf("%q after %d tries", got, x.Facts.Tries)
		}
		<-runners[0].left
		<-runners[1].left
		if len(runners[3].asked) != 0 || n.hedgeWon.Load() != 1 || n.hedgeLost.Load() != 1 {
			t.Errorf("won %d, lost %d", n.hedgeWon.Load(), n.hedgeLost.Load())
		}
	})
}

// TestGoneFromARace is a client that leaves while both are asked.
func TestGoneFromARace(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		first, other := newRunner(t, p), newRunner(t, p)
		u, _ := racing(t, p, soon, nil, first, other)
		w := &wire{}
		go func() {
			<-first.asked
			<-other.asked
			w.hangUp()
		}()
		if _, _, err := ask(u, exchange(w, "GET", nil)); !errors.Is(err, message.ClientGone) {
			t.Errorf("the problem is %v", err)
		}
		<-first.left
		<-other.left
	})
}

// TestGoneFromTheWinner is a client that leaves while the answer of the hedge streams.
func TestGoneFromTheWinner(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		first, other := newRunner(t, p), newRunner(t, p)
		u, _ := racing(t, p, soon, nil, first, other)
		go func() {
			<-first.asked
			other.answer <- runnersAnswer{200, "begin"}
		}()
		w := &wire{}
		x := exchange(w, "GET", nil)
		if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
			t.Fatal(err)
		}
		body := x.Response.Body
		if chunk, err := body.Next(); string(chunk) != "begin" || err != nil {
			t.Fatalf("%q, %v", chunk, err)
		}
		if body.(message.Waiter).Wait(soon) {
			t.Error("there is more")
		}
		w.awaited = make(chan struct{}, 1)
		go func() {
			<-w.awaited
			w.hangUp()
		}()
		if _, err := body.Next(); !errors.Is(err, message.ClientGone) {
			t.Errorf("the body ends with %v", err)
		}
		x.Response.CloseBody()
		<-other.left
		<-first.left
	})
}

// TestDeadlineOfARace ends both.
func TestDeadlineOfARace(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		first, other := newRunner(t, p), newRunner(t, p)
		u, _ := racing(t, p, soon, nil, first, other)
		x := exchange(&wire{}, "GET", nil)
		x.Deadline = x.Times.Started.Add(100 * time.Millisecond)
		if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) {
			t.Errorf("the problem is %v", err)
		}
	})
}

// TestPanicInARace comes to the goroutine of the exchange.
func TestPanicInARace(t *testing.T) {
	t.Parallel()
	first, other := newRunner(t, HTTP1), newRunner(t, HTTP1)
	u, _ := racing(t, HTTP1, soon, nil, first, other)
	u.metrics = &fragile{Metrics: u.metrics}
	defer func() {
		if reason, ok := recover().(string); !ok || !strings.Contains(reason, "a counter breaks") {
			t.Errorf("the reason is %v", reason)
		}
		<-other.left
	}()
	go func() {
		<-other.asked
		first.answer <- runnersAnswer{200, ""}
	}()
	_, _, _ = ask(u, exchange(&wire{}, "GET", nil))
}

type fragile struct{ Metrics }

func (f *fragile) Answered(uint32, int, time.Duration) { panic("a counter breaks") }

// TestManyRaces has requests at moments that nobody has chosen; at the end nothing is in use.
func TestManyRaces(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		var addresses []string
		for range 3 {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body)%3 == 0 {
					time.Sleep(2 * soon)
				}
				_, _ = w.Write(body)
			}))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetHTTP1(p == HTTP1)
			s.Config.Protocols.SetUnencryptedHTTP2(p == HTTP2)
			s.Start()
			t.Cleanup(s.Close)
			addresses = append(addresses, s.Listener.Addr().String())
		}
		u, n := racing(t, p, soon, func(c *Config) { c.Retry.Hedge.Max, c.Breaker = 2, nil; c.Endpoints = to(addresses...).Endpoints })
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() {
				for k := range 30 {
					text := strings.Repeat("x", 1000*i+k)
					w := &wire{}
					if k%10 == 9 {
						wait.Go(func() { time.Sleep(soon); w.hangUp() })
					}
					status, body, err := ask(u, exchange(w, "PUT", message.NewBytes([]byte(text))))
					if err != nil && (k%10 != 9 || !errors.Is(err, message.ClientGone)) || err == nil && (status != 200 || body != text) {
						t.Errorf("%d, %d bytes, %v", status, len(body), err)
					}
				}
			})
		}
		wait.Wait()
		if n.hedgeWon.Load()+n.hedgeLost.Load() == 0 {
			t.Error("nothing was hedged")
		}
	})
}

func BenchmarkHedged(b *testing.B) {
	for name, after := range map[string]time.Duration{"may be": never, "may not be": 0} {
		b.Run(name, func(b *testing.B) {
			o := newOrigin(b, echo)
			other := newRunner(b, HTTP1)
			u, _ := racing(b, HTTP1, after, nil, &runner{address: o.address}, other)
			b.ReportAllocs()
			for b.Loop() {
				mustAsk(b, u, exchange(&wire{}, "GET", nil))
			}
		})
	}
}
