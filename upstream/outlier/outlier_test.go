package outlier

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

const second = int64(time.Second)

// rig is a set with members and what it told.
type rig struct {
	set     *Set
	members []*Member
	mu      sync.Mutex
	changes []Change
}

func made(n int, config Config) *rig {
	r := &rig{}
	config.OnChange = func(c Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, c)
	}
	r.set = NewSet(config)
	for i := range n {
		r.members = append(r.members, r.set.Join(fmt.Sprint(i), 0))
	}
	r.set.Tick(0)
	return r
}

// feed records successes of a latency, and failures after them.
func (r *rig) feed(now int64, i, successes, failures int, took time.Duration) {
	for range successes {
		r.members[i].Record(now, false, took)
	}
	for range failures {
		r.members[i].Record(now, true, 0)
	}
}

func (r *rig) out() []int {
	var out []int
	for i, m := range r.members {
		if m.Out() {
			out = append(out, i)
		}
	}
	return out
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got := *NewSet(Config{Base: 10 * time.Minute}).Config()
	if got.Interval != DefaultInterval || got.Volume != DefaultVolume || got.MaxShare != DefaultMaxShare || got.Max != 10*time.Minute || got.LatencyQuantile != DefaultLatencyQuantile {
		t.Errorf("%+v", got)
	}
}

func TestConsecutiveFailuresEjectAtOnce(t *testing.T) {
	t.Parallel()
	r := made(3, Config{Consecutive: 5, Base: 30 * time.Second})
	r.feed(1, 0, 0, 4, 0)
	r.feed(1, 0, 1, 4, 0)
	if r.out() != nil {
		t.Fatal("a success in between begins the row anew")
	}
	r.feed(1, 0, 0, 1, 0)
	if got := r.out(); !slices.Equal(got, []int{0}) {
		t.Fatal(got)
	}
	r.feed(2, 0, 0, 100, 0)
	if len(r.changes) != 1 {
		t.Fatalf("%+v", r.changes)
	}
	c := r.changes[0]
	if c.Member != r.members[0] || !c.Out || c.Reason != Consecutive || c.For != 30*time.Second || c.Value != 5 || c.Bound != 5 {
		t.Errorf("%+v", c)
	}
	r.set.Tick(30 * second)
	if r.out() == nil {
		t.Error("returned too early")
	}
	v := r.members[0].View(30 * second)
	if !v.Out || v.Back != 1 || v.Ejections != 1 || v.Reason != Consecutive {
		t.Errorf("%+v", v)
	}
	r.set.Tick(30*second + 1)
	if r.out() != nil || len(r.changes) != 2 || r.changes[1].Out {
		t.Errorf("%v %+v", r.out(), r.changes)
	}
	r.feed(31*second, 0, 0, 4, 0)
	if r.out() != nil {
		t.Error("the row of before was kept")
	}
}

func TestOneAlwaysStays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n     int
		share float64
		want  int
	}{{1, 1, 0}, {2, 0.5, 1}, {2, 1, 1}, {3, 0.1, 1}, {3, 0.5, 1}, {4, 0.5, 2}, {10, 0.3, 3}, {10, 1, 9}} {
		r := made(c.n, Config{Consecutive: 1, MaxShare: c.share})
		for range 3 {
			for i := range c.n {
				r.feed(1, i, 0, 1, 0)
			}
		}
		r.set.Tick(10 * second)
		if got := len(r.out()); got != c.want {
			t.Errorf("%d members, share %v: %d are out, want %d", c.n, c.share, got, c.want)
		}
	}
}

func TestWhoHadNoRoomFollows(t *testing.T) {
	t.Parallel()
	r := made(3, Config{Consecutive: 5, Base: 15 * time.Second})
	r.feed(1, 0, 0, 5, 0)
	r.feed(1, 1, 0, 7, 0)
	if got := r.out(); !slices.Equal(got, []int{0}) {
		t.Fatal(got)
	}
	r.set.Tick(16 * second) // The first returns, and the second still fails.
	if got := r.out(); !slices.Equal(got, []int{1}) {
		t.Fatal(got)
	}
	r.set.Leave(r.members[2], 17*second)
	if got := r.out(); !slices.Equal(got, []int{1}) {
		t.Fatal("two are left, one may be out:", got)
	}
	r.set.Leave(r.members[0], 17*second)
	r.set.Leave(r.members[0], 17*second)
	if r.out() != nil {
		t.Error("the last one is out")
	}
	r.feed(18*second, 0, 0, 50, 0)
	if r.out() != nil {
		t.Error("who has left was ejected")
	}
}

