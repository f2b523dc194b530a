package overload

import (
	"math/rand/v2"
	"testing"
	"time"
)

// adaptively is a limiter that begins with a guess that is right for nobody.
func adaptively(queue int) *Limiter {
	return New(Config{Limit: 20, Queue: queue, Timeout: 500 * time.Millisecond, Adaptive: &AdaptiveConfig{Min: 2}})
}

func (s *simulation) goodput(capacity float64) float64 {
	return float64(len(s.done)) / (float64(s.to-s.from) / float64(second)) / capacity
}

// Three times the load that an origin can bear: it does what it can, and what it
// does is in time.
func TestThreeTimesOverload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    origin
	}{
		{"two workers, always 5 ms", origin{constant(2), fixed(5 * time.Millisecond)}},
		{"eight workers, always 10 ms", origin{constant(8), fixed(10 * time.Millisecond)}},
		{"eight workers, 20 ms, exponential", origin{constant(8), exponential(20 * time.Millisecond)}},
		{"32 workers, 10 ms, heavy tail", origin{constant(32), lognormal(10*time.Millisecond, 1)}},
		{"100 workers, 100 ms, exponential", origin{constant(100), exponential(100 * time.Millisecond)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			capacity, unloaded := measured(c.o)
			queues := []int{0, 50}
			if testing.Short() {
				queues = queues[:1] // The race detector makes a simulation ten times as long.
			}
			for _, queue := range queues {
				s := newSimulation(c.o, adaptively(queue))
				s.from, s.to = 6*second, 16*second
				s.arrivals(constant(3*capacity), gold)
				s.run(17 * second)
				goodput, ratio := s.goodput(capacity), float64(s.p99())/float64(unloaded)
				t.Logf("queue %d: capacity %.0f/s, goodput %.3f of it; p99 %v, %.2f of the unloaded", queue, capacity, goodput, s.p99(), ratio)
				if goodput < 0.9 || ratio > 3 {
					t.Errorf("queue %d: goodput %.3f, p99 %.2f of the unloaded; limit %+v", queue, goodput, ratio, s.limiter.View())
				}
			}
		})
	}
}

// The twin: without a limit the same load leaves nothing that is in time, and with
// a fixed one that is far too large neither.
func TestOverloadWithoutAdaptiveLimit(t *testing.T) {
	t.Parallel()
	o := origin{constant(8), exponential(20 * time.Millisecond)}
	capacity, unloaded := measured(o)
	for name, limiter := range map[string]*Limiter{"none": nil, "1000": New(Config{Limit: 1000})} {
		s := newSimulation(o, limiter)
		s.patience = int64(3 * unloaded)
		s.from, s.to = 5*second, 15*second
		s.arrivals(constant(3*capacity), gold)
		s.run(16 * second)
		if got := s.goodput(capacity); got > 0.2 {
			t.Errorf("limit %s: goodput %.3f: this simulation does not show overload", name, got)
		}
	}
}

func TestCapacityChanges(t *testing.T) {
	t.Parallel()
	workers := func(now int64) int {
		switch {
		case now < 12*second:
			return 32
		case now < 24*second:
			return 12
		}
		return 48
	}
	o := origin{workers, exponential(20 * time.Millisecond)}
	unloaded := 91 * time.Millisecond // p99 of the exponential distribution.
	load := constant(3 * 32 * 50.0)
	for _, span := range []struct {
		from, to int64
		workers  float64
	}{{5, 12, 32}, {16, 24, 12}, {28, 40, 48}} {
		s := newSimulation(o, adaptively(20))
		s.from, s.to = span.from*second, span.to*second
		s.arrivals(load, gold)
		s.run(span.to*second + second)
		goodput, ratio := s.goodput(span.workers*50), float64(s.p99())/float64(unloaded)
		t.Logf("%v workers: goodput %.3f, p99 %.2f, %+v", span.workers, goodput, ratio, s.limiter.View())
		if goodput < 0.9 || ratio > 3 {
			t.Errorf("%v workers: goodput %.3f, p99 %.2f of the unloaded; %+v", span.workers, goodput, ratio, s.limiter.View())
		}
	}
}

