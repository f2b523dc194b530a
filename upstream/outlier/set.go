// Package outlier ejects endpoints that do worse than they should, or than their
// peers, by looking at the requests that they get anyway, and lets them in again.
//
// Failures in a row eject at once. The other verdicts compare what a whole
// interval has shown, and are taken by Tick, which the owner's timer calls. Time is
// handed in as nanoseconds of a clock that does not go back.
package outlier

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// Config says who is ejected, and for how long. A verdict whose bound is 0 is never taken.
type Config struct {
	Consecutive int // failures in a row

	Interval     time.Duration // over which the following look; default 10s
	Volume       int           // tries in an interval below which they do not judge a member; default 50
	FailureShare float64       // of a member's tries, at which it is ejected

	// A member is ejected whose share of successes is below the mean of all less
	// this many standard deviations, and a twentieth at least: 1.9 is usual.
	SuccessFactor float64
	SuccessPeers  int // members with enough volume that there must be; default 5

	// A member is ejected whose latency is above the median of its peers by this
	// factor: 3, say.
	LatencyFactor   float64
	LatencyQuantile float64       // which latency of an interval is compared; default 0.9
	LatencyFloor    time.Duration // who is faster is never too slow; default 10ms
	LatencyPeers    int           // members with enough volume that there must be; default 3

	Base     time.Duration // the first ejection lasts as long, the n-th n times as long; default 30s
	Max      time.Duration // the longest one; default 5m, at least Base
	MaxShare float64       // of the members that may be out at one time; at least one may, and one always stays; default 0.5

	// OnChange is told each ejection and each return once, with no lock held, on the
	// goroutine that caused it.
	OnChange func(Change)
}

// Defaults of a set.
const (
	DefaultInterval        = 10 * time.Second
	DefaultVolume          = 50
	DefaultSuccessPeers    = 5
	DefaultLatencyQuantile = 0.9
	DefaultLatencyFloor    = 10 * time.Millisecond
	DefaultLatencyPeers    = 3
	DefaultBase            = 30 * time.Second
	DefaultMax             = 5 * time.Minute
	DefaultMaxShare        = 0.5
)

func (c Config) withDefaults() Config {
	fallback(&c.Interval, DefaultInterval)
	fallback(&c.Volume, DefaultVolume)
	fallback(&c.SuccessPeers, DefaultSuccessPeers)
	fallback(&c.LatencyQuantile, DefaultLatencyQuantile)
	fallback(&c.LatencyFloor, DefaultLatencyFloor)
	fallback(&c.LatencyPeers, DefaultLatencyPeers)
	fallback(&c.Base, DefaultBase)
	fallback(&c.Max, DefaultMax)
	fallback(&c.MaxShare, DefaultMaxShare)
	c.Max = max(c.Max, c.Base)
	return c
}

func fallback[T cmp.Ordered](value *T, otherwise T) {
	var zero T
	if *value <= zero {
		*value = otherwise
	}
}

// Reason is why a member was ejected.
type Reason uint8

const (
	NoReason     Reason = iota
	Consecutive         // failures in a row
	FailureShare        // too large a share of failures
	SuccessRate         // successes far below those of the others
	Latency             // much slower than its peers
)

func (r Reason) String() string {
	return [...]string{"", "consecutive_failures", "failure_share", "success_rate", "latency"}[r]
}

// Change is an ejection or a return.
type Change struct {
	Member *Member
	Out    bool
	Reason Reason        // of the ejection that begins or ends
	For    time.Duration // how long it is out
	// What was seen, and the bound that it was held against: failures in a row,
	// shares, or seconds, as Reason says.
	Value, Bound float64
}

// Set is the endpoints that are compared with each other.
type Set struct {
	config Config

	mu      sync.Mutex
	members []*Member
	out     int   // members that are ejected
	judge   int64 // when the interval is over; 0 before the first Tick
}

// NewSet returns a set without members.
func NewSet(config Config) *Set { return &Set{config: config.withDefaults()} }

