package peakewma

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

const (
	second = int64(time.Second)
	decay  = 10 * time.Second
)

func near(got, want time.Duration) bool { return math.Abs(float64(got-want)) <= 0.01*float64(want)+1 }

func TestPeaksAtOnceAndFades(t *testing.T) {
	t.Parallel()
	var l Latency
	if l.Value(0, decay) != 0 {
		t.Error("knows something")
	}
	l.Observe(second, 10*time.Millisecond, decay)
	if got := l.Value(second, decay); !near(got, 10*time.Millisecond) {
		t.Error(got)
	}
	l.Observe(second, time.Second, decay)
	if got := l.Value(second, decay); !near(got, time.Second) {
		t.Error("no peak:", got)
	}
	l.Observe(second, time.Millisecond, decay)
	if got := l.Value(second, decay); !near(got, time.Second) {
		t.Error("a peak is gone at once:", got)
	}
	if got := l.Value(second+int64(decay), decay); !near(got, 367879441*time.Nanosecond) {
		t.Error("does not fade:", got)
	}
	l.Observe(second+int64(decay), 0, decay)
	if got := l.Value(second+int64(decay), decay); !near(got, 367879441*time.Nanosecond) {
		t.Error(got)
	}
}

func TestApproachesWhatIs(t *testing.T) {
	t.Parallel()
	var l Latency
	l.Observe(0, time.Second, decay)
	for now := int64(0); now < 100*second; now += second / 100 {
		l.Observe(now, 20*time.Millisecond, decay)
	}
	if got := l.Value(100*second, decay); !near(got, 20*time.Millisecond) {
		t.Error(got)
	}
}

func TestClockThatIsBehindOrFarAhead(t *testing.T) {
	t.Parallel()
	var l Latency
	l.Observe(100*second, time.Second, decay)
	l.Observe(99*second, time.Millisecond, decay) // Somebody who looked at the clock earlier.
	if got := l.Value(99*second, decay); !near(got, time.Second) {
		t.Error(got)
	}
	for _, later := range []int64{3600, 86400, 10 * 86400} {
		if got := l.Value((100+later)*second, decay); got < 0 || got > time.Second {
			t.Errorf("%d s later: %v", later, got)
		}
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	var new, quick, slow Latency
	quick.Observe(0, 10*time.Millisecond, decay)
	slow.Observe(0, 100*time.Millisecond, decay)
	if new.Cost(0, 0, decay) != 0 {
		t.Error("a new endpoint is not asked")
	}
	if new.Cost(0, 1, decay) <= slow.Cost(0, 100, decay) {
		t.Error("a new endpoint gets everything before it has answered")
	}
	if quick.Cost(0, 8, decay) >= slow.Cost(0, 0, decay) || quick.Cost(0, 11, decay) <= slow.Cost(0, 0, decay) {
		t.Error(quick.Cost(0, 8, decay), quick.Cost(0, 11, decay), slow.Cost(0, 0, decay))
	}
}

// Two endpoints, one of which is four times as slow for a while: it gets fewer
// requests then, and its part again as the memory fades.
func TestTheSlowerGetsLess(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var latencies [2]Latency
	var free [2]int64 // when each endpoint has done all that it has
	var ends [2][]int64
	var got [3][2]int
	for now := second; now < 91*second; now += second / 500 {
		for e := range ends {
			for len(ends[e]) > 0 && ends[e][0] <= now {
				ends[e] = ends[e][1:]
			}
		}
		e := random.IntN(2)
		if latencies[1-e].Cost(now, int64(len(ends[1-e])), decay) < latencies[e].Cost(now, int64(len(ends[e])), decay) {
			e = 1 - e
		}
		phase := int((now - second) / (30 * second))
		took := int64(random.ExpFloat64()*float64(second)/1000) + second/1000
		if phase == 1 && e == 1 {
			took *= 4
		}
		free[e] = max(free[e], now) + took
		ends[e] = append(ends[e], free[e])
		latencies[e].Observe(free[e], time.Duration(free[e]-now), decay)
		got[phase][e]++
	}
	share := func(phase int) float64 { return float64(got[phase][1]) / float64(got[phase][0]+got[phase][1]) }
	if share(0) < 0.4 || share(0) > 0.6 || share(1) > 0.3 || share(2) < 0.25 {
		t.Errorf("the second one got %.2f, while it was slow %.2f, afterwards %.2f", share(0), share(1), share(2))
	}
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	var l Latency
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 3))
			for now := int64(0); now < second; now += second / 5000 {
				l.Observe(now, time.Duration(random.Int64N(second))+1, decay)
				if v := l.Value(now, decay); v < 0 || v > time.Second+time.Millisecond {
					t.Errorf("estimate %v", v)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingIsAllocated(t *testing.T) {
	var l Latency
	if n := testing.AllocsPerRun(100, func() { l.Observe(1, 1, decay); l.Cost(1, 1, decay) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var l Latency
	var now int64
	for b.Loop() {
		now += 100000
		l.Observe(now, time.Duration(now%7919), decay)
	}
}

func BenchmarkCost(b *testing.B) {
	var l Latency
	l.Observe(1, 1000, decay)
	var now int64
	for b.Loop() {
		now += 100000
		l.Cost(now, 3, decay)
	}
}
