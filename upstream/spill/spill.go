// Package spill decides which member of a group of upstreams gets a request: the lowest
// level that has room and health, by weight among its members. What a full or ill member
// leaves goes to the next one.
//
//	            failures in a row, a share of failures, or its endpoints are ill
//	serving ───────────────────────────────────────────────────────────────▶ left ◀────┐
//	▲  │  ▲                                                                   │ was    │ fails again:
//	│  │  └── has room again ── full                                          │ well   │ twice as long
//	│  └───── capacity is used ──▲                                            ▼ long   │
//	└──────────────── its share has grown to the whole ──────────────── returning ─────┘
//
// A Group knows neither connections nor a clock: it is asked with the time, and told what
// became of a request. Time is nanoseconds of a clock that does not go back.
package spill

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/internal/window"
)

// MaxMembers is how many members a group can have.
const MaxMembers = 32

// Config describes a group.
type Config struct {
	Members  []Member
	Failover Failover
	// OnChange is told each time that a member is left or comes back, on the goroutine that
	// caused it, with no lock held.
	OnChange func(Change)
	// Random draws evenly from all numbers. Default rand.Uint64.
	Random func() uint64
}

// Member is an upstream in a group. It is comparable.
type Member struct {
	Name     string
	Priority int // level; the lowest is used first
	Weight   int // its part among the members of its level; less than 1 is 1
	Capacity Capacity
	// Share bounds what may spill to it: a part of the group's requests of the last Window,
	// above 0. 0 is as much as comes. It holds for members past the first level only.
	Share float64
}

// Window is the time over which the share of what spills is measured.
const Window = 10 * time.Second

// Failover says when a member is left, and how it comes back. It is comparable.
type Failover struct {
	Consecutive  int           // failures in a row at which it is left; 0: that does not count
	FailureShare float64       // of its answers in the window at which it is left; 0: that does not count
	Window       time.Duration // over which that share is measured
	Volume       int           // answers in the window below which it is not judged by their share
	Return       time.Duration // how long it must have been well before it comes back
	ReturnMax    time.Duration // that doubles each time it fails while it comes back, up to this
	Ramp         time.Duration // in which its share grows from a tenth to the whole
}

// relapse is how many failures in a row end a return: somebody who comes back from an illness
// gets less credit than Consecutive.
const relapse = 2

// firstStep is the share with which a member comes back.
const firstStep = 0.1

// State is how a member does.
type State uint8

const (
	Serving   State = iota // it gets what is its due
	Left                   // it gets nothing, because it is ill
	Returning              // it was well for a while; its share grows
	Full                   // Serving or Returning, and it has no room at the moment
)

func (s State) String() string { return [...]string{"serving", "left", "returning", "full"}[s] }

// Reason is why a state began.
type Reason uint8

const (
	None         Reason = iota
	InARow              // failures in a row
	FailureShare        // the share of failures was reached
	Unwell              // it says itself that it cannot serve: its endpoints are ill, its breaker is open
	WasWell             // it has been well for long enough
	Recovered           // its share has grown to the whole
)

func (r Reason) String() string {
	return [...]string{"", "failures_in_a_row", "failure_share", "unwell", "was_well", "recovered"}[r]
}

// Change is one change of a member's state.
type Change struct {
	Member   string
	From, To State
	Reason   Reason
	For      time.Duration // where To is Left: how long it must be well
}

// Set is a set of members, by their place in Config.Members.
type Set uint32

// Has says whether a member is in the set.
func (s Set) Has(i int) bool { return s&(1<<i) != 0 }

// With is the set with one more member.
func (s Set) With(i int) Set { return s | 1<<i }

// Group chooses among its members. Its methods may be called from any goroutine; where
// nobody is ill or full, Choose and Done take no lock.
type Group struct {
	config  Config
	members []*member
	levels  []Set
	// counts has the requests of the group and what spilled to each member; nil where no
	// member has a bound of that.
	counts  *window.Counts
	refused meter.Counter
}

// The series of counts: the group's requests, and what spilled to member i in series i+1.
const requests = 0

// buckets is how finely windows slide.
const buckets = 10

// shards is over how many cores counts are spread.
const shards = 8