func TestVerdictsOfAnInterval(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type fed struct {
		good, bad int
		took      time.Duration
	}
	for _, c := range []struct {
		name   string
		config Config
		fed    []fed
		want   []int
		reason Reason
	}{
		{"nothing configured", Config{}, []fed{{0, 100, 0}, {100, 0, ms}, {100, 0, ms}}, nil, 0},
		{"failure share", Config{FailureShare: 0.5}, []fed{{50, 50, ms}, {51, 49, ms}, {100, 0, ms}}, []int{0}, FailureShare},
		{"too few tries", Config{FailureShare: 0.5}, []fed{{0, 49, ms}, {100, 0, ms}, {100, 0, ms}}, nil, 0},
		{"the worst goes first", Config{FailureShare: 0.5}, []fed{{40, 60, ms}, {10, 90, ms}, {20, 80, ms}}, []int{1}, FailureShare},
		{"success rate", Config{SuccessFactor: 1.9}, []fed{{99, 1, ms}, {98, 2, ms}, {99, 1, ms}, {97, 3, ms}, {99, 1, ms}, {60, 40, ms}}, []int{5}, SuccessRate},
		{"success rate with too few peers", Config{SuccessFactor: 1.9}, []fed{{99, 1, ms}, {98, 2, ms}, {99, 1, ms}, {60, 40, ms}}, nil, 0},
		{"one failure is no outlier", Config{SuccessFactor: 1.9}, []fed{{1000, 0, ms}, {1000, 0, ms}, {1000, 0, ms}, {1000, 0, ms}, {1000, 0, ms}, {999, 1, ms}}, nil, 0},
		{"all fail alike", Config{SuccessFactor: 1.9}, []fed{{50, 50, ms}, {50, 50, ms}, {50, 50, ms}, {50, 50, ms}, {50, 50, ms}}, nil, 0},
		{"latency", Config{LatencyFactor: 3}, []fed{{100, 0, 20 * ms}, {100, 0, 100 * ms}, {100, 0, 25 * ms}}, []int{1}, Latency},
		{"not slow enough", Config{LatencyFactor: 3}, []fed{{100, 0, 20 * ms}, {100, 0, 50 * ms}, {100, 0, 25 * ms}}, nil, 0},
		{"all slow", Config{LatencyFactor: 3}, []fed{{100, 0, 900 * ms}, {100, 0, time.Second}, {100, 0, time.Second}}, nil, 0},
		{"two of three slow", Config{LatencyFactor: 3}, []fed{{100, 0, 10 * ms}, {100, 0, time.Second}, {100, 0, time.Second}}, nil, 0},
		{"below the floor", Config{LatencyFactor: 3}, []fed{{100, 0, ms}, {100, 0, 7 * ms}, {100, 0, ms}}, nil, 0},
		{"two members have no median", Config{LatencyFactor: 3}, []fed{{100, 0, ms}, {100, 0, 900 * ms}}, nil, 0},
		{"two members, if wanted", Config{LatencyFactor: 3, LatencyPeers: 2}, []fed{{100, 0, ms}, {100, 0, 900 * ms}}, []int{1}, Latency},
		{"failures are not slow", Config{LatencyFactor: 3}, []fed{{100, 0, 20 * ms}, {100, 100, 20 * ms}, {100, 0, 20 * ms}}, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := made(len(c.fed), c.config)
			for i, f := range c.fed {
				r.feed(second, i, f.good, f.bad, f.took)
			}
			r.set.Tick(9 * second)
			if r.out() != nil {
				t.Error("judged within the interval")
			}
			r.set.Tick(10 * second)
			if got := r.out(); !slices.Equal(got, c.want) {
				t.Fatalf("out: %v, want %v; %+v", got, c.want, r.changes)
			}
			if c.want != nil && r.changes[0].Reason != c.reason {
				t.Errorf("%v, want %v", r.changes[0].Reason, c.reason)
			}
			r.set.Tick(20 * second) // Nothing was recorded since.
			if got := r.out(); !slices.Equal(got, c.want) {
				t.Errorf("an interval later: %v", got)
			}
		})
	}
}

