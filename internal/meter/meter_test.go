package meter

import (
	"math"
	"sync"
	"testing"
)

func TestCounter(t *testing.T) {
	t.Parallel()
	var c Counter
	var wait sync.WaitGroup
	for shard := range 20 {
		wait.Go(func() {
			for range 1000 {
				c.Add(uint32(shard), 3)
			}
		})
	}
	wait.Wait()
	c.Add(math.MaxUint32, 1)
	if got := c.Value(); got != 20*1000*3+1 {
		t.Errorf("%d", got)
	}
}

func TestGauge(t *testing.T) {
	t.Parallel()
	var g Gauge
	for shard := range 20 {
		g.Add(uint32(shard), 2)
		g.Add(uint32(shard+1), -1)
	}
	if got := g.Value(); got != 20 {
		t.Errorf("%d", got)
	}
	g.Set(-7)
	if got := g.Value(); got != -7 {
		t.Errorf("%d after Set", got)
	}
}

// TestBuckets compares each bucket with its bounds, by looking at all of them.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for _, smallest := range []int64{1, 3, 1000, 100_000, 500_000, math.MaxInt64 >> 20, math.MaxInt64} {
		h := NewHistogram(smallest)
		values := []int64{math.MinInt64, -1, 0, 1, 2, math.MaxInt64 - 1, math.MaxInt64}
		for i := range HistogramBuckets {
			bound := h.Bound(i)
			if i > 0 && bound <= h.Bound(i-1) && bound != math.MaxInt64 {
				t.Fatalf("smallest %d: bound %d is %d, the one before %d", smallest, i, bound, h.Bound(i-1))
			}
			values = append(values, bound-1, bound, max(bound, bound+1))
		}
		for _, v := range values {
			want := 0
			for want < HistogramBuckets-1 && max(v, 0) > h.Bound(want) {
				want++
			}
			if got := h.bucket(max(v, 0)); got != want {
				t.Errorf("smallest %d: %d is in bucket %d, not %d", smallest, v, got, want)
			}
		}
	}
	h := NewHistogram(500_000)
	if h.Bound(0) != 500_000 || h.Bound(1) != 1_000_000 || h.Bound(16) != 500_000<<16 || h.Bound(17) != math.MaxInt64 || h.Bound(99) != math.MaxInt64 {
		t.Error("the bounds are not powers of two of the smallest")
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	h := NewHistogram(10)
	var wait sync.WaitGroup
	for shard := range 8 {
		wait.Go(func() {
			for range 100 {
				h.Observe(uint32(shard), -5) // A clock that went back counts as 0.
				h.Observe(uint32(shard), 10)
				h.Observe(uint32(shard), 11)
				h.Observe(uint32(shard), 1<<40)
			}
		})
	}
	wait.Wait()
	counts, total, sum := h.Read()
	if counts[0] != 1600 || counts[1] != 800 || counts[HistogramBuckets-1] != 800 || total != 3200 || sum != 800*(10+11+1<<40) {
		t.Errorf("%v, %d, %d", counts, total, sum)
	}
	h = NewHistogram(10)
	h.Observe(0, math.MaxInt64)
	if counts, _, sum := h.Read(); counts[HistogramBuckets-1] != 1 || sum != math.MaxInt64 {
		t.Errorf("%v, %d", counts, sum)
	}
}

func TestNewHistogram(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a histogram without a smallest bound was made")
		}
	}()
	NewHistogram(0)
}

func TestAllocations(t *testing.T) {
	c, h := &Counter{}, NewHistogram(1000)
	if n := testing.AllocsPerRun(100, func() { c.Add(3, 1); h.Observe(3, 12345) }); n != 0 {
		t.Errorf("%v", n)
	}
}

func BenchmarkCounter(b *testing.B) {
	var c Counter
	for b.Loop() {
		c.Add(1, 1)
	}
}

func BenchmarkCounterParallel(b *testing.B) {
	var c Counter
	var mu sync.Mutex
	next := uint32(0)
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		next++
		shard := next
		mu.Unlock()
		for pb.Next() {
			c.Add(shard, 1)
		}
	})
}

func BenchmarkHistogram(b *testing.B) {
	h := NewHistogram(500_000)
	for b.Loop() {
		h.Observe(1, 1_234_567)
	}
}