// New makes a group of at least one and at most MaxMembers members; all serve.
func New(config Config) *Group {
	if config.Random == nil {
		config.Random = rand.Uint64
	}
	g := &Group{config: config}
	bounded := false
	for i := range config.Members {
		g.members = append(g.members, newMember(&config.Members[i], &config.Failover))
		bounded = bounded || config.Members[i].Share > 0
	}
	if bounded {
		g.counts = window.New(int64(Window), buckets, 1+len(g.members), shards)
	}
	g.levels = levels(config.Members)
	return g
}

// levels groups members by priority, the lowest first.
func levels(members []Member) (all []Set) {
	var rest Set
	for i := range members {
		rest = rest.With(i)
	}
	for rest != 0 {
		lowest := members[bits.TrailingZeros32(uint32(rest))].Priority
		for i := range members {
			if rest.Has(i) {
				lowest = min(lowest, members[i].Priority)
			}
		}
		var level Set
		for i := range members {
			if rest.Has(i) && members[i].Priority == lowest {
				level = level.With(i)
			}
		}
		all = append(all, level)
		rest &^= level
	}
	return all
}

// Adopt takes over what another group knows of members of the same name, so that a reload
// forgets no illness. It is called before the group is used. A member that reads the same is
// shared by both: what is under way there counts here too.
func (g *Group) Adopt(old *Group) {
	for i, m := range g.members {
		for _, was := range old.members {
			switch {
			case was.config.Name != m.config.Name:
			case was.config == m.config && was.failover == m.failover:
				g.members[i] = was
			default:
				m.adopt(was)
			}
		}
	}
}

// Choice is the member that gets a request. After one that is OK, Done is called.
type Choice struct {
	OK      bool
	Member  int
	Spilled bool // it is not of the first level
	// Full says, where there is no choice, that somebody is well and has no room: the client
	// may come back after RetryAfter, at least.
	Full       bool
	RetryAfter time.Duration

	phase uint64
}

// Past is what became of a request so far: the members that it was sent to in vain, and those
// of them that had no room by their own account.
type Past struct{ Tried, Full Set }

// search is what one Choose has found out.
type search struct {
	now                       int64
	shard                     uint32
	tried, left, full, spared Set
	wait                      int64
}

// Choose finds the member for a request. Unwell are those who say themselves that they cannot
// serve. A request without a past is counted. Shard is Exchange.Shard.
func (g *Group) Choose(now int64, shard uint32, unwell Set, past Past) Choice {
	if past.Tried == 0 && g.counts != nil {
		g.counts.Add(now, shard, requests, 1)
	}
	s := search{now: now, shard: shard, tried: past.Tried, full: past.Full}
	for i, m := range g.members {
		if g.look(m, now, unwell.Has(i)) == Left {
			s.left = s.left.With(i)
		}
	}
	if c := g.search(&s, ^s.left, false); c.OK {
		return c
	}
	// Nobody takes it who serves at its full share: those who come back get more than
	// theirs then.
	if s.spared != 0 {
		if c := g.search(&s, s.spared, true); c.OK {
			return c
		}
	}
	// Nobody is well: those who are ill are a better bet than a refusal. But they are no place
	// for what is too much for the others.
	if s.full == 0 && s.left != 0 {
		if c := g.search(&s, s.left, true); c.OK {
			return c
		}
	}
	if s.full != 0 {
		g.refused.Add(shard, 1)
	}
	return Choice{Full: s.full != 0, RetryAfter: time.Duration(s.wait)}
}

// search goes through the levels, among some members. Who comes back is passed over as often
// as its share says, or gets the whole.
func (g *Group) search(s *search, among Set, whole bool) Choice {
	for at, level := range g.levels {
		for open := level & among &^ s.tried; open != 0; {
			i := g.draw(open)
			open &^= 1 << i
			if !whole && g.members[i].spared(s.now, g.config.Random) {
				s.spared = s.spared.With(i)
				continue
			}
			if c := g.take(s, i, at > 0); c.OK {
				return c
			}
		}
	}
	return Choice{}
}