func TestEjectionsGrowAndAreForgiven(t *testing.T) {
	t.Parallel()
	r := made(3, Config{Consecutive: 5, Base: 30 * time.Second, Max: 100 * time.Second})
	now := second
	for i, want := range []time.Duration{30, 60, 90, 90, 90} {
		r.feed(now, 0, 0, 5, 0)
		c := r.changes[len(r.changes)-1]
		if !c.Out || c.For != want*time.Second {
			t.Fatalf("ejection %d: %+v", i+1, c)
		}
		now += int64(c.For)
		if next := r.set.Tick(now - 1); next > now+10*second {
			t.Errorf("Tick wants to be called at %v", time.Duration(next))
		}
		r.set.Tick(now)
	}
	for range 3 { // Two intervals of good behaviour, after the one in which it returned.
		now += 10 * second
		r.set.Tick(now)
	}
	r.feed(now, 0, 0, 5, 0)
	if c := r.changes[len(r.changes)-1]; c.For > 30*time.Second*2 {
		t.Errorf("not forgiven: %+v", c)
	}
	now += 1000 * second
	r.set.Tick(now)
	for range 10 {
		now += 10 * second
		r.set.Tick(now)
	}
	r.feed(now, 0, 0, 5, 0)
	if c := r.changes[len(r.changes)-1]; c.For != 30*time.Second {
		t.Errorf("never forgiven: %+v", c)
	}
	if got := r.members[0].View(now).Ejections; got != 7 {
		t.Errorf("%d ejections in all", got)
	}
}

func TestReadmit(t *testing.T) {
	t.Parallel()
	r := made(3, Config{Consecutive: 1})
	r.set.Readmit(r.members[0], 1)
	r.feed(1, 0, 0, 1, 0)
	r.set.Readmit(r.members[0], 2)
	if r.out() != nil || len(r.changes) != 2 {
		t.Errorf("%v %+v", r.out(), r.changes)
	}
	r.feed(3, 1, 0, 1, 0)
	if got := r.out(); !slices.Equal(got, []int{1}) {
		t.Error("the room of who was let in is lost:", got)
	}
}

func TestLatencyBuckets(t *testing.T) {
	t.Parallel()
	for _, took := range []time.Duration{-1, 0, 1, time.Millisecond, 2 * time.Millisecond, 17 * time.Millisecond, time.Second, 59 * time.Second} {
		b := latencyBucket(took)
		if took > 0 && (latencyBound(b) > took || latencyBound(b+1) <= took) {
			t.Errorf("%v is in %v to %v", took, latencyBound(b), latencyBound(b+1))
		}
	}
	for b := 1; b < latencyBuckets; b++ {
		if latencyBound(b) <= latencyBound(b-1) || latencyBucket(latencyBound(b)) != b {
			t.Errorf("bucket %d begins at %v", b, latencyBound(b))
		}
	}
	if got := latencyBucket(time.Hour); got != latencyBuckets-1 {
		t.Error(got)
	}
}

func TestQuantileIsClose(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 9))
	m := &Member{set: NewSet(Config{LatencyFactor: 3})}
	var all []time.Duration
	for range 10000 {
		took := time.Duration(random.ExpFloat64() * float64(50*time.Millisecond))
		all = append(all, took)
		m.Record(0, false, took)
	}
	slices.Sort(all)
	for _, q := range []float64{0.9} {
		m.collect(q)
		want := all[int(q*10000)].Seconds()
		if got := m.last.latency.Seconds(); got < want*0.93 || got > want*1.07 {
			t.Errorf("quantile %v: %v, want about %v", q, got, want)
		}
	}
}

