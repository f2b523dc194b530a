package breaker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const second = int64(time.Second)

func noJitter() float64 { return 0 }

// log keeps the changes of a breaker.
type log struct {
	mu      sync.Mutex
	changes []Change
}

func (l *log) add(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, c)
}

func made(config Config) (*Breaker, *log) {
	l := &log{}
	config.OnChange = l.add
	if config.Jitter == nil {
		config.Jitter = noJitter
	}
	return New(config, 1), l
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got := *New(Config{OpenFor: 2 * time.Minute}, 1).Config()
	if got.Window != DefaultWindow || got.Volume != DefaultVolume || got.OpenMax != 2*time.Minute || got.Probes != 1 ||
		got.Successes != 3 || got.ProbeTime != DefaultProbeTime || got.Jitter == nil {
		t.Errorf("%+v", got)
	}
}

func TestWhatOpens(t *testing.T) {
	t.Parallel()
	const quick, long = time.Millisecond, time.Second
	for _, c := range []struct {
		name            string
		config          Config
		good, bad, late int
		want            State
		reason          Reason
	}{
		{"nothing configured", Config{}, 0, 1000, 1000, Closed, 0},
		{"too few", Config{FailureShare: 0.5}, 0, 19, 0, Closed, 0},
		{"all fail", Config{FailureShare: 0.5}, 0, 20, 0, Open, Failures},
		{"below the share", Config{FailureShare: 0.5}, 101, 100, 0, Closed, 0},
		{"at the share", Config{FailureShare: 0.5}, 100, 100, 0, Open, Failures},
		{"a share of one", Config{FailureShare: 1}, 1, 500, 0, Closed, 0},
		{"slow is no failure", Config{FailureShare: 0.5, SlowAfter: long}, 0, 0, 100, Closed, 0},
		{"slow", Config{SlowShare: 0.3, SlowAfter: long - 1}, 70, 0, 30, Open, SlowCalls},
		{"not quite slow", Config{SlowShare: 0.3, SlowAfter: long}, 70, 0, 30, Closed, 0},
		{"too few are slow", Config{SlowShare: 0.3, SlowAfter: long - 1}, 71, 0, 30, Closed, 0},
		{"a volume of one", Config{FailureShare: 0.5, Volume: 1}, 0, 1, 0, Open, Failures},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, l := made(c.config)
			for range c.good {
				b.Record(second, 0, 0, false, quick)
			}
			for range c.bad {
				b.Record(second, 0, 0, true, quick)
			}
			for range c.late {
				b.Record(second, 0, 0, false, long)
			}
			if got := b.View(second).State; got != c.want {
				t.Fatalf("%v, want %v", got, c.want)
			}
			if c.want == Closed {
				if len(l.changes) != 0 || !b.Allow(second).OK || !b.Ready(second) {
					t.Error("closed, and yet something has happened:", l.changes)
				}
				return
			}
			change := l.changes[0]
			if len(l.changes) != 1 || change.Reason != c.reason || change.From != Closed || change.To != Open || change.Outcomes == 0 {
				t.Errorf("%+v", l.changes)
			}
		})
	}
}

func TestOldOutcomesDoNotCount(t *testing.T) {
	t.Parallel()
	b, _ := made(Config{FailureShare: 0.5})
	for range 19 {
		b.Record(0, 0, 0, true, 0)
	}
	b.Record(11*second, 0, 0, true, 0)
	if got := b.View(11 * second); got.State != Closed || got.Outcomes != 1 {
		t.Errorf("%+v", got)
	}
}

// trip opens a closed breaker.
func trip(b *Breaker, now int64) {
	for range b.config.Volume {
		b.Record(now, 0, 0, true, 0)
	}
}

func TestOpenTimeDoubles(t *testing.T) {
	t.Parallel()
	b, l := made(Config{FailureShare: 0.5, OpenFor: 5 * time.Second, OpenMax: 60 * time.Second})
	now := int64(0)
	trip(b, now)
	for _, want := range []int64{5, 10, 20, 40, 60, 60, 60} {
		for _, at := range []int64{now, now + want*second - 1} {
			d := b.Allow(at)
			if d.OK || d.RetryAfter != time.Duration(now+want*second-at) || b.Ready(at) {
				t.Errorf("open for %d s, %v before its end: %+v", want, time.Duration(now+want*second-at), d)
			}
		}
		now += want * second
		if !b.Ready(now) {
			t.Error("not ready when the time is over")
		}
		d := b.Allow(now)
		if !d.OK || d.Probe == 0 {
			t.Fatalf("no probe after %d s: %+v", want, d)
		}
		b.Record(now, 0, d.Probe, true, 0)
	}
	for range 3 { // Recovery.
		now = b.until.Load()
		for b.View(now).State != Closed {
			b.Record(now, 0, b.Allow(now).Probe, false, 0)
		}
		trip(b, now)
		if got := l.changes[len(l.changes)-1].OpenFor; got != 5*time.Second {
			t.Errorf("after it was closed it opens for %v", got)
		}
	}
	for i, c := range l.changes {
		if c.Number != uint64(i+1) || i > 0 && c.From != l.changes[i-1].To {
			t.Errorf("change %d: %+v", i, c)
		}
	}
}

