package spill

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

const (
	second = int64(time.Second)
	start  = int64(time.Hour)
)

var failover = Failover{
	Consecutive: 5, FailureShare: 0.5, Window: 10 * time.Second, Volume: 20,
	Return: 10 * time.Second, ReturnMax: 40 * time.Second, Ramp: 30 * time.Second,
}

// world is a group with a clock that the test owns.
type world struct {
	*Group
	t       *testing.T
	now     int64
	unwell  Set
	changes []Change
}

func newWorld(t *testing.T, members ...Member) *world {
	t.Helper()
	w := &world{t: t, now: start}
	random := rand.New(rand.NewPCG(1, 2))
	w.Group = New(Config{Members: members, Failover: failover, Random: random.Uint64, OnChange: func(c Change) { w.changes = append(w.changes, c) }})
	return w
}

// ask sends one request and has it answered at once; -1 where it was refused.
func (w *world) ask(outcome Outcome) int {
	c := w.Choose(w.now, 0, w.unwell, Past{})
	if !c.OK {
		return -1
	}
	w.Done(c, w.now, 0, outcome)
	return c.Member
}

// flow sends requests at an even rate, all answered well, and counts who got them; refused ones
// come last.
func (w *world) flow(perSecond int, d time.Duration) []int {
	got := make([]int, len(w.members)+1)
	for range int64(d) * int64(perSecond) / second {
		at := w.ask(Served)
		if at < 0 {
			at = len(w.members)
		}
		got[at]++
		w.now += second / int64(perSecond)
	}
	return got
}

func (w *world) states() (states []State) {
	for _, v := range w.Views(w.now, w.unwell) {
		states = append(states, v.State)
	}
	return states
}

func (w *world) want(states ...State) {
	w.t.Helper()
	for i, s := range w.states() {
		if s != states[i] {
			w.t.Errorf("states are %v, want %v", w.states(), states)
			return
		}
	}
}

func between(t *testing.T, what string, n, low, high int) {
	t.Helper()
	if n < low || n > high {
		t.Errorf("%s: %d, want %d to %d", what, n, low, high)
	}
}

func TestTheFirstLevelServesByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "c", Priority: 7}, Member{Name: "a", Weight: 3, Priority: 2}, Member{Name: "b", Priority: 2})
	got := w.flow(1000, 10*time.Second)
	if got[0] != 0 || got[3] != 0 {
		t.Errorf("the second level got %d, %d were refused", got[0], got[3])
	}
	between(t, "the one with three quarters", got[1], 7300, 7700)
	w.want(Serving, Serving, Serving)
}

func TestWhatIsTooMuchSpills(t *testing.T) {
	t.Parallel()
	w := newWorld(t,
		Member{Name: "a", Capacity: Capacity{Requests: 100, Per: time.Second, Burst: 20, Resume: 0.9}},
		Member{Name: "b", Priority: 1, Capacity: Capacity{Requests: 600, Per: time.Minute, Burst: 5, Resume: 0.5}},
		Member{Name: "c", Priority: 2},
	)
	if got := w.flow(90, 10*time.Second); got[0] != 900 {
		t.Errorf("within its capacity: %v", got)
	}
	got := w.flow(200, 10*time.Second)
	between(t, "a, whose capacity is 1000", got[0], 990, 1020)
	between(t, "b, whose capacity is 100", got[1], 95, 105)
	between(t, "c", got[2], 870, 920)
	v := w.Views(w.now, 0)
	if v[0].Spilled != 0 || v[1].Spilled != int64(got[1]) || v[2].Spilled != int64(got[2]) || v[0].Turned == 0 || v[2].Turned != 0 {
		t.Errorf("views: %+v", v)
	}
	w.now += second
	if got := w.flow(90, time.Second); got[0] != 90 {
		t.Errorf("after the burst: %v", got)
	}
}