// Config is what the set was made of, defaults included.
func (s *Set) Config() *Config { return &s.config }

// Join adds an endpoint.
func (s *Set) Join(name string, now int64) *Member {
	m := &Member{set: s, name: name, since: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.place = len(s.members)
	s.members = append(s.members, m)
	return m
}

// Leave takes an endpoint out of the comparison. What is recorded for it later
// changes nothing. If the others have become too few, some of them return.
func (s *Set) Leave(m *Member, now int64) {
	s.tell(s.leave(m, now))
}

func (s *Set) leave(m *Member, now int64) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.gone {
		return nil
	}
	m.gone = true
	last := len(s.members) - 1
	s.members[m.place] = s.members[last] // Their order means nothing, and there may be many.
	s.members[m.place].place = m.place
	s.members[last] = nil
	s.members = s.members[:last]
	if m.out.Load() {
		s.out--
	}
	var changes []Change
	for s.out > s.room() {
		changes = append(changes, s.admit(s.earliest(), now))
	}
	return changes
}

// earliest is the ejected member that would be the first to return.
func (s *Set) earliest() *Member {
	var first *Member
	for _, m := range s.members {
		if m.out.Load() && (first == nil || m.until < first.until) {
			first = m
		}
	}
	return first
}

// room is how many may be out at one time.
func (s *Set) room() int {
	n := len(s.members)
	return min(max(int(s.config.MaxShare*float64(n)), 1), max(n-1, 0))
}

// Readmit lets an ejected member in before its time: something else, such as a
// health check, has shown that it is well.
func (s *Set) Readmit(m *Member, now int64) {
	s.mu.Lock()
	if m.gone || !m.out.Load() {
		s.mu.Unlock()
		return
	}
	change := s.admit(m, now)
	s.mu.Unlock()
	s.tell([]Change{change})
}

// admit is called with the lock held.
func (s *Set) admit(m *Member, now int64) Change {
	s.out--
	m.since = now
	m.row.Store(0)
	m.out.Store(false)
	return Change{Member: m, Reason: m.reason}
}

// tooMany is called by a member whose failures in a row have become too many.
func (s *Set) tooMany(m *Member, now int64) {
	s.mu.Lock()
	if m.gone || m.out.Load() || s.out >= s.room() {
		s.mu.Unlock()
		return
	}
	change := s.eject(m, now, verdict{member: m, reason: Consecutive, value: float64(m.row.Load()), bound: float64(s.config.Consecutive)})
	s.mu.Unlock()
	s.tell([]Change{change})
}

// eject is called with the lock held, and where there is room.
func (s *Set) eject(m *Member, now int64, v verdict) Change {
	most := int(s.config.Max / s.config.Base)
	m.times = min(m.times+1, most)
	m.total++
	lasts := s.config.Base * time.Duration(m.times)
	m.until = now + int64(lasts)
	m.reason = v.reason
	m.out.Store(true)
	s.out++
	return Change{Member: m, Out: true, Reason: v.reason, For: lasts, Value: v.value, Bound: v.bound}
}

// Tick lets in whose time is over, and at the end of an interval judges. It returns
// when it wants to be called again; to be late does no harm. It is called by one
// goroutine at a time.
func (s *Set) Tick(now int64) (next int64) {
	changes, next := s.tick(now)
	s.tell(changes)
	return next
}

func (s *Set) tick(now int64) (changes []Change, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.out.Load() && m.until <= now {
			changes = append(changes, s.admit(m, now))
		}
	}
	if s.judge == 0 {
		s.judge = now + int64(s.config.Interval)
	}
	if now >= s.judge {
		s.judge = now + int64(s.config.Interval)
		changes = append(changes, s.judgeAll(now)...)
	}
	next = s.judge
	if first := s.earliest(); first != nil {
		next = min(next, first.until)
	}
	return changes, next
}

