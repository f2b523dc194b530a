package overload

import (
	"math/rand/v2"
	"testing"
	"time"
)

// stalls makes the machine stand still now and then: what was to happen meanwhile happens
// at the end of it.
func (s *simulation) stalls(seed uint64, every, length time.Duration) {
	random := rand.New(rand.NewPCG(seed, 1))
	var begin, end int64
	s.delay = func(at int64) int64 {
		for at >= end {
			begin = end + int64(random.ExpFloat64()*float64(every))
			end = begin + 1 + int64(random.ExpFloat64()*float64(length))
		}
		if at < begin {
			return at
		}
		return end
	}
}

// A busy machine makes answers slow now and then, for no reason of the origin's. Each of
// these must not make the limit doubt what it knows, because to measure costs goodput.
func TestBusyMachine(t *testing.T) {
	t.Parallel()
	o := origin{constant(8), func(_ int64, r *rand.Rand) int64 {
		return int64(40*time.Millisecond) + int64(r.ExpFloat64()*r.ExpFloat64()*float64(8*time.Millisecond))
	}}
	seeds := uint64(30)
	if testing.Short() {
		seeds = 2
	}
	const from, to = 4 * second, 8 * second
	for _, c := range []struct{ every, length time.Duration }{
		{time.Hour, 1},
		{200 * time.Millisecond, 30 * time.Millisecond},
		{200 * time.Millisecond, 60 * time.Millisecond},
		{100 * time.Millisecond, 30 * time.Millisecond},
	} {
		worst, sum, slowest := 9.0, 0.0, 0.0
		for seed := range seeds {
			stalling := func(limiter *Limiter) *simulation {
				s := newSimulation(o, limiter)
				s.stalls(seed, c.every, c.length)
				s.from, s.to = from, to
				return s
			}
			full := stalling(nil)
			full.again = true
			for range 3 * 8 {
				full.arrive(&job{}, 0)
			}
			full.run(to)
			idle := stalling(nil)
			idle.arrivals(constant(50.0), gold)
			idle.run(to)
			s := stalling(New(Config{Limit: 20, Adaptive: &AdaptiveConfig{}}))
			s.arrivals(func(now int64) float64 {
				if now < 3*second/2 {
					return 100
				}
				return 600
			}, gold)
			s.run(to + second)
			goodput := s.goodput(full.goodput(1))
			sum, worst = sum+goodput, min(worst, goodput)
			slowest = max(slowest, float64(s.p99())/float64(idle.p99()))
		}
		t.Logf("%v every %v: goodput %.3f, at worst %.3f; p99 %.2f of the unloaded at worst", c.length, c.every, sum/float64(seeds), worst, slowest)
		if sum < 0.98*float64(seeds) || worst < 0.92 || slowest > 3.2 {
			t.Errorf("%v every %v: goodput %.3f, at worst %.3f; p99 %.2f of the unloaded at worst", c.length, c.every, sum/float64(seeds), worst, slowest)
		}
	}
}
