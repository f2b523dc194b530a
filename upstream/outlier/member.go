package outlier

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Member is one endpoint of a set. Record and Out are called on the request path
// and take no lock.
type Member struct {
	set    *Set
	name   string
	out    atomic.Bool
	row    atomic.Int32 // failures since the last success
	failed atomic.Uint32
	// Successes by their latency: buckets whose bounds grow by a quarter of a power
	// of two. Where latency is not judged, all are in the first one.
	answered [latencyBuckets]atomic.Uint32

	// Guarded by the set's lock.
	gone   bool
	place  int   // among the set's members
	since  int64 // when it was let in
	until  int64 // when it is let in again, while it is out
	times  int   // ejections, less what good behaviour took off
	total  int   // ejections since it joined
	reason Reason
	last   sample
}

// sample is what was counted in one interval.
type sample struct {
	successes, failures int64
	latency             time.Duration // the quantile that is compared; 0 where there is none
}

func (s *sample) volume() int64 { return s.successes + s.failures }

func (s *sample) failureShare() float64 { return float64(s.failures) / float64(max(s.volume(), 1)) }

// Name is what the member was called when it joined.
func (m *Member) Name() string { return m.name }

// Out says that the member is ejected: no request should go there.
func (m *Member) Out() bool { return m.out.Load() }

// Record tells what became of a try: whether it failed, and how long a success
// took until the head of its answer came. A failure may eject the member at once.
func (m *Member) Record(now int64, failed bool, took time.Duration) {
	if !failed {
		if m.row.Load() != 0 {
			m.row.Store(0)
		}
		bucket := 0
		if m.set.config.LatencyFactor > 0 {
			bucket = latencyBucket(took)
		}
		m.answered[bucket].Add(1)
		return
	}
	m.failed.Add(1)
	limit := int32(m.set.config.Consecutive)
	// Where too many are out already, it is looked at again after as many more.
	if row := m.row.Add(1); limit > 0 && row%limit == 0 && !m.out.Load() {
		m.set.tooMany(m, now)
	}
}

// collect returns what was counted since the last time, and begins anew.
func (m *Member) collect(quantile float64) {
	m.last = sample{failures: int64(m.failed.Swap(0))}
	var counts [latencyBuckets]uint32
	for i := range m.answered {
		if m.answered[i].Load() != 0 { // A swap of what nobody wrote would only cost.
			counts[i] = m.answered[i].Swap(0)
			m.last.successes += int64(counts[i])
		}
	}
	if quantile <= 0 || m.last.successes == 0 {
		return
	}
	rank := int64(quantile * float64(m.last.successes))
	for i, n := range counts {
		if rank < int64(n) {
			m.last.latency = latencyBound(i) + time.Duration(float64(latencyBound(i+1)-latencyBound(i))*(float64(rank)+0.5)/float64(n))
			return
		}
		rank -= int64(n)
	}
}

// Latencies are told apart from a millisecond to a minute; what differs outside is
// no reason to eject anybody.
const (
	latencyShift   = 20 // the first bucket ends at 2^20 ns, 1.05 ms
	latencyOctaves = 16
	latencyBuckets = 1 + 4*latencyOctaves
)

func latencyBucket(took time.Duration) int {
	if took < 1<<latencyShift {
		return 0
	}
	octave := bits.Len64(uint64(took)) - 1 - latencyShift
	quarter := int(took>>(octave+latencyShift-2)) & 3
	return min(1+4*octave+quarter, latencyBuckets-1)
}

// latencyBound is the lower bound of a bucket.
func latencyBound(bucket int) time.Duration {
	if bucket == 0 {
		return 0
	}
	octave, quarter := (bucket-1)/4, (bucket-1)%4
	return time.Duration(4+quarter) << (octave + latencyShift - 2)
}

// Adopt makes a new member go on where another one is, which it replaces, in the same set
// or in another: it is out as long as that would be, if what that was ejected for still counts
// and so many may be out, and its ejections count. It says whether it is out, and tells no change.
func (m *Member) Adopt(from *Member, now int64) (out bool) {
	from.set.mu.Lock()
	fromOut, reason, until, times, total, since := from.out.Load(), from.reason, from.until, from.times, from.total, from.since
	from.set.mu.Unlock()
	s := m.set
	s.mu.Lock()
	defer s.mu.Unlock()
	m.total, m.reason, m.since = total, reason, since
	if !s.config.judges(reason) {
		return false
	}
	m.times = min(times, int(s.config.Max/s.config.Base))
	// In the same set the place is that of the other one, which leaves.
	if !fromOut || until <= now || from.set != s && s.out >= s.room() {
		return false
	}
	m.until = min(until, now+int64(s.config.Max))
	m.out.Store(true)
	s.out++
	return true
}

// judges says whether there is a bound for a reason.
func (c *Config) judges(r Reason) bool {
	switch r {
	case Consecutive:
		return c.Consecutive > 0
	case FailureShare:
		return c.FailureShare > 0
	case SuccessRate:
		return c.SuccessFactor > 0
	case Latency:
		return c.LatencyFactor > 0
	}
	return false
}

// View is what a member looks like from outside.
type View struct {
	Out       bool
	Reason    Reason // of the last ejection
	Back      time.Duration
	Ejections int // since it joined
	// Of the last interval that is over.
	Successes, Failures int64
	Latency             time.Duration
}

// View is for status and metrics.
func (m *Member) View(now int64) View {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	v := View{
		Out: m.out.Load(), Reason: m.reason, Ejections: m.total,
		Successes: m.last.successes, Failures: m.last.failures, Latency: m.last.latency,
	}
	if v.Out {
		v.Back = max(time.Duration(m.until-now), 0)
	}
	return v
}
