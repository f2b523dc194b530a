package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

// narrow is an upstream whose endpoints bear so many requests each, with a queue for as many as are told.
func narrow(t *testing.T, p Protocol, each, queue int, change func(c *Config), runners ...*runner) *Upstream {
	u, _ := racing(t, p, never, func(c *Config) {
		c.Retry.Hedge = Hedge{}
		c.Breaker = nil
		c.Concurrency = &Concurrency{PerEndpoint: each, Limiter: overload.Config{Limit: 1 << 30, Queue: queue, Timeout: time.Minute}}
		if change != nil {
			change(c)
		}
	}, runners...)
	t.Cleanup(func() {
		for _, e := range u.Endpoints() {
			if n := e.waiting.Load(); n != 0 {
				t.Errorf("%d places of %s are not given back", n, e.address)
			}
		}
	})
	return u
}

// TestPerEndpoint passes over an endpoint that is full, and then queues or refuses.
func TestPerEndpoint(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		first, second := newRunner(t, p), newRunner(t, p)
		u := narrow(t, p, 2, 1, nil, first, second)
		var all []chan error
		for range 4 {
			all = append(all, asking(u, exchange(&wire{}, "GET", nil)))
		}
		for range 2 {
			<-first.asked
			<-second.asked
		}
		all = append(all, asking(u, exchange(&wire{}, "GET", nil)))
		until(t, u, "one waits", func(v overload.View) bool { return v.Limit == 4 && v.InFlight == 4 && v.Waiting == 1 })
		x := exchange(&wire{}, "GET", nil)
		if _, _, err := ask(u, x); !errors.Is(err, message.UpstreamOverloaded) || x.Response.Header.Get("Retry-After") != "1" {
			t.Errorf("one more ends with %v", err)
		}
		second.answer <- runnersAnswer{200, ""}
		<-second.asked // The one that has waited goes where there is room.
		for range 2 {
			first.answer <- runnersAnswer{200, ""}
			second.answer <- runnersAnswer{200, ""}
		}
		for _, result := range all {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestPerEndpointIsGivenBack ends tries in all ways.
func TestPerEndpointIsGivenBack(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		conditions, err := retry.Compile([]string{"503", "reset"})
		if err != nil {
			t.Fatal(err)
		}
		first, second := newRunner(t, p), newRunner(t, p)
		u := narrow(t, p, 1, 0, func(c *Config) {
			c.Retry.Attempts, c.Retry.On, c.Retry.Backoff = 1, conditions, retry.Backoff{Base: 1, Cap: 1}
			c.Retry.Hedge = Hedge{After: 20 * soon, Max: 1, Methods: "PUT "}
		}, first, second)
		first.answer <- runnersAnswer{503, ""} // Retried.
		second.answer <- runnersAnswer{200, ""}
		mustAsk(t, u, exchange(&wire{}, "GET", nil))
		<-first.asked
		<-second.asked

		w := &wire{} // Left by its client.
		gone := asking(u, exchange(w, "GET", nil))
		<-first.asked
		w.hangUp()
		if err := <-gone; !errors.Is(err, message.ClientGone) {
			t.Error(err)
		}
		x := exchange(&wire{}, "GET", nil) // Too late.
		x.Deadline = time.Now().Add(20 * soon)
		if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) {
			t.Error(err)
		}
		restored(t, u)

		for len(first.asked)+len(second.asked) > 0 { // What was given up.
			select {
			case <-first.asked:
			case <-second.asked:
			}
		}
		hedged := asking(u, exchange(&wire{}, "PUT", message.NewBytes([]byte("x")))) // And hedged.
		<-second.asked
		second.answer <- runnersAnswer{200, ""}
		if err := <-hedged; err != nil {
			t.Error(err)
		}
		restored(t, u)

		u.metrics = &fragile{Metrics: u.metrics} // A panic passes.
		for range 5 {                            // Those that were given up may take some.
			first.answer <- runnersAnswer{200, ""}
			second.answer <- runnersAnswer{200, ""}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("there was no panic")
				}
			}()
			_, _, _ = ask(u, exchange(&wire{}, "GET", nil))
		}()
	})
}

// TestPerEndpointFollowsHealth has the limiter let in what those that are well may have.
func TestPerEndpointFollowsHealth(t *testing.T) {
	t.Parallel()
	u := narrow(t, HTTP1, 3, 0, nil, &runner{address: "192.0.2.1:80"}, &runner{address: "192.0.2.2:80"})
	limit := func(want int) {
		t.Helper()
		if v, _ := u.Load(); v.Limit != want {
			t.Errorf("the limit is %d, not %d", v.Limit, want)
		}
	}
	limit(6)
	all := u.Endpoints()
	u.Mark(all[0], Unhealthy, true)
	limit(3)
	u.Mark(all[1], Unhealthy, true)
	limit(6) // Nobody is well, so all are asked.
	u.Mark(all[0], Unhealthy, false)
	u.Mark(all[1], Unhealthy, false)
	u.SetEndpoints(to("192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80").Endpoints)
	limit(9)
}

// TestPlaceBeyondChance finds the one endpoint of many that has room.
func TestPlaceBeyondChance(t *testing.T) {
	t.Parallel()
	var runners []*runner
	for range 3 * maxTries {
		runners = append(runners, &runner{address: refusing(t)})
	}
	u := narrow(t, HTTP1, 1, 0, func(c *Config) {
		for i := range c.Endpoints {
			c.Endpoints[i].Priority = 0
		}
	}, runners...)
	all := u.Endpoints()
	for i, e := range all {
		if i != 17 {
			u.occupy(e)
		}
	}
	x := exchange(&wire{}, "GET", nil)
	e, leave, problem := u.permitted(x, &x.Response, message.Clock(), triedSet{})
	if e != all[17] || problem != nil {
		t.Fatalf("%v, %v", e, problem)
	}
	u.forget(e, leave)
	if _, _, problem := u.permitted(x, &x.Response, message.Clock(), triedSet{}); problem != message.UpstreamOverloaded {
		t.Errorf("%v", problem)
	}
	for _, e := range all {
		u.vacate(e)
	}
}

// TestPriorityOfRoutes serves routes by what they are worth, and consumers by their groups.
func TestPriorityOfRoutes(t *testing.T) {
	t.Parallel()
	u := bounded(t, "192.0.2.1:80", &Concurrency{Limiter: overload.Config{Limit: 1}, Groups: []GroupPriority{{"gold", 0}, {"free", 3}}})
	for _, test := range []struct {
		precedence int8
		group      string
		want       int
	}{
		{0, "", 2}, {2, "", 0}, {1, "", 1}, {-1, "", 3}, {2, "free", 3}, {-1, "gold", 0}, {2, "other", 0}, {-1, "other", 3},
	} {
		x := exchange(&wire{}, "GET", nil)
		x.Facts.Precedence = test.precedence
		if test.group != "" {
			x.Facts.Consumer = &message.Consumer{Groups: []string{test.group}}
		}
		if got := u.priority(x); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}
