// Package meter counts. Handles are resolved when a configuration is compiled;
// at run time a count is one atomic add on a cell that few cores share.
package meter

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// Label is one label of a metric.
type Label struct{ Name, Value string }

// shards is a power of two. A wire gives each connection a shard, so that two
// cores seldom write to one cell.
const shards = 8

// cell stands alone on its cache lines.
type cell struct {
	n atomic.Int64
	_ [56]byte
}

// Counter only grows. The zero value is ready.
type Counter struct{ cells [shards]cell }

// Add adds n; shard is Exchange.Shard, or 0 off the request path.
func (c *Counter) Add(shard uint32, n int64) { c.cells[shard%shards].n.Add(n) }

// Value is the sum over all shards.
func (c *Counter) Value() int64 {
	var sum int64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}

// Gauge goes up and down. The zero value is ready.
type Gauge struct{ Counter }

// Set makes the gauge n; only for gauges to which nobody adds.
func (g *Gauge) Set(n int64) {
	for i := 1; i < shards; i++ {
		g.cells[i].n.Store(0)
	}
	g.cells[0].n.Store(n)
}

// Histogram counts durations in buckets whose bounds grow by powers of two of a
// smallest bound: finding the bucket is one instruction.
type Histogram struct {
	smallest int64 // nanoseconds, the upper bound of the first bucket
	buckets  [HistogramBuckets]Counter
	sum      Counter
}

// HistogramBuckets is the number of buckets, the last one without a bound.
const HistogramBuckets = 18

// NewHistogram returns a histogram of durations whose first bucket ends at
// smallest nanoseconds; the bound of each following bucket is twice as large.
func NewHistogram(smallest int64) *Histogram {
	if smallest < 1 {
		panic("meter: the smallest bound of a histogram is below one nanosecond")
	}
	return &Histogram{smallest: smallest}
}

// Observe counts one duration in nanoseconds.
func (h *Histogram) Observe(shard uint32, nanoseconds int64) {
	nanoseconds = max(nanoseconds, 0)
	h.buckets[h.bucket(nanoseconds)].Add(shard, 1)
	h.sum.Add(shard, nanoseconds)
}

func (h *Histogram) bucket(nanoseconds int64) int {
	if nanoseconds <= h.smallest {
		return 0
	}
	return min(bits.Len64(uint64((nanoseconds-1)/h.smallest)), HistogramBuckets-1)
}

// Bound is the upper bound of a bucket in nanoseconds, inclusive; the last is
// math.MaxInt64, and so are those that would be larger.
func (h *Histogram) Bound(bucket int) int64 {
	if bucket >= HistogramBuckets-1 || h.smallest > math.MaxInt64>>bucket {
		return math.MaxInt64
	}
	return h.smallest << bucket
}

// Read returns the counts of all buckets (not cumulative), their number and the
// sum of all durations in nanoseconds.
func (h *Histogram) Read() (counts [HistogramBuckets]int64, total, sum int64) {
	for i := range h.buckets {
		counts[i] = h.buckets[i].Value()
		total += counts[i]
	}
	return counts, total, h.sum.Value()
}