// TestLowWater shows that a member at its capacity changes between full and not full every
// few requests, not with each.
func TestLowWater(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		resume    float64
		low, high int
	}{{0.5, 15, 45}, {1, 1500, 2000}} {
		w := newWorld(t,
			Member{Name: "a", Capacity: Capacity{Requests: 100, Per: time.Second, Burst: 50, Resume: test.resume}},
			Member{Name: "b", Priority: 1},
		)
		changes, last, served := 0, 0, 0
		for range 2000 {
			at := w.ask(Served)
			if at != last {
				changes++
			}
			if at == 0 {
				served++
			}
			last = at
			w.now += second / 200
		}
		between(t, "changes", changes, test.low, test.high)
		between(t, "served by the full one", served, 1000, 1055)
	}
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a", Capacity: Capacity{Concurrency: 10, Resume: 0.8}}, Member{Name: "b", Priority: 1, Capacity: Capacity{Concurrency: 1, Resume: 0.9}})
	var at []Choice
	for i := range 10 {
		c := w.Choose(w.now, 0, 0, Past{})
		if !c.OK || c.Member != 0 || c.Spilled {
			t.Fatalf("request %d: %+v", i, c)
		}
		at = append(at, c)
	}
	spilled := w.Choose(w.now, 0, 0, Past{})
	if !spilled.OK || spilled.Member != 1 || !spilled.Spilled {
		t.Fatalf("the eleventh: %+v", spilled)
	}
	w.want(Full, Full)
	if c := w.Choose(w.now, 0, 0, Past{}); c.OK || !c.Full {
		t.Errorf("the twelfth: %+v", c)
	}
	if w.Refused() != 1 {
		t.Errorf("refused: %d", w.Refused())
	}
	w.Done(at[0], w.now, 0, Served)
	if c := w.Choose(w.now, 0, 0, Past{}); c.OK {
		t.Error("nine of ten are under way, which is above the low-water mark")
	}
	w.Done(at[1], w.now, 0, Unknown)
	if c := w.Choose(w.now, 0, 0, Past{}); !c.OK || c.Member != 0 {
		t.Errorf("eight of ten are under way: %+v", c)
	}
	w.Done(spilled, w.now, 0, Failed)
	if v := w.Views(w.now, 0)[1]; v.Active != 0 || v.State != Serving {
		t.Errorf("%+v", v)
	}
}

func TestRefusedGivesItsRoomBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a", Capacity: Capacity{Requests: 1, Per: time.Second, Burst: 1, Concurrency: 1}}, Member{Name: "b", Priority: 1})
	for range 100 {
		if at := w.ask(Refused); at != 0 {
			t.Fatalf("member %d", at)
		}
	}
	w.want(Serving, Serving) // To have no room is no illness.
	w.ask(Served)
	if at := w.ask(Served); at != 1 {
		t.Errorf("member %d", at)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a", Capacity: Capacity{Requests: 6, Per: time.Minute, Burst: 2, Resume: 1}}, Member{Name: "b", Capacity: Capacity{Requests: 1, Per: time.Hour, Burst: 1}})
	for range 3 {
		w.ask(Served)
	}
	c := w.Choose(w.now, 0, 0, Past{})
	if c.OK || !c.Full || c.RetryAfter <= 0 || c.RetryAfter > 10*time.Second {
		t.Fatalf("%+v", c)
	}
	w.now += int64(c.RetryAfter)
	if at := w.ask(Served); at != 0 {
		t.Errorf("after Retry-After: member %d", at)
	}
}

func TestLeftAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	for range 4 {
		w.ask(Failed)
	}
	w.ask(Served) // It breaks the row.
	for range 5 {
		if at := w.ask(Failed); at != 0 {
			t.Fatalf("left early: %+v", w.changes)
		}
	}
	w.want(Left, Serving)
	if len(w.changes) != 1 || w.changes[0] != (Change{Member: "a", From: Serving, To: Left, Reason: InARow, For: 10 * time.Second}) {
		t.Errorf("changes: %+v", w.changes)
	}
	if got := w.flow(100, 9*time.Second); got[0] != 0 || got[1] != 900 {
		t.Errorf("while it is left: %v", got)
	}
	w.now += second
	w.want(Returning, Serving)
	got := w.flow(100, 10*time.Second)
	between(t, "in the first third, a quarter", got[0], 190, 310)
	got = w.flow(100, 10*time.Second)
	between(t, "in the second, a little more than a half", got[0], 480, 620)
	w.flow(100, 10*time.Second)
	w.want(Serving, Serving)
	if got := w.flow(100, time.Second); got[0] != 100 {
		t.Errorf("recovered: %v", got)
	}
}

func TestRelapse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	for range 5 {
		w.ask(Failed)
	}
	for _, patience := range []time.Duration{10, 20, 40, 40} {
		w.now += int64(patience)*second - 1
		w.want(Left, Serving)
		w.now++
		w.want(Returning, Serving)
		for failures := 0; failures < 2; {
			c := w.Choose(w.now, 0, 0, Past{})
			if c.Member == 0 {
				w.Done(c, w.now, 0, Failed)
				failures++
			} else {
				w.Done(c, w.now, 0, Served)
			}
		}
		w.want(Left, Serving)
	}
	w.now += 40 * second
	w.want(Returning, Serving)
	w.now += 30 * second
	w.want(Serving, Serving)
	for range 5 {
		w.ask(Failed)
	}
	if last := w.changes[len(w.changes)-1]; last.For != 10*time.Second {
		t.Errorf("after it served, the time is the first one again: %+v", last)
	}
}

func TestFailureShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	for i := range 19 {
		w.ask([]Outcome{Failed, Served}[i%2])
	}
	w.want(Serving, Serving) // Too few to tell.
	w.ask(Failed)
	w.want(Left, Serving)
	if w.changes[0].Reason != FailureShare {
		t.Errorf("%+v", w.changes)
	}
}

func TestUnwell(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	w.unwell = Set(0).With(0)
	if at := w.ask(Served); at != 1 {
		t.Fatalf("member %d", at)
	}
	w.want(Left, Serving)
	w.now += 60 * second
	w.want(Left, Serving)
	w.unwell = 0
	w.now += 10*second - 1
	w.want(Left, Serving) // Well, and not for long enough.
	w.now++
	w.want(Returning, Serving)
	w.unwell = Set(0).With(0)
	w.want(Left, Serving)
	if last := w.changes[len(w.changes)-1]; last.For != 20*time.Second || last.Reason != Unwell || last.From != Returning {
		t.Errorf("%+v", last)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	for range 5 {
		w.ask(Unavailable)
	}
	w.want(Left, Serving)
	w.now += 10 * second
	for range 1000 { // Its breaker lets a few through and refuses others.
		w.Done(w.Choose(w.now, 0, 0, Past{Tried: 2}), w.now, 0, Unavailable)
	}
	w.want(Returning, Serving)
}

// TestLateNews shows that requests of before a return do not end it.
func TestLateNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	var stalled []Choice
	for range 20 {
		stalled = append(stalled, w.Choose(w.now, 0, 0, Past{}))
	}
	for range 5 {
		w.ask(Failed)
	}
	w.now += 10 * second
	w.want(Returning, Serving)
	for _, c := range stalled {
		w.Done(c, w.now, 0, Failed)
	}
	w.want(Returning, Serving)
}

func TestSpillShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a", Capacity: Capacity{Requests: 100, Per: time.Second, Burst: 1, Resume: 1}}, Member{Name: "b", Priority: 1, Share: 0.2}, Member{Name: "c", Priority: 2, Share: 0.1})
	w.flow(10, 10*time.Second)
	got := w.flow(200, 30*time.Second)
	between(t, "b, a fifth of 6000", got[1], 1100, 1210)
	between(t, "c, a tenth of 6000", got[2], 550, 610)
	between(t, "refused", got[3], 1100, 1400)
	for w.ask(Served) >= 0 {
		// Until nobody has room.
	}
	w.want(Full, Full, Full)
	// With nobody else, the share holds as well.
	w.unwell = Set(0).With(0)
	w.now += 20 * second
	got = w.flow(100, 10*time.Second)
	between(t, "b, a fifth of 1000", got[1], 195, 205)
	between(t, "c, a tenth of 1000", got[2], 95, 105)
}

func TestNobodyIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1})
	w.unwell = 3
	if at := w.ask(Served); at != 0 {
		t.Errorf("all ill: member %d", at)
	}
	c := w.Choose(w.now, 0, w.unwell, Past{Tried: 1})
	if !c.OK || c.Member != 1 {
		t.Errorf("the first was tried: %+v", c)
	}
	w.Done(c, w.now, 0, Served)
	if c := w.Choose(w.now, 0, w.unwell, Past{Tried: 3}); c.OK || c.Full {
		t.Errorf("all were tried: %+v", c)
	}
	if w.Well(w.now, w.unwell) || w.Well(w.now, 0) {
		t.Error("all are ill, and one is well")
	}
	w.now += 10 * second
	if !w.Well(w.now, 2) || w.Well(w.now, 3) {
		t.Error("who is well again is asked again")
	}
}

// TestTheIllGetNoSurplus shows that an ill member is no place for what is too much for a well one.
func TestTheIllGetNoSurplus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1, Capacity: Capacity{Concurrency: 1}})
	w.unwell = Set(0).With(0)
	held := w.Choose(w.now, 0, w.unwell, Past{})
	if c := w.Choose(w.now, 0, w.unwell, Past{}); held.Member != 1 || c.OK || !c.Full {
		t.Errorf("%+v, then %+v", held, c)
	}
	w.Done(held, w.now, 0, Refused)
	if c := w.Choose(w.now, 0, w.unwell, Past{Tried: 2, Full: 2}); c.OK || !c.Full {
		t.Errorf("the well one has refused: %+v", c)
	}
}

// TestReturningIsBetterThanRefusing shows that who comes back gets more than its share where
// nobody else has room.
func TestReturningIsBetterThanRefusing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Member{Name: "a"}, Member{Name: "b", Priority: 1, Capacity: Capacity{Requests: 10, Per: time.Second, Burst: 1, Resume: 1}})
	for range 5 {
		w.ask(Failed)
	}
	w.now += 10 * second
	got := w.flow(100, 2*time.Second)
	if got[2] != 0 || got[1] > 21 {
		t.Errorf("%v", got)
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	limited := Capacity{Concurrency: 2}
	old := newWorld(t, Member{Name: "a", Capacity: limited}, Member{Name: "b"}, Member{Name: "c", Capacity: limited})
	for range 100 {
		c := old.Choose(old.now, 0, 0, Past{Tried: 5})
		old.Done(c, old.now, 0, Failed)
	}
	held := old.Choose(old.now, 0, 0, Past{Tried: 6})
	old.Choose(old.now, 0, 0, Past{Tried: 3})
	old.want(Serving, Left, Serving)
	w := newWorld(t, Member{Name: "new"}, Member{Name: "c", Capacity: Capacity{Concurrency: 3}}, Member{Name: "b", Priority: 1}, Member{Name: "a", Capacity: limited})
	w.Adopt(old.Group)
	w.want(Serving, Serving, Left, Serving)
	v := w.Views(w.now, 0)
	if v[0].Requests != 0 || v[1].Requests != 1 || v[1].Active != 0 || v[2].Priority != 1 || v[3].Active != 1 || v[2].Failures != old.Views(old.now, 0)[1].Failures {
		t.Errorf("%+v", v)
	}
	old.Done(held, old.now, 0, Served)
	if v := w.Views(w.now, 0); v[3].Active != 0 {
		t.Errorf("what was under way at the same member has ended: %+v", v[3])
	}
	w.now += 10 * second
	w.want(Serving, Serving, Returning, Serving)
}