// judgeAll ejects the worst first, as long as there is room.
func (s *Set) judgeAll(now int64) []Change {
	quantile := 0.0
	if s.config.LatencyFactor > 0 {
		quantile = s.config.LatencyQuantile
	}
	var present []*Member
	for _, m := range s.members {
		m.collect(quantile)
		if !m.out.Load() {
			present = append(present, m)
		}
	}
	verdicts := s.verdicts(present)
	slices.SortStableFunc(verdicts, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.reason, b.reason), cmp.Compare(b.severity, a.severity))
	})
	var changes []Change
	ill := map[*Member]bool{}
	for _, v := range verdicts {
		if !ill[v.member] && s.out < s.room() {
			changes = append(changes, s.eject(v.member, now, v))
		}
		ill[v.member] = true
	}
	for _, m := range present {
		if !ill[m] && m.times > 0 && now-m.since >= int64(s.config.Interval) {
			m.times-- // A whole interval of good behaviour.
		}
	}
	return changes
}

func (s *Set) tell(changes []Change) {
	if s.config.OnChange == nil {
		return
	}
	for _, c := range changes {
		s.config.OnChange(c)
	}
}

// verdict is a reason to eject a member.
type verdict struct {
	member       *Member
	reason       Reason
	severity     float64 // among verdicts of the same reason
	value, bound float64
}

func (s *Set) verdicts(present []*Member) []verdict {
	var all []verdict
	var busy []*Member // with enough volume to say anything
	for _, m := range present {
		if row := m.row.Load(); s.config.Consecutive > 0 && int(row) >= s.config.Consecutive {
			// There was no room when it happened.
			all = append(all, verdict{m, Consecutive, float64(row), float64(row), float64(s.config.Consecutive)})
		}
		if m.last.volume() >= int64(s.config.Volume) {
			busy = append(busy, m)
		}
	}
	for _, m := range busy {
		if share := m.last.failureShare(); s.config.FailureShare > 0 && share >= s.config.FailureShare {
			all = append(all, verdict{m, FailureShare, share, share, s.config.FailureShare})
		}
	}
	all = append(all, s.unsuccessful(busy)...)
	return append(all, s.slow(busy)...)
}

// leastGap is how far below the mean a member's share of successes must be at
// least: among members that hardly ever fail, one failure more is far out in
// standard deviations, and means nothing.
const leastGap = 0.05

// unsuccessful compares the shares of successes.
func (s *Set) unsuccessful(busy []*Member) []verdict {
	if s.config.SuccessFactor <= 0 || len(busy) < s.config.SuccessPeers {
		return nil
	}
	var sum, squares float64
	for _, m := range busy {
		sum += 1 - m.last.failureShare()
	}
	mean := sum / float64(len(busy))
	for _, m := range busy {
		d := 1 - m.last.failureShare() - mean
		squares += d * d
	}
	deviation := math.Sqrt(squares / float64(len(busy)))
	bound := min(mean-s.config.SuccessFactor*deviation, mean-leastGap)
	var all []verdict
	for _, m := range busy {
		if rate := 1 - m.last.failureShare(); rate < bound {
			all = append(all, verdict{m, SuccessRate, bound - rate, rate, bound})
		}
	}
	return all
}

// slow compares latencies.
func (s *Set) slow(busy []*Member) []verdict {
	if s.config.LatencyFactor <= 0 {
		return nil
	}
	var sorted []*Member
	for _, m := range busy {
		if m.last.latency > 0 {
			sorted = append(sorted, m)
		}
	}
	if len(sorted) < max(s.config.LatencyPeers, 2) {
		return nil
	}
	slices.SortFunc(sorted, func(a, b *Member) int { return cmp.Compare(a.last.latency, b.last.latency) })
	var all []verdict
	for i, m := range sorted {
		// The median of the others; of two in the middle the slower one.
		middle := (len(sorted) - 1) / 2
		if middle >= i {
			middle++
		}
		bound := max(s.config.LatencyFactor*sorted[middle].last.latency.Seconds(), s.config.LatencyFloor.Seconds())
		if value := m.last.latency.Seconds(); value > bound {
			all = append(all, verdict{m, Latency, value / bound, value, bound})
		}
	}
	return all
}
