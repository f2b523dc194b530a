package spill

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/internal/window"
)

// member is what is known of a member.
type member struct {
	config   Member
	failover Failover
	room     room

	// phase is the state in its lower bits and, above them, a number that grows with each
	// change: so that news of a request is not taken for news of a later time.
	phase  atomic.Uint64
	since  atomic.Int64 // when the state began
	back   atomic.Int64 // while it is left: how long it must be well
	due    atomic.Int64 // while it is left: when it comes back if it stays well
	inARow atomic.Int32 // failures, since the last success
	counts *window.Counts

	mu       sync.Mutex // guards the changes of state and what follows
	reason   Reason
	relapses int // returns that have failed since it last served

	chosen, spilled, failed, turned *meter.Counter
}

// The series of outcomes.
const (
	all = iota
	failures
	series
)

func newMember(c *Member, f *Failover) *member {
	m := &member{
		config: *c, failover: *f,
		chosen: new(meter.Counter), spilled: new(meter.Counter), failed: new(meter.Counter), turned: new(meter.Counter),
	}
	m.room.init(&c.Capacity)
	if f.FailureShare > 0 {
		m.counts = window.New(int64(f.Window), buckets, series, shards)
	}
	return m
}

// adopt takes over what is known of a member whose settings have changed. What is under way
// there does not count here: it ends soon.
func (m *member) adopt(was *member) {
	was.mu.Lock()
	defer was.mu.Unlock()
	m.phase.Store(was.phase.Load())
	m.since.Store(was.since.Load())
	m.reason, m.relapses = was.reason, was.relapses
	m.back.Store(int64(m.patience()))
	m.due.Store(was.due.Load() - was.back.Load() + m.back.Load())
	m.chosen, m.spilled, m.failed, m.turned = was.chosen, was.spilled, was.failed, was.turned
}

func (m *member) weight() uint64 { return uint64(max(m.config.Weight, 1)) }

const stateBits = 2

func stateOf(phase uint64) State { return State(phase & (1<<stateBits - 1)) }

// become is called with the lock held.
func (m *member) become(now int64, to State, why Reason) Change {
	word := m.phase.Load()
	m.since.Store(now)
	m.inARow.Store(0)
	if m.counts != nil {
		m.counts.Reset()
	}
	m.phase.Store((word>>stateBits+1)<<stateBits | uint64(to))
	return Change{Member: m.config.Name, From: stateOf(word), To: to, Reason: why}
}

// leave is called with the lock held.
func (m *member) leave(now int64, why Reason) Change {
	if stateOf(m.phase.Load()) == Returning {
		m.relapses++
	} else {
		m.relapses = 0
	}
	m.reason = why
	back := m.patience()
	m.back.Store(int64(back))
	m.due.Store(now + int64(back))
	change := m.become(now, Left, why)
	change.For = back
	return change
}

// patience is how long it must be well before it comes back.
func (m *member) patience() time.Duration {
	f := &m.failover
	if m.relapses < 32 && f.Return <= f.ReturnMax>>m.relapses {
		return f.Return << m.relapses
	}
	return max(f.ReturnMax, f.Return)
}

// look changes the state where the time for that has come, or where the member is unwell. It
// takes no lock where nothing changes.
func (m *member) look(now int64, unwell bool) Change {
	switch state := stateOf(m.phase.Load()); {
	case state == Left && unwell:
		if due := now + m.back.Load(); due > m.due.Load() {
			m.due.Store(due)
		}
		return Change{}
	case unwell:
	case state == Serving, state == Left && now < m.due.Load(), state == Returning && now < m.recovered():
		return Change{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch state := stateOf(m.phase.Load()); {
	case unwell && state != Left:
		return m.leave(now, Unwell)
	case unwell:
	case state == Left && now >= m.due.Load():
		if m.failover.Ramp == 0 {
			return m.become(now, Serving, WasWell)
		}
		return m.become(now, Returning, WasWell)
	case state == Returning && now >= m.recovered():
		return m.become(now, Serving, Recovered)
	}
	return Change{}
}

// recovered is when a member that comes back has its whole share again.
func (m *member) recovered() int64 { return m.since.Load() + int64(m.failover.Ramp) }

// share is the part of its due that a member gets.
func (m *member) share(now int64) float64 {
	if stateOf(m.phase.Load()) != Returning {
		return 1
	}
	grown := float64(now-m.since.Load()) / float64(m.failover.Ramp)
	return min(1, firstStep+(1-firstStep)*grown)
}

// spared says whether a member that comes back is passed over this time.
func (m *member) spared(now int64, random func() uint64) bool {
	if stateOf(m.phase.Load()) != Returning {
		return false
	}
	return float64(random()>>11)/(1<<53) >= m.share(now)
}

// judge takes an outcome into account, if it is of this phase.
func (m *member) judge(now int64, phase uint64, shard uint32, outcome Outcome) Change {
	if phase != m.phase.Load() {
		return Change{}
	}
	state := stateOf(phase)
	switch {
	case state == Left, outcome == Refused, outcome == Unknown:
		return Change{}
	case outcome == Unavailable && state == Returning:
		// Whoever comes back may let through no more than a few, to find out how it does.
		return Change{}
	case outcome == Served:
		if m.inARow.Load() != 0 {
			m.inARow.Store(0)
		}
		if m.counts != nil {
			m.counts.Add(now, shard, all, 1)
		}
		return Change{}
	}
	if m.counts != nil {
		m.counts.Add(now, shard, all, 1)
		m.counts.Add(now, shard, failures, 1)
	}
	why := m.verdict(now, state, int(m.inARow.Add(1)))
	if why == None {
		return Change{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if phase != m.phase.Load() {
		return Change{}
	}
	return m.leave(now, why)
}

// verdict says why a member is to be left after a failure; None where it is not.
func (m *member) verdict(now int64, state State, inARow int) Reason {
	f := &m.failover
	if limit := f.Consecutive; limit > 0 {
		if state == Returning {
			limit = min(limit, relapse)
		}
		if inARow >= limit {
			return InARow
		}
	}
	if m.counts == nil {
		return None
	}
	total := m.counts.Sum(now, all)
	if total >= int64(f.Volume) && float64(m.counts.Sum(now, failures)) >= f.FailureShare*float64(total) {
		return FailureShare
	}
	return None
}

func (m *member) view(now int64) View {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := View{
		Member: m.config, State: stateOf(m.phase.Load()), Share: m.share(now), Active: m.room.active.Load(),
		Requests: m.chosen.Value(), Spilled: m.spilled.Value(), Failures: m.failed.Value(), Turned: m.turned.Value(),
	}
	switch {
	case v.State == Left:
		v.Reason, v.Share = m.reason, 0
		v.Back = time.Duration(max(m.due.Load()-now, 0))
	case m.room.full(now):
		v.State = Full
	}
	return v
}
