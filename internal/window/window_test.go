package window

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

const second = int64(1e9)

func TestWindowSlides(t *testing.T) {
	t.Parallel()
	c := New(10*second, 10, 2, 4)
	now := 1000 * second
	for i := range int64(10) {
		c.Add(now+i*second, uint32(i), 0, 1)
		c.Add(now+i*second, uint32(i), 1, 10)
	}
	for i := range int64(12) {
		want := max(10-i, 0)
		at := now + 9*second + i*second
		if got := c.Sum(at, 0); got != want {
			t.Errorf("%d s later: %d, want %d", i, got, want)
		}
		if got := c.Sum(at, 1); got != 10*want {
			t.Errorf("second series, %d s later: %d, want %d", i, got, 10*want)
		}
	}
}

func TestLateAndEarly(t *testing.T) {
	t.Parallel()
	c := New(10*second, 10, 1, 1)
	now := 500 * second
	c.Add(now, 0, 0, 1)
	c.Add(now-10*second, 0, 0, 1) // Its bucket is that of now: too late.
	c.Add(now-3*second, 0, 0, 1)  // Late, but in the window.
	if got := c.Sum(now, 0); got != 2 {
		t.Errorf("sum %d, want 2", got)
	}
	if got := c.Sum(now-second, 0); got != 2 {
		t.Errorf("a reader whose clock is a moment behind sees %d, want 2", got)
	}
	c.Reset()
	if got := c.Sum(now, 0); got != 0 {
		t.Errorf("after Reset: %d", got)
	}
}

func TestLongSilenceAndLateBeginning(t *testing.T) {
	t.Parallel()
	for _, from := range []int64{0, 1, second, 1700000000 * second, math.MaxInt64/2 + 1} {
		c := New(second, 10, 1, 1)
		c.Add(from, 0, 0, 3)
		if got := c.Sum(from, 0); got != 3 {
			t.Errorf("from %d: %d, want 3", from, got)
		}
		if got := c.Sum(from+86400*second, 0); got != 0 {
			t.Errorf("from %d, a day later: %d, want 0", from, got)
		}
	}
}

func TestFullBucketDoesNotSpill(t *testing.T) {
	t.Parallel()
	c := New(second, 10, 1, 1)
	for range 5 {
		c.Add(0, 0, 0, math.MaxUint32/2)
	}
	if got := c.Sum(0, 0); got < math.MaxUint32/2 || got > math.MaxUint32 {
		t.Errorf("sum %d", got)
	}
	if got := c.Sum(second, 0); got != 0 {
		t.Errorf("a window later: %d", got)
	}
}

func TestSizesAreMadeUsable(t *testing.T) {
	t.Parallel()
	c := New(0, 0, 0, 3)
	c.Add(5, 7, 0, 2)
	if got := c.Sum(5, 0); got != 2 {
		t.Errorf("sum %d, want 2", got)
	}
}

// The slow twin keeps every event.
func TestAgainstAListOfEvents(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	const buckets = 8
	c := New(buckets*100, buckets, 1, 2)
	type event struct{ at, n int64 }
	var events []event
	now := int64(12345)
	for range 20000 {
		now += random.Int64N(60)
		if random.IntN(500) == 0 {
			now += 5000
		}
		n := random.Int64N(4)
		c.Add(now, random.Uint32(), 0, uint32(n))
		events = append(events, event{now, n})
		var want int64
		for i := len(events) - 1; i >= 0 && events[i].at/100 > now/100-buckets; i-- {
			want += events[i].n
		}
		if got := c.Sum(now, 0); got != want {
			t.Fatalf("at %d: %d, want %d", now, got, want)
		}
	}
}

func TestConcurrentAddsAreAllCounted(t *testing.T) {
	t.Parallel()
	c := New(100*second, 10, 1, 4)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				c.Add(int64(i)*second/100, uint32(g), 0, 1)
			}
		})
	}
	wg.Wait()
	if got := c.Sum(50*second, 0); got != 40000 {
		t.Errorf("sum %d, want 40000", got)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	c := New(second, 10, 2, 8)
	if n := testing.AllocsPerRun(100, func() { c.Add(1, 1, 1, 1); c.Sum(1, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	c := New(10*second, 10, 2, 8)
	var now int64
	for b.Loop() {
		now += 1000
		c.Add(now, 1, 0, 1)
	}
}

func BenchmarkSum(b *testing.B) {
	c := New(10*second, 10, 2, 8)
	for b.Loop() {
		c.Sum(1, 0)
	}
}
