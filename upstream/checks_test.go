package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/outlier"
)

// patient lets a test say what an endpoint answers.
type patient struct {
	mu    sync.Mutex
	ill   map[string]bool
	asked map[string]int
}

func (p *patient) ask(_ context.Context, e *Endpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[e.address]++
	if p.ill[e.address] {
		return errors.New("ill")
	}
	return nil
}

func (p *patient) set(address string, ill bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ill[address] = ill
}

func (p *patient) times(address string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[address]
}

// checked runs a test with checks every ten seconds, on a clock of its own.
func checked(t *testing.T, described string, test func(t *testing.T, u *Upstream, p *patient)) {
	checkedWith(t, Config{}, described, test)
}

func checkedWith(t *testing.T, config Config, described string, test func(t *testing.T, u *Upstream, p *patient)) {
	synctest.Test(t, func(t *testing.T) {
		u := standing(config, described)
		p := &patient{ill: map[string]bool{}, asked: map[string]int{}}
		c := &checks{upstream: u, health: &Health{Interval: 10 * time.Second, Unhealthy: 3, Healthy: 2}, ask: p.ask, turns: make(chan struct{}, 2)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.run(ctx); close(done) }()
		synctest.Wait()
		test(t, u, p)
		cancel()
		<-done
		synctest.Wait() // No goroutine is left, or the bubble says so.
	})
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	checked(t, "a b", func(t *testing.T, u *Upstream, p *patient) {
		a := u.Endpoints()[0]
		state := func() string { synctest.Wait(); return a.State() }
		p.set("a", true)
		time.Sleep(25 * time.Second)
		if state() != "healthy" {
			t.Error("two bad answers make an endpoint unhealthy")
		}
		p.set("a", false)
		time.Sleep(10 * time.Second)
		p.set("a", true)
		time.Sleep(20 * time.Second)
		if state() != "healthy" {
			t.Error("bad answers with a good one in between count together")
		}
		time.Sleep(10 * time.Second)
		if state() != "unhealthy" {
			t.Errorf("three bad answers in a row: %s", state())
		}
		if got := shares(u, hint{}); got != "b10" {
			t.Errorf("the requests go to %s", got)
		}
		if h := a.Health(0); h.Checked.IsZero() || h.CheckError == nil {
			t.Errorf("the last check: %+v", h)
		}
		if n := u.metrics.(*counts); n.bad.Load() < 5 || n.good.Load() == 0 || int(n.good.Load()+n.bad.Load()) != p.times("a")+p.times("b") {
			t.Errorf("%d good and %d bad checks are counted of %d", n.good.Load(), n.bad.Load(), p.times("a")+p.times("b"))
		}
		p.set("a", false)
		time.Sleep(10 * time.Second)
		if state() != "unhealthy" {
			t.Error("one good answer makes an endpoint healthy")
		}
		time.Sleep(10 * time.Second)
		if state() != "healthy" {
			t.Error("two good answers do not make an endpoint healthy")
		}
	})
}

// TestChecksFollow are endpoints that come and go.
func TestChecksFollow(t *testing.T) {
	t.Parallel()
	checked(t, "a", func(t *testing.T, u *Upstream, p *patient) {
		u.SetEndpoints([]EndpointConfig{{Address: "b"}})
		synctest.Wait()
		before := p.times("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.times("a") != before || p.times("b") != 7 {
			t.Errorf("what has left was asked %d times, what came %d times", p.times("a")-before, p.times("b"))
		}
	})
}

// TestManyTakeTurns are more endpoints than may be asked at one time.
func TestManyTakeTurns(t *testing.T) {
	t.Parallel()
	described := ""
	for i := range 100 {
		described += fmt.Sprintf("e%d ", i)
	}
	checked(t, described, func(t *testing.T, u *Upstream, p *patient) {
		time.Sleep(15 * time.Second)
		synctest.Wait()
		for _, e := range u.Endpoints() {
			if p.times(e.address) != 2 {
				t.Fatalf("%s was asked %d times", e.address, p.times(e.address))
			}
		}
	})
}