func TestJitterProlongs(t *testing.T) {
	t.Parallel()
	for draw, want := range map[float64]time.Duration{0: 10 * time.Second, 0.5: 10500 * time.Millisecond, 0.999: 10999 * time.Millisecond} {
		b, l := made(Config{FailureShare: 0.5, OpenFor: 10 * time.Second, Jitter: func() float64 { return draw }})
		trip(b, 0)
		if got := l.changes[0].OpenFor; got < want-time.Millisecond || got > want {
			t.Errorf("draw %v: open for %v, want %v", draw, got, want)
		}
	}
}

func halfOpen(t *testing.T, config Config) (*Breaker, *log, int64) {
	t.Helper()
	config.FailureShare = 0.5
	b, l := made(config)
	trip(b, 0)
	return b, l, b.until.Load()
}

func TestProbesAreFew(t *testing.T) {
	t.Parallel()
	b, _, now := halfOpen(t, Config{Probes: 2, Successes: 3})
	first, second := b.Allow(now), b.Allow(now)
	if !first.OK || !second.OK || b.Allow(now).OK || b.Ready(now) {
		t.Fatal("two probes at a time are wanted")
	}
	b.Record(now, 0, first.Probe, false, 0)
	third := b.Allow(now)
	if !third.OK || b.Allow(now).OK {
		t.Fatal("a probe that is over makes room for one")
	}
	b.Record(now, 0, second.Probe, false, 0)
	if b.View(now).State != HalfOpen {
		t.Error("closed after two of three")
	}
	b.Record(now, 0, third.Probe, false, 0)
	if b.View(now).State != Closed || !b.Allow(now).OK {
		t.Error("not closed after three")
	}
	if got := b.View(now); got.Outcomes != 0 || got.Refused != 2 || got.Opened != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSlowProbeFails(t *testing.T) {
	t.Parallel()
	b, l, now := halfOpen(t, Config{SlowShare: 0.5, SlowAfter: time.Second})
	b.Record(now, 0, b.Allow(now).Probe, false, 2*time.Second)
	if got := l.changes[len(l.changes)-1]; got.To != Open || got.Reason != ProbeFailed || got.OpenFor != 2*DefaultOpenFor {
		t.Errorf("%+v", got)
	}
}

func TestForgottenProbesDoNotWedge(t *testing.T) {
	t.Parallel()
	b, _, now := halfOpen(t, Config{ProbeTime: 7 * time.Second})
	told := b.Allow(now)
	b.Forget(told.Probe)
	b.Forget(0)
	lost := b.Allow(now)
	if !lost.OK {
		t.Fatal("a probe was forgotten, and there is no room for another")
	}
	if d := b.Allow(now + 7*second - 1); d.OK || d.RetryAfter != 0 {
		t.Fatalf("the probe may still come: %+v", d)
	}
	now += 7 * second
	if !b.Ready(now) {
		t.Error("not ready although the probe is given up")
	}
	next := b.Allow(now)
	if !next.OK || next.Probe == lost.Probe {
		t.Fatalf("wedged: %+v", next)
	}
	b.Record(now, 0, lost.Probe, true, 0) // At last. It is of a round that is over.
	b.Forget(lost.Probe)
	if b.View(now).State != HalfOpen || b.Allow(now).OK {
		t.Error("a late probe was taken for one of this round")
	}
	b.Record(now, 0, next.Probe, true, 0)
	b.Record(now, 0, next.Probe, true, 0) // Twice by mistake.
	if got := b.View(now); got.State != Open || got.Opened != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWhatBeganBeforeIsNoNews(t *testing.T) {
	t.Parallel()
	b, l, now := halfOpen(t, Config{})
	for range 100 {
		b.Record(now-1, 0, 0, true, 0)
		b.Record(now-1, 0, 0, false, 0)
	}
	d := b.Allow(now)
	b.Record(now, 0, 0, true, 0)
	if !d.OK || b.View(now).State != HalfOpen || len(l.changes) != 2 {
		t.Errorf("%+v", l.changes)
	}
}

// An origin fails for half a minute. Nearly nothing reaches it in that time, and all
// reaches it soon after.
func TestOutage(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	b, l := made(Config{FailureShare: 0.5, OpenFor: time.Second, OpenMax: 8 * time.Second, Jitter: random.Float64})
	var before, during, after, refusedAfter int
	for now := int64(0); now < 90*second; now += second / 200 {
		ill := now >= 20*second && now < 50*second
		d := b.Allow(now)
		switch {
		case now < 20*second && !d.OK:
			before++
		case ill && d.OK:
			during++
		case now >= 50*second && !d.OK:
			refusedAfter++
		case now >= 50*second:
			after++
		}
		if d.OK {
			b.Record(now, 0, d.Probe, ill || random.IntN(100) == 0, time.Millisecond)
		}
	}
	if before != 0 {
		t.Errorf("%d requests were refused while all was well", before)
	}
	// Half a window of failures, then one probe each second, two, four, eight.
	if during > 1100 {
		t.Errorf("%d of 6000 requests reached the ill origin", during)
	}
	if refusedAfter > 9*200 || after < 31*200 {
		t.Errorf("after the recovery %d were refused and %d let through", refusedAfter, after)
	}
	if n := len(l.changes); n < 6 || n > 16 {
		t.Errorf("%d changes: %+v", n, l.changes)
	}
}

// Whatever happens in whatever order: a few rules hold.
func FuzzRules(f *testing.F) {
	f.Add(uint64(1), []byte{1, 2, 3, 4, 5, 6, 7})
	f.Add(uint64(9), []byte{0xff, 0x80, 0x11, 0x00, 0x45, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, seed uint64, ops []byte) {
		random := rand.New(rand.NewPCG(seed, 1))
		b, l := made(Config{FailureShare: 0.5, Volume: 3, Probes: 2, Successes: 2, OpenFor: time.Second, ProbeTime: 3 * time.Second})
		var under []Decision
		var began []int64
		now := int64(0)
		for _, op := range ops {
			now += int64(op>>4) * second / 8
			switch {
			case op&3 != 0 || len(under) == 0:
				state, until, ready := State(b.state.Load()), b.until.Load(), b.Ready(now)
				d := b.Allow(now)
				if d.OK != ready {
					t.Fatalf("Ready %v, Allow %+v", ready, d)
				}
				if state == Open && now < until && (d.OK || d.RetryAfter <= 0) || state == Closed && (!d.OK || d.Probe != 0) {
					t.Fatalf("%v: %+v", state, d)
				}
				if d.OK {
					under, began = append(under, d), append(began, now)
				}
			default:
				i := random.IntN(len(under))
				d := under[i]
				under, began = append(under[:i], under[i+1:]...), append(began[:i], began[i+1:]...)
				if op&12 == 0 {
					b.Forget(d.Probe)
				} else {
					b.Record(now, 0, d.Probe, op&4 != 0, 0)
				}
			}
			probes := 0
			for i, d := range under {
				if d.Probe != 0 && d.Probe == b.round && now-began[i] < 3*second {
					probes++
				}
			}
			if b.underway < 0 || b.underway > 2 || probes > 2 {
				t.Fatalf("%d probes under way, counted as %d", probes, b.underway)
			}
		}
		legal := map[[2]State]bool{{Closed, Open}: true, {Open, HalfOpen}: true, {HalfOpen, Open}: true, {HalfOpen, Closed}: true}
		for i, c := range l.changes {
			if !legal[[2]State{c.From, c.To}] || c.Number != uint64(i+1) {
				t.Fatalf("change %+v", c)
			}
		}
		if now += 1000 * second; !b.Allow(now).OK {
			t.Fatal("wedged")
		}
	})
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	b, l := made(Config{FailureShare: 0.5, OpenFor: time.Millisecond, Probes: 3, Successes: 3})
	var clock atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 2))
			for range 3000 {
				now := clock.Add(second / 10000)
				if d := b.Allow(now); d.OK && random.IntN(20) == 0 {
					b.Forget(d.Probe)
				} else if d.OK {
					b.Record(now, uint32(g), d.Probe, now/(second/10)%2 == 0, 0)
				}
				b.View(now)
			}
		})
	}
	wg.Wait()
	if len(l.changes) < 4 || b.underway < 0 || b.underway > 3 {
		t.Errorf("%d changes, %d probes under way", len(l.changes), b.underway)
	}
	seen := map[uint64]bool{}
	for _, c := range l.changes {
		if seen[c.Number] {
			t.Errorf("change %d was told twice", c.Number)
		}
		seen[c.Number] = true
	}
}

