package canary

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// The buckets of latencies: sixteen for each power of two of microseconds, up to two
// minutes, so that a bucket is at most a sixteenth wide; and one for failures that
// say nothing of how long answers take.
const (
	fine     = 4 // bits
	octaves  = 24
	buckets  = octaves << fine
	untimed  = buckets
	resolved = time.Microsecond
)

// shards is a power of two: cores seldom write to one cell.
const shards = 8

// Meter counts what one side of a roll-out answers. The zero value is ready; Count may be
// called by any goroutine and costs one atomic add, two for a failure.
type Meter struct{ shards [shards]cells }

type cells struct {
	counts [buckets + 1]atomic.Int64
	failed atomic.Int64
	_      [48]byte
}

// Untimed is the time of a request that says nothing of latency.
const Untimed time.Duration = -1

// Count counts one request; shard is Exchange.Shard.
func (m *Meter) Count(shard uint32, failed bool, took time.Duration) {
	c := &m.shards[shard%shards]
	c.counts[bucketOf(took)].Add(1)
	if failed {
		c.failed.Add(1)
	}
}

// Read returns all that was counted.
func (m *Meter) Read() (s Sample) {
	for i := range m.shards {
		c := &m.shards[i]
		s.Failed += c.failed.Load()
		for b := range c.counts {
			s.counts[b] += c.counts[b].Load()
		}
	}
	for _, n := range s.counts {
		s.Requests += n
	}
	// A failure is counted after its request; whoever reads in between sees the request only.
	s.Failed = min(s.Failed, s.Requests)
	return s
}

func bucketOf(took time.Duration) int {
	if took < 0 {
		return untimed
	}
	v := uint64(took / resolved)
	if v < 1<<fine {
		return int(v)
	}
	e := bits.Len64(v) - 1 - fine
	return min((e+1)<<fine+int(v>>e)&(1<<fine-1), buckets-1)
}

// bound is where a bucket begins.
func bound(bucket int) time.Duration {
	if bucket < 1<<fine {
		return time.Duration(bucket) * resolved
	}
	e := bucket>>fine - 1
	return time.Duration((1<<fine+bucket&(1<<fine-1))<<e) * resolved
}

// Sample is what one side has answered in some time.
type Sample struct {
	Requests, Failed int64
	counts           [buckets + 1]int64
}

// Add adds what was answered later, or at another place.
func (s *Sample) Add(more *Sample) {
	s.Requests += more.Requests
	s.Failed += more.Failed
	for i := range s.counts {
		s.counts[i] += more.counts[i]
	}
}

// Since is what was answered after an earlier reading of the same meter.
func (s *Sample) Since(before *Sample) Sample {
	d := *s
	d.Requests -= before.Requests
	// Failures whose requests the earlier reading has seen already must not be more than there are here.
	d.Failed = min(max(d.Failed-before.Failed, 0), max(d.Requests, 0))
	for i := range d.counts {
		d.counts[i] -= before.counts[i]
	}
	return d
}

// timed is the number of requests whose latency is known.
func (s *Sample) timed() int64 { return s.Requests - s.counts[untimed] }

// P99 is the latency that one of a hundred requests exceeds; 0 where there was none.
func (s *Sample) P99() time.Duration {
	total := s.timed()
	if total == 0 {
		return 0
	}
	// The rank is counted from above: that many are slower.
	slower := total / 100
	for b := buckets - 1; b >= 0; b-- {
		if slower < s.counts[b] {
			from, to := bound(b), bound(b+1)
			return to - time.Duration(float64(to-from)*(float64(slower)+0.5)/float64(s.counts[b]))
		}
		slower -= s.counts[b]
	}
	return 0
}

// Slower is how many requests took longer than a limit. Those in the limit's own bucket
// do not count.
func (s *Sample) Slower(limit time.Duration) (n int64) {
	for b := bucketOf(limit) + 1; b < buckets; b++ {
		n += s.counts[b]
	}
	return n
}
