// Package window counts what happened lately: a few series of numbers over a
// sliding window of time, without a lock.
//
// Retry budgets, breakers and guards count with it. Time is handed in, as
// nanoseconds of a clock that does not go back, so that tests own it.
package window

import (
	"math"
	"sync/atomic"
)

// Counts is a ring of buckets of time for each of its series. Add costs one load
// and one atomic add. All methods may be called from any goroutine.
//
// A cell holds the number of its bucket of time in its upper half and the count in
// its lower half: so a count of an old bucket cannot be taken for one of the new,
// and a bucket is begun anew by whoever comes first, with one compare-and-swap.
type Counts struct {
	width   int64  // of a bucket, in nanoseconds
	buckets uint32 // in the ring
	series  uint32
	stride  uint32 // cells from one shard to the next, whole cache lines
	mask    uint32 // number of shards - 1
	cells   []atomic.Uint64
}

// line is the number of cells in the two cache lines that are fetched together.
const line = 16

// New returns counts of the given number of series over the last span nanoseconds,
// in the given number of buckets: the window that Sum sees is between
// span-span/buckets and span long. Shards is a power of two: 1 where few write, 8
// where all cores do. Numbers below one are taken as one.
func New(span int64, buckets, series, shards int) *Counts {
	buckets, series, shards = max(buckets, 1), max(series, 1), max(shards, 1)
	for shards&(shards-1) != 0 {
		shards++
	}
	c := &Counts{
		width:   max(span/int64(buckets), 1),
		buckets: uint32(buckets),
		series:  uint32(series),
		stride:  uint32(buckets * series),
		mask:    uint32(shards - 1),
	}
	if shards > 1 {
		c.stride = (c.stride + line - 1) / line * line
	}
	c.cells = make([]atomic.Uint64, int(c.stride)*shards)
	return c
}

// Add counts n more in a series, at the time now. What is a whole window late is
// not counted. Shard is any number; goroutines on different cores should have
// different ones.
func (c *Counts) Add(now int64, shard uint32, series int, n uint32) {
	epoch := uint32(now / c.width)
	cell := &c.cells[(shard&c.mask)*c.stride+(epoch%c.buckets)*c.series+uint32(series)]
	for {
		word := cell.Load()
		if uint32(word>>32) == epoch {
			if uint32(word) <= math.MaxUint32/2 { // Full: better to stand still than to spill over into the epoch.
				cell.Add(uint64(n))
			}
			return
		}
		if word != 0 && int32(epoch-uint32(word>>32)) < 0 {
			return
		}
		if cell.CompareAndSwap(word, uint64(epoch)<<32|uint64(n)) {
			return
		}
	}
}

// Sum is the count of a series over the window that ends at now.
func (c *Counts) Sum(now int64, series int) int64 {
	epoch := uint32(now / c.width)
	var sum int64
	for shard := uint32(0); shard <= c.mask; shard++ {
		base := shard*c.stride + uint32(series)
		for b := range c.buckets {
			word := c.cells[base+b*c.series].Load()
			// A bucket ahead of now belongs to somebody who looked at the clock a moment later.
			if word != 0 && int32(epoch-uint32(word>>32)) < int32(c.buckets) {
				sum += int64(uint32(word))
			}
		}
	}
	return sum
}

// Reset forgets all. What is counted at the same time may be lost or kept.
func (c *Counts) Reset() {
	for i := range c.cells {
		c.cells[i].Store(0)
	}
}