// One of five endpoints is ill for a while, in three ways. It gets little while it
// is ill and its share afterwards, and nobody else is ever ejected.
func TestIllEndpoint(t *testing.T) {
	t.Parallel()
	config := Config{Consecutive: 10, FailureShare: 0.3, SuccessFactor: 1.9, LatencyFactor: 3, Base: 10 * time.Second, Max: time.Minute}
	for _, c := range []struct {
		name string
		fail float64
		slow float64
		most int // requests that reach it in the 100 s of its illness, of 20,000 without ejection
	}{{"dead", 1, 1, 100}, {"half of it fails", 0.5, 1, 9000}, {"slow", 0, 6, 9000}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(11, 12))
			r := made(5, config)
			next := second
			var ill, after int
			for now := second; now < 400*second; now += second / 1000 {
				if now >= next {
					next = r.set.Tick(now)
				}
				i := random.IntN(5)
				for r.members[i].Out() {
					i = (i + 1) % 5
				}
				sick := i == 2 && now > 100*second && now < 200*second
				fail, took := 0.01, time.Duration((0.5+random.ExpFloat64())*float64(20*time.Millisecond))
				if sick {
					fail, took = c.fail, time.Duration(float64(took)*c.slow)
					ill++
				}
				if i == 2 && now > 300*second {
					after++
				}
				r.members[i].Record(now, random.Float64() < fail, took)
			}
			if ill > c.most {
				t.Errorf("%d requests reached it while it was ill", ill)
			}
			if after < 18000 {
				t.Errorf("%d of 20,000 requests reached it after its recovery", after)
			}
			for _, change := range r.changes {
				if change.Member != r.members[2] {
					t.Errorf("%s was ejected: %+v", change.Member.Name(), change)
				}
			}
			if len(r.changes) < 2 {
				t.Errorf("%+v", r.changes)
			}
		})
	}
}