// take asks a member for room.
func (g *Group) take(s *search, i int, spills bool) Choice {
	m := g.members[i]
	if spills && m.config.Share > 0 && !g.maySpill(s.now, i) {
		s.full = s.full.With(i)
		m.turned.Add(s.shard, 1)
		return Choice{}
	}
	if wait, ok := m.room.enter(s.now); !ok {
		if s.full == 0 || wait < s.wait {
			s.wait = wait
		}
		s.full = s.full.With(i)
		m.turned.Add(s.shard, 1)
		return Choice{}
	}
	m.chosen.Add(s.shard, 1)
	if spills {
		m.spilled.Add(s.shard, 1)
		if m.config.Share > 0 {
			g.counts.Add(s.now, s.shard, 1+i, 1)
		}
	}
	return Choice{OK: true, Member: i, Spilled: spills, phase: m.phase.Load()}
}

// maySpill says whether a member has not got its share of the group's requests yet. It is
// asked for what spills only, which is why it may add up.
func (g *Group) maySpill(now int64, i int) bool {
	return float64(g.counts.Sum(now, 1+i)) < g.members[i].config.Share*float64(g.counts.Sum(now, requests))
}

// draw chooses one of a set that is not empty, by weight.
func (g *Group) draw(open Set) int {
	first := bits.TrailingZeros32(uint32(open))
	if open&(open-1) == 0 {
		return first
	}
	var total uint64
	for rest := open; rest != 0; rest &= rest - 1 {
		total += g.members[bits.TrailingZeros32(uint32(rest))].weight()
	}
	high, _ := bits.Mul64(g.config.Random(), total)
	for rest := open; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros32(uint32(rest))
		if w := g.members[i].weight(); high < w {
			return i
		} else {
			high -= w
		}
	}
	return first
}

// Outcome is what became of a request at a member.
type Outcome uint8

const (
	Served      Outcome = iota // it was answered well
	Failed                     // the member was not reached, did not answer, or not well
	Unavailable                // the member said itself that it cannot serve
	Refused                    // it had no room by its own account; nothing was sent
	Unknown                    // nothing can be said of the member: the client left
)

// Done tells what became of a request. It is called once for each choice that was OK.
func (g *Group) Done(c Choice, now int64, shard uint32, outcome Outcome) {
	m := g.members[c.Member]
	m.room.leave(outcome == Refused || outcome == Unavailable)
	if outcome == Failed || outcome == Unavailable {
		m.failed.Add(shard, 1)
	}
	if change := m.judge(now, c.phase, shard, outcome); change.Member != "" {
		g.tell(change)
	}
}

// look brings the state of a member up to date.
func (g *Group) look(m *member, now int64, unwell bool) State {
	if change := m.look(now, unwell); change.Member != "" {
		g.tell(change)
	}
	return stateOf(m.phase.Load())
}

func (g *Group) tell(c Change) {
	if g.config.OnChange != nil {
		g.config.OnChange(c)
	}
}

// Well says whether any member may serve, for a group that is a member itself. It brings
// states up to date: a group that gets no requests must come back, too.
func (g *Group) Well(now int64, unwell Set) bool {
	well := false
	for i, m := range g.members {
		if g.look(m, now, unwell.Has(i)) != Left {
			well = true
		}
	}
	return well
}

// View is what a member looks like from outside.
type View struct {
	Member
	State  State
	Reason Reason        // for which it was left, where it is
	Back   time.Duration // until it comes back, where it is left and stays well
	Share  float64       // of what is its due that it gets
	Active int64         // requests that wait for the head of their answer, where it has a limit of them
	// Since the beginning: requests that it got, those of them that spilled to it, failures, and
	// how often it was passed over because it had no room.
	Requests, Spilled, Failures, Turned int64
}

// Views are for status and metrics. They bring states up to date, as Choose does.
func (g *Group) Views(now int64, unwell Set) []View {
	all := make([]View, len(g.members))
	for i, m := range g.members {
		g.look(m, now, unwell.Has(i))
		all[i] = m.view(now)
		if v := &all[i]; v.State == Serving && v.Member.Share > 0 && g.counts.Sum(now, 1+i) > 0 && !g.maySpill(now, i) {
			v.State = Full
		}
	}
	return all
}

// Rated says whether a member's capacity is a rate. Then Choose needs the time at which it is
// called: where requests have waited on their way, some longer than others, that of their
// beginning makes a bucket seem empty that is not.
func (c *Config) Rated() bool {
	return slices.ContainsFunc(c.Members, func(m Member) bool { return m.Capacity.Requests > 0 })
}

// Refused is how many requests got no member because none had room.
func (g *Group) Refused() int64 { return g.refused.Value() }