// TestCheckEndsEjection is an endpoint that was ejected and answers its checks well.
func TestCheckEndsEjection(t *testing.T) {
	t.Parallel()
	u := New(Config{Ejection: &outlier.Config{Consecutive: 1, Base: time.Hour}, Endpoints: []EndpointConfig{{Address: "a"}, {Address: "b"}}}, &counts{}, nil)
	a := u.Endpoints()[0]
	a.member.Record(message.Clock(), true, 0)
	if a.State() != "ejected" {
		t.Fatalf("after a failure it is %s", a.State())
	}
	c := &checks{upstream: u, health: &Health{Healthy: 2, Unhealthy: 1}}
	c.conclude(a, nil, 1, 0)
	if a.State() != "ejected" {
		t.Error("one good answer ends an ejection")
	}
	c.conclude(a, nil, 2, 0)
	if a.State() != "healthy" {
		t.Errorf("after two good answers it is %s", a.State())
	}
}

// TestChecksBeforeAnEjection are good answers that were given before an endpoint was ejected: they do not
// end that.
func TestChecksBeforeAnEjection(t *testing.T) {
	t.Parallel()
	config := Config{Ejection: &outlier.Config{Consecutive: 1, Base: time.Hour}}
	checkedWith(t, config, "a b", func(t *testing.T, u *Upstream, _ *patient) {
		a := u.Endpoints()[0]
		time.Sleep(45 * time.Second)
		for again := range 2 {
			a.member.Record(message.Clock(), true, 0)
			for check, want := range []string{"ejected", "ejected", "healthy"} {
				if synctest.Wait(); a.State() != want {
					t.Errorf("ejected %d times, after %d good answers it is %s", again+1, check, a.State())
				}
				time.Sleep(10 * time.Second)
			}
		}
	})
}

// TestCheckDuringAnEjection is an endpoint that is ejected while it is asked: so it was asked before.
func TestCheckDuringAnEjection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := standing(Config{Ejection: &outlier.Config{Consecutive: 1, Base: time.Hour}}, "a b")
		a := u.Endpoints()[0]
		asked := 0
		c := &checks{upstream: u, health: &Health{Interval: 10 * time.Second, Unhealthy: 1, Healthy: 1}, turns: make(chan struct{}, 1)}
		c.ask = func(context.Context, *Endpoint) error {
			if asked++; asked == 2 {
				a.member.Record(message.Clock(), true, 0)
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		go c.watch(ctx, a)
		for check, want := range []string{"healthy", "ejected", "healthy"} {
			if synctest.Wait(); a.State() != want {
				t.Errorf("after %d checks it is %s", check+1, a.State())
			}
			time.Sleep(10 * time.Second)
		}
		cancel()
		synctest.Wait()
	})
}

// TestJitter are the times between checks: spread over the whole of what is allowed, and no further.
func TestJitter(t *testing.T) {
	t.Parallel()
	c := &checks{health: &Health{Interval: 100 * time.Second, Jitter: 0.2}}
	shortest, longest := time.Hour, time.Duration(0)
	for range 1000 {
		pause := c.pause()
		shortest, longest = min(shortest, pause), max(longest, pause)
	}
	if shortest < 80*time.Second || shortest > 90*time.Second || longest < 110*time.Second || longest > 120*time.Second {
		t.Errorf("the pauses are from %v to %v", shortest, longest)
	}
}

// TestChangesAreLoggedOnce is an endpoint that falls ill and gets well.
func TestChangesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	config := Config{Name: "orders", Ejection: &outlier.Config{Consecutive: 2, Base: time.Hour}, Endpoints: []EndpointConfig{{Address: "a"}, {Address: "b"}}}
	u := New(config, &counts{}, slog.New(slog.NewTextHandler(&out, nil)))
	a := u.Endpoints()[0]
	c := &checks{upstream: u, health: &Health{Healthy: 2, Unhealthy: 3}}
	for bad := range 6 {
		c.conclude(a, errors.New("no answer"), 0, bad)
	}
	for good := range 5 {
		c.conclude(a, nil, good, 0)
	}
	for range 5 {
		a.member.Record(message.Clock(), true, 0)
	}
	for good := range 5 {
		c.conclude(a, nil, good, 0)
	}
	for _, line := range []string{
		`level=WARN msg="endpoint unhealthy" upstream=orders endpoint=a checks=3 error="no answer"`,
		`level=INFO msg="endpoint healthy" upstream=orders endpoint=a checks=2`,
		`level=WARN msg="endpoint ejected" upstream=orders endpoint=a reason=consecutive_failures`,
		`level=INFO msg="endpoint back" upstream=orders endpoint=a reason=consecutive_failures`,
	} {
		if n := strings.Count(out.String(), line); n != 1 {
			t.Errorf("%s: %d times", line, n)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}