func FuzzRules(f *testing.F) {
	f.Add(uint64(1), []byte{1, 2, 3, 4, 5, 6, 7, 200, 201, 0x80})
	f.Fuzz(func(t *testing.T, seed uint64, ops []byte) {
		if len(ops) > 2000 {
			ops = ops[:2000]
		}
		random := rand.New(rand.NewPCG(seed, 1))
		r := made(4, Config{Consecutive: 3, Volume: 5, FailureShare: 0.5, LatencyFactor: 2, LatencyPeers: 2, SuccessFactor: 1, SuccessPeers: 2, Base: 5 * time.Second, MaxShare: 0.7})
		now := int64(1)
		members := slices.Clone(r.members)
		for _, op := range ops {
			now += int64(op&15) * second / 10
			m := members[random.IntN(len(members))]
			switch op >> 4 {
			case 0:
				members = append(members, r.set.Join("new", now))
			case 1:
				r.set.Leave(m, now)
			case 2:
				r.set.Readmit(m, now)
			case 3, 4:
				if next := r.set.Tick(now); next <= now {
					t.Fatalf("at %d Tick wants to be called at %d", now, next)
				}
			default:
				m.Record(now, op&16 != 0, time.Duration(random.Int64N(second)))
			}
			out := 0
			for _, m := range r.set.members {
				if m.Out() {
					out++
				}
			}
			if out != r.set.out || out > r.set.room() || out > 0 && out >= len(r.set.members) {
				t.Fatalf("%d of %d are out, counted as %d, room for %d", out, len(r.set.members), r.set.out, r.set.room())
			}
		}
		state := map[*Member]bool{}
		for _, c := range r.changes {
			if state[c.Member] == c.Out {
				t.Fatalf("%+v was told twice", c)
			}
			state[c.Member] = c.Out
		}
		r.set.Tick(now + 1000*second)
		for _, m := range r.set.members {
			if m.Out() && m.until <= now+1000*second {
				t.Fatal("never returns")
			}
		}
	})
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	r := made(4, Config{Consecutive: 3, FailureShare: 0.5, LatencyFactor: 3, Base: 10 * time.Millisecond, Interval: 10 * time.Millisecond, Volume: 10})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 3))
			for i := range 5000 {
				now := int64(i) * second / 10000
				m := r.members[random.IntN(4)]
				m.Record(now, random.IntN(3) == 0, time.Millisecond)
				if i%50 == 0 {
					r.set.Readmit(m, now)
					m.View(now)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 500 {
			r.set.Tick(int64(i) * second / 1000)
		}
	})
	wg.Wait()
	if got := len(r.out()); got != r.set.out || got > 2 {
		t.Errorf("%d are out, counted as %d", got, r.set.out)
	}
	if len(r.changes) == 0 {
		t.Error("nothing has happened")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	r := made(3, Config{LatencyFactor: 3})
	n := testing.AllocsPerRun(1000, func() {
		r.members[0].Record(1, false, time.Second)
		r.members[0].Record(1, true, 0)
		r.members[0].Out()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := made(3, Config{Consecutive: 5, LatencyFactor: 3})
	for b.Loop() {
		r.members[0].Record(1, false, 20*time.Millisecond)
	}
}

func BenchmarkTickOf10000(b *testing.B) {
	r := made(10000, Config{Consecutive: 5, LatencyFactor: 3, SuccessFactor: 1.9, FailureShare: 0.5, Interval: 1})
	var now int64
	for b.Loop() {
		now += 10
		r.set.Tick(now)
	}
}

// TestAdopt is a member that replaces another one, in a set with settings of its own.
func TestAdopt(t *testing.T) {
	t.Parallel()
	before := Config{Consecutive: 2, Base: 30 * time.Second, Max: 5 * time.Minute, FailureShare: 0.5}
	for _, c := range []struct {
		name  string
		after func(c *Config)
		now   int64
		back  time.Duration // 0: it is not out
	}{
		{"as before", func(*Config) {}, 41 * second, 50 * time.Second},
		{"no longer than is allowed now", func(c *Config) { c.Base, c.Max = time.Second, 2*time.Second }, 41 * second, 2 * time.Second},
		{"for another reason only", func(c *Config) { c.Consecutive = 0 }, 41 * second, 0},
		{"when it is over", func(*Config) {}, 91 * second, 0},
	} {
		old := made(3, before)
		old.feed(second, 0, 0, 2, 0)
		old.set.Tick(31 * second)
		old.feed(31*second, 0, 0, 2, 0) // Its second ejection, for a minute.
		config := before
		c.after(&config)
		r := made(3, config)
		out := r.members[0].Adopt(old.members[0], c.now)
		v := r.members[0].View(c.now)
		if out != v.Out || v.Back != c.back || out != (c.back > 0) || v.Ejections != 2 || len(r.changes) != 0 {
			t.Errorf("%s: out %v, %+v, tells %v", c.name, out, v, r.changes)
		}
		if out {
			r.set.Tick(c.now + int64(c.back) - 1)
			still := r.members[0].Out()
			r.set.Tick(c.now + int64(c.back))
			if !still || r.members[0].Out() {
				t.Errorf("%s: it does not return in time", c.name)
			}
		}
	}
}

// TestAdoptNoMoreThanMayBeOut: in a set of two one stays.
func TestAdoptNoMoreThanMayBeOut(t *testing.T) {
	t.Parallel()
	c := Config{Consecutive: 1, MaxShare: 1}
	old, r := made(4, c), made(2, c)
	for i := range 2 {
		old.feed(1, i, 0, 1, 0)
		r.members[i].Adopt(old.members[i], 2)
	}
	if got := r.out(); len(got) != 1 || got[0] != 0 {
		t.Errorf("out are %v", got)
	}
}

// TestAdoptWithinASet is an endpoint that is described anew: its place among those who are out is
// taken over.
func TestAdoptWithinASet(t *testing.T) {
	t.Parallel()
	r := made(2, Config{Consecutive: 1, Base: time.Minute})
	r.feed(1, 0, 0, 1, 0)
	m := r.set.Join("0", 2)
	if !m.Adopt(r.members[0], 2) {
		t.Fatal("it is not out")
	}
	r.set.Leave(r.members[0], 3)
	if len(r.changes) != 1 || !m.Out() || r.set.out != 1 {
		t.Errorf("%d are out, told %v", r.set.out, r.changes)
	}
	r.set.Tick(1 + 60*second)
	if m.Out() || r.set.out != 0 {
		t.Errorf("it does not return: %d", r.set.out)
	}
}