// An origin that becomes slower is not overloaded: the latency without a queue has
// changed, and the limit must not shrink for good.
func TestServiceTimeChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after time.Duration }{{10, 40}, {40, 10}} {
		before, after := exponential(c.before*time.Millisecond), exponential(c.after*time.Millisecond)
		o := origin{constant(32), func(now int64, r *rand.Rand) int64 {
			if now < 10*second {
				return before(now, r)
			}
			return after(now, r)
		}}
		capacity := 32 / (c.after * time.Millisecond).Seconds()
		s := newSimulation(o, adaptively(20))
		s.from, s.to = 20*second, 35*second
		s.arrivals(constant(3*capacity), gold)
		s.run(36 * second)
		goodput, ratio := s.goodput(capacity), float64(s.p99())/(4.6*float64(c.after*time.Millisecond))
		t.Logf("%d ms to %d ms: goodput %.3f, p99 %.2f, %+v", c.before, c.after, goodput, ratio, s.limiter.View())
		if goodput < 0.9 || ratio > 3 {
			t.Errorf("%d ms to %d ms: goodput %.3f, p99 %.2f of the unloaded; %+v", c.before, c.after, goodput, ratio, s.limiter.View())
		}
	}
}

// Who is not overloaded does not notice the limiter.
func TestNormalLoadIsLetThrough(t *testing.T) {
	t.Parallel()
	o := origin{constant(32), exponential(20 * time.Millisecond)}
	s := newSimulation(o, adaptively(50))
	s.from = 5 * second
	s.arrivals(constant(0.6*32*50), gold)
	s.run(60 * second)
	if lost := s.offered - len(s.done); lost > s.offered/1000 {
		t.Errorf("%d of %d were lost; %+v", lost, s.offered, s.limiter.View())
	}
	if got := s.p99(); got > 140*time.Millisecond {
		t.Errorf("p99 %v; %+v", got, s.limiter.View())
	}
}

// An origin that is never busy answers some requests a hundred times slower than others. That says nothing
// of how much it can bear, and a burst that it was able to bear at first is let through at any time.
func TestFewRequestsOfTwoKinds(t *testing.T) {
	t.Parallel()
	o := origin{constant(1000), func(_ int64, r *rand.Rand) int64 {
		if r.IntN(10) == 0 {
			return second
		}
		return 10 * millisecond
	}}
	s := newSimulation(o, New(Config{Limit: 20, Adaptive: &AdaptiveConfig{}}))
	s.arrivals(constant(25.0), gold)
	var burst func(now int64)
	burst = func(now int64) {
		for range 10 {
			s.arrive(&job{arrived: now}, now)
		}
		s.at(now+4*second, burst)
	}
	s.at(0, burst)
	s.run(10 * 60 * second)
	if lost := s.limiter.View().Full; lost > int64(s.offered/1000) {
		t.Errorf("%d of %d were refused; %+v", lost, s.offered, s.limiter.View())
	}
}

// Three times the load, a tenth of it gold, three tenths silver: gold does not
// notice, and free gets what is left.
func TestMoreImportantIsServedFirst(t *testing.T) {
	t.Parallel()
	o := origin{constant(8), exponential(20 * time.Millisecond)}
	s := newSimulation(o, adaptively(20))
	random := rand.New(rand.NewPCG(31, 32))
	s.from, s.to = 5*second, 20*second
	s.arrivals(constant(3*400.0), func() int {
		switch n := random.IntN(10); {
		case n < 1:
			return 0
		case n < 2:
			return 1
		}
		return 3
	})
	s.run(21 * second)
	share := func(level int) float64 { return float64(s.byLevel[level].done) / float64(s.byLevel[level].offered) }
	if share(0) < 0.999 || share(1) < 0.99 || share(3) > 0.3 || share(3) < 0.05 {
		t.Errorf("served: gold %.4f, silver %.4f, free %.4f; %+v", share(0), share(1), share(3), s.limiter.View())
	}
}

func TestDropsShrinkTheLimit(t *testing.T) {
	t.Parallel()
	a := newAdaptive(AdaptiveConfig{Min: 5}, 100)
	now := int64(0)
	limit := int64(100)
	for range 40 * 200 {
		now += millisecond
		if l, changed := a.sample(now, 10*time.Millisecond, limit, Dropped); changed {
			limit = l
		}
	}
	if limit != 5 {
		t.Errorf("limit %d after nothing but drops", limit)
	}
}

func TestLimitStaysInItsBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []AdaptiveConfig{{Min: 7, Max: 9}, {Min: 10, Max: 5}, {}} {
		a := newAdaptive(c, 1000000)
		random := rand.New(rand.NewPCG(41, 42))
		now, limit := int64(0), a.limit()
		for range 20000 {
			now += random.Int64N(10 * millisecond)
			outcome := Served
			if random.IntN(20) == 0 {
				outcome = Dropped
			}
			if l, changed := a.sample(now, time.Duration(random.Int64N(second)), limit, outcome); changed {
				limit = l
			}
			if limit < int64(a.config.Min) || limit > int64(a.config.Max) {
				t.Fatalf("limit %d is not from %d to %d", limit, a.config.Min, a.config.Max)
			}
		}
	}
}
