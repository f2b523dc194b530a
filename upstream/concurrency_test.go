package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/overload"
)

// holding is an origin that answers each request when it is told to.
func holding(t *testing.T) (o *origin, release chan int) {
	release = make(chan int)
	o = newOrigin(t, func(c *played) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			status, ok := <-release
			if !ok {
				return
			}
			c.answer(status, "")
		}
	})
	t.Cleanup(func() { close(release) }) // Before the origin is closed, which waits for it.
	return o, release
}

// bounded is an upstream with a limit of concurrency.
func bounded(t *testing.T, address string, c *Concurrency) *Upstream {
	u, _ := newUpstream(t, Config{Endpoints: []EndpointConfig{{Address: address}}, Concurrency: c})
	return u
}

// until waits for a state of the limiter.
func until(t *testing.T, u *Upstream, what string, is func(v overload.View) bool) {
	t.Helper()
	for range 5000 {
		if v, _ := u.Load(); is(v) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	v, _ := u.Load()
	t.Fatalf("%s: %+v", what, v)
}

// asking sends a request and tells its error.
func asking(u *Upstream, x *message.Exchange) chan error {
	result := make(chan error, 1)
	go func() {
		_, _, err := ask(u, x)
		result <- err
	}()
	return result
}

func TestConcurrencyRefuses(t *testing.T) {
	t.Parallel()
	o, release := holding(t)
	u := bounded(t, o.address, &Concurrency{Limiter: overload.Config{Limit: 1}})
	first := asking(u, exchange(&wire{}, "GET", nil))
	until(t, u, "one is under way", func(v overload.View) bool { return v.InFlight == 1 })
	x := exchange(&wire{}, "GET", nil)
	if err := u.RoundTrip(x, &x.Request, &x.Response); !errors.Is(err, message.UpstreamOverloaded) || x.Response.Header.Get("Retry-After") != "1" {
		t.Errorf("%v, Retry-After %q", err, x.Response.Header.Get("Retry-After"))
	}
	release <- 200
	if err := <-first; err != nil {
		t.Error(err)
	}
	if v, ok := u.Load(); !ok || v.InFlight != 0 || v.Full != 1 {
		t.Errorf("%+v", v)
	}
}

func TestConcurrencyQueue(t *testing.T) {
	t.Parallel()
	o, release := holding(t)
	u := bounded(t, o.address, &Concurrency{
		Limiter: overload.Config{Limit: 1, Queue: 2, Timeout: time.Minute},
		Groups:  []GroupPriority{{"gold", 0}, {"free", 3}},
	})
	of := func(group string) *message.Exchange {
		x := exchange(&wire{}, "GET", nil)
		x.Facts.Consumer = &message.Consumer{Groups: []string{"other", group}}
		return x
	}
	waiting := func(n int) func(v overload.View) bool {
		return func(v overload.View) bool { return v.InFlight == 1 && v.Waiting == n }
	}
	first := asking(u, of("gold"))
	until(t, u, "one is under way", waiting(0))
	free := asking(u, of("free"))
	until(t, u, "free waits", waiting(1))
	w := &wire{}
	plain := asking(u, exchange(w, "GET", nil))
	until(t, u, "two wait", waiting(2))
	gold := asking(u, of("gold"))
	if err := <-free; !errors.Is(err, message.UpstreamOverloaded) {
		t.Error("free kept its place:", err)
	}
	w.hangUp()
	if err := <-plain; !errors.Is(err, message.ClientGone) {
		t.Error(err)
	}
	until(t, u, "gold waits", waiting(1))
	for _, result := range []chan error{first, gold} {
		release <- 200
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	until(t, u, "nothing is left", func(v overload.View) bool { return v.InFlight == 0 && v.Waiting == 0 })
	atRest(t, u)
}

// A wait has its time from when it begins, and not from when the request came: a target that has failed, or a
// policy, may have taken longer than that.
func TestConcurrencyWaitBeginsLate(t *testing.T) {
	t.Parallel()
	o, release := holding(t)
	u := bounded(t, o.address, &Concurrency{Limiter: overload.Config{Limit: 1, Queue: 2, Timeout: time.Minute}})
	first := asking(u, exchange(&wire{}, "GET", nil))
	until(t, u, "one is under way", func(v overload.View) bool { return v.InFlight == 1 })
	x := exchange(&wire{}, "GET", nil)
	x.Times.Started, x.Times.Waited = time.Now().Add(-time.Hour), true
	second := asking(u, x)
	until(t, u, "another one waits", func(v overload.View) bool { return v.Waiting == 1 })
	for _, result := range []chan error{first, second} {
		release <- 200
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func TestConcurrencyWaitEnds(t *testing.T) {
	t.Parallel()
	o, release := holding(t)
	u := bounded(t, o.address, &Concurrency{Limiter: overload.Config{Limit: 1, Queue: 2, Timeout: 20 * time.Millisecond}})
	first := asking(u, exchange(&wire{}, "GET", nil))
	until(t, u, "one is under way", func(v overload.View) bool { return v.InFlight == 1 })
	if _, _, err := ask(u, exchange(&wire{}, "GET", nil)); !errors.Is(err, message.UpstreamOverloaded) {
		t.Error(err)
	}
	x := exchange(&wire{}, "GET", nil)
	x.Deadline = time.Now().Add(5 * time.Millisecond)
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) {
		t.Error(err)
	}
	release <- 200
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Each try enters anew and leaves, whatever becomes of it.
func TestConcurrencyOfTries(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, func(c *played) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.answer(503, "")
		}
	})
	u, _ := newUpstream(t, Config{
		Endpoints:   []EndpointConfig{{Address: o.address}, {Address: refusing(t)}},
		Retry:       again(3, "connect_failure", "503"),
		Concurrency: &Concurrency{Limiter: overload.Config{Limit: 1, Adaptive: &overload.AdaptiveConfig{}}},
	})
	for range 20 {
		_, _, _ = ask(u, exchange(&wire{}, "GET", nil))
	}
	if v, _ := u.Load(); v.InFlight != 0 || v.Waiting != 0 || v.Full != 0 {
		t.Errorf("%+v", v)
	}
	if n := u.budget.Underway(); n != 0 {
		t.Errorf("%d further tries are under way", n)
	}
}

// A further try that may not begin gives back what it took of the budget.
func TestBudgetIsGivenBack(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, func(c *played) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.answer(503, "")
		}
	})
	retries := again(3, "503")
	retries.Backoff.Base, retries.Backoff.Cap = 20*time.Millisecond, 20*time.Millisecond
	u, _ := newUpstream(t, Config{Endpoints: []EndpointConfig{{Address: o.address}}, Retry: retries})
	for range 10 {
		x := exchange(&wire{}, "GET", nil)
		x.Deadline = time.Now().Add(5 * time.Millisecond)
		_, _, _ = ask(u, x)
	}
	if n := u.budget.Underway(); n != 0 {
		t.Errorf("%d further tries are under way", n)
	}
}