// TestRandomly does anything in any order and looks at what always holds.
func TestRandomly(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		members := make([]Member, 1+r.IntN(6))
		for i := range members {
			m := &members[i]
			m.Name, m.Priority, m.Weight = string(rune('a'+i)), r.IntN(3), r.IntN(4)
			m.Capacity = Capacity{Requests: r.IntN(2) * 50, Per: time.Second, Burst: r.IntN(9), Concurrency: r.IntN(5), Resume: r.Float64()}
			m.Share = float64(r.IntN(2)) * r.Float64()
		}
		w := newWorld(t, members...)
		var open []Choice
		under := make([]int, len(members))
		for range 2000 {
			w.now += r.Int64N(second / 20)
			unwell, tried := Set(0), Set(0)
			for i := range members {
				if r.IntN(20) == 0 {
					unwell = unwell.With(i)
				}
				if r.IntN(10) == 0 {
					tried = tried.With(i)
				}
			}
			if c := w.Choose(w.now, 0, unwell, Past{Tried: tried}); c.OK {
				if tried.Has(c.Member) {
					t.Fatalf("seed %d: a member that was tried", seed)
				}
				if under[c.Member]++; members[c.Member].Capacity.Concurrency > 0 && under[c.Member] > members[c.Member].Capacity.Concurrency {
					t.Fatalf("seed %d: more at one time than there is room for", seed)
				}
				open = append(open, c)
			}
			for len(open) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(open))
				w.Done(open[i], w.now, 0, Outcome(r.IntN(5)))
				under[open[i].Member]--
				open[i] = open[len(open)-1]
				open = open[:len(open)-1]
			}
		}
		for _, c := range open {
			w.Done(c, w.now, 0, Served)
		}
		w.now += 1000 * second
		w.Views(w.now, 0)
		for _, v := range w.Views(w.now+40*second, 0) {
			if v.Active != 0 || v.State != Serving {
				t.Fatalf("seed %d: at rest: %+v", seed, v)
			}
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	g := New(Config{Failover: failover, Members: []Member{
		{Name: "a", Capacity: Capacity{Requests: 1000, Per: time.Second, Burst: 100, Concurrency: 3, Resume: 0.9}}, {Name: "b", Priority: 1, Share: 0.5}, {Name: "c", Priority: 1},
	}})
	var all sync.WaitGroup
	for shard := range uint32(8) {
		all.Go(func() {
			for i := range 5000 {
				now := start + int64(i)*second/100
				c := g.Choose(now, shard, Set(i/1000%2), Past{})
				if c.OK {
					g.Done(c, now, shard, Outcome(i%5))
				}
				if i%500 == 0 {
					g.Views(now, 0)
				}
			}
		})
	}
	all.Wait()
	for _, v := range g.Views(start+100*second, 0) {
		if v.Active != 0 {
			t.Errorf("at rest: %+v", v)
		}
	}
}

func TestAllocations(t *testing.T) {
	g := New(Config{Failover: failover, Members: []Member{
		{Name: "a", Capacity: Capacity{Requests: 10, Per: time.Second, Burst: 1, Concurrency: 3}}, {Name: "b", Priority: 1, Share: 0.5}, {Name: "c", Priority: 1},
	}})
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now += second / 50
		c := g.Choose(now, 1, 0, Past{})
		g.Done(c, now, 1, Served)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkChoose(b *testing.B) {
	g := New(Config{Failover: failover, Members: []Member{{Name: "a"}, {Name: "b", Priority: 1}, {Name: "c", Priority: 2}}})
	for b.Loop() {
		c := g.Choose(start, 1, 0, Past{})
		g.Done(c, start, 1, Served)
	}
}