func TestNothingIsAllocated(t *testing.T) {
	b := New(Config{FailureShare: 0.5}, 8)
	n := testing.AllocsPerRun(1000, func() {
		d := b.Allow(1)
		b.Record(1, 1, d.Probe, true, time.Second)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClosed(b *testing.B) {
	breaker := New(Config{FailureShare: 0.5, SlowShare: 0.5, SlowAfter: time.Second}, 8)
	var now int64
	for b.Loop() {
		now += 1000
		d := breaker.Allow(now)
		breaker.Record(now, 1, d.Probe, false, time.Millisecond)
	}
}

func BenchmarkOpen(b *testing.B) {
	breaker := New(Config{FailureShare: 0.5}, 8)
	trip(breaker, 0)
	for b.Loop() {
		breaker.Allow(1)
	}
}

// TestAdopt is a breaker that replaces another one, with settings of its own.
func TestAdopt(t *testing.T) {
	t.Parallel()
	before := Config{FailureShare: 0.5, SlowShare: 0.5, SlowAfter: time.Second, Volume: 2, OpenFor: 10 * time.Second, OpenMax: time.Minute, Successes: 1}
	fails := func(b *Breaker, now int64) { b.Record(now, 0, 0, true, 0); b.Record(now, 0, 0, true, 0) }
	slow := func(b *Breaker, now int64) {
		b.Record(now, 0, 0, false, 2*time.Second)
		b.Record(now, 0, 0, false, 2*time.Second)
	}
	probing := func(b *Breaker, now int64) { fails(b, now-10*second); b.Allow(now) }
	twice := func(b *Breaker, now int64) {
		fails(b, now-10*second)
		b.Record(now, 0, b.Allow(now).Probe, true, 0)
	}
	for _, c := range []struct {
		name   string
		happen func(b *Breaker, now int64)
		after  func(c *Config)
		until  time.Duration // when a probe is let through; 0: it is closed
	}{
		{"closed", func(*Breaker, int64) {}, func(*Config) {}, 0},
		{"open", fails, func(*Config) {}, 10 * time.Second},
		{"open, and for longer than is allowed now", fails, func(c *Config) { c.OpenFor, c.OpenMax = time.Second, 2*time.Second }, 2 * time.Second},
		{"open for failures, which do not count any more", fails, func(c *Config) { c.FailureShare = 0 }, 0},
		{"open for slow calls", slow, func(c *Config) { c.FailureShare = 0 }, 10 * time.Second},
		{"open for slow calls, which do not count any more", slow, func(c *Config) { c.SlowShare = 0 }, 0},
		{"half-open", probing, func(*Config) {}, 1},
		{"open again", twice, func(*Config) {}, 20 * time.Second},
		{"open again, but not for failures any more", twice, func(c *Config) { c.FailureShare = 0 }, 0},
	} {
		now := 100 * second
		old, _ := made(before)
		c.happen(old, now)
		config := before
		c.after(&config)
		b, changes := made(config)
		b.Adopt(old, now)
		if len(changes.changes) != 0 {
			t.Errorf("%s: it tells %v", c.name, changes.changes)
		}
		if v, was := b.View(now), old.View(now); v.Opened != was.Opened || v.Refused != was.Refused {
			t.Errorf("%s: it counts %+v, and before %+v", c.name, v, was)
		}
		if c.until == 0 {
			if d := b.Allow(now); !d.OK || d.Probe != 0 {
				t.Errorf("%s: %+v", c.name, d)
			}
			continue
		}
		if d := b.Allow(now + int64(c.until) - 2); d.OK {
			t.Errorf("%s: it lets through too early: %+v", c.name, d)
		}
		d := b.Allow(now + int64(c.until))
		if !d.OK || d.Probe == 0 {
			t.Fatalf("%s: it lets no probe through: %+v", c.name, d)
		}
		b.Record(now+int64(c.until), 0, d.Probe, false, 0)
		if b.State() != Closed {
			t.Errorf("%s: after a good probe it is %v", c.name, b.State())
		}
	}
}