// Who is in several groups has the best of their priorities, in whatever order they stand, and who is in
// none that of the route.
func TestPriorityOfGroups(t *testing.T) {
	t.Parallel()
	for _, groups := range [][]GroupPriority{{{"gold", 0}, {"free", 3}}, {{"free", 3}, {"gold", 0}}} {
		u, _ := newUpstream(t, Config{Concurrency: &Concurrency{Limiter: overload.Config{Limit: 1}, Groups: groups}})
		for _, c := range []struct {
			in   []string
			want int
		}{{[]string{"free", "gold"}, 0}, {[]string{"gold", "free"}, 0}, {[]string{"free"}, 3}, {[]string{"other"}, otherPriority}, {nil, otherPriority}} {
			x := exchange(&wire{}, "GET", nil)
			x.Facts.Consumer = &message.Consumer{Groups: c.in}
			if got := u.priority(x); got != c.want {
				t.Errorf("%v of %v: %d, want %d", c.in, groups, got, c.want)
			}
		}
	}
}

func TestBusyness(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]overload.Outcome{
		200: overload.Served, 404: overload.Served, 101: overload.Served,
		429: overload.Dropped, 503: overload.Dropped, 500: overload.Ignored, 502: overload.Ignored,
	} {
		resp := &message.Response{Status: status}
		if got := busyness(resp, nil, true); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
	if got := busyness(&message.Response{Status: 200}, nil, false); got != overload.Ignored {
		t.Error("the time of a client that sends slowly is taken for the origin's")
	}
	x := exchange(&wire{}, "POST", &streaming{})
	if measurable(&x.Request) {
		t.Error("a body without a length is measurable")
	}
}
