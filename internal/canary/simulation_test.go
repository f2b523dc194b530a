package canary

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// side is how one side of a simulated roll-out behaves.
type side struct {
	failures float64       // share
	median   time.Duration // of a log-normal distribution with a heavy tail
}

const spread = 0.6

func (s side) answer(r *rand.Rand, into *Meter) {
	took := time.Duration(float64(s.median) * math.Exp(spread*r.NormFloat64()))
	into.Count(r.Uint32(), r.Float64() < s.failures, took)
}

// world runs a roll-out window by window.
type world struct {
	old, new side
	// requests is how many come in a window, to both sides together.
	requests func(window int, r *rand.Rand) int
	// ill changes both sides for some windows.
	ill func(window int) float64
}

func steady(n int) func(int, *rand.Rand) int { return func(int, *rand.Rand) int { return n } }

func plan() Plan {
	return Plan{
		From: "v1", To: "v2", Steps: []int32{Whole / 100, Whole / 10, Whole / 2, Whole}, Every: 5 * time.Minute,
		Guard: Guard{Window: 30 * time.Second, ErrorRate: Whole / 100, Compare: true, Slower: 1.5, MinimumRequests: 100},
	}
}

// outcome is how a simulation ended.
type outcome struct {
	*Machine
	windows  int   // until the status was another one
	reached  int32 // the largest share
	newSide  int64 // requests that went to the new side
	answered int64 // all requests
}

// run simulates until the roll-out is not running, or for so many windows.
func (w world) run(p Plan, seed uint64, windows int) outcome {
	r := rand.New(rand.NewPCG(seed, 1))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := outcome{Machine: Begin(p, now)}
	var meters [2]Meter
	var before [2]Sample
	for o.windows < windows && o.state.Status == Running {
		old, new := w.old, w.new
		if w.ill != nil {
			more := w.ill(o.windows)
			old.failures, new.failures = old.failures+more, new.failures+more
		}
		share := o.state.Share
		o.reached = max(o.reached, share)
		for range w.requests(o.windows, r) {
			o.answered++
			if int32(r.Uint32N(uint32(Whole))) < share {
				o.newSide++
				new.answer(r, &meters[1])
			} else {
				old.answer(r, &meters[0])
			}
		}
		now = now.Add(p.Guard.Window)
		o.windows++
		after := [2]Sample{meters[0].Read(), meters[1].Read()}
		o.Tick(now, p.Guard.Window, &Reading{Old: after[0].Since(&before[0]), New: after[1].Since(&before[1])})
		before = after
	}
	return o
}

const seeds = 12

var healthy = side{0.002, 40 * time.Millisecond}

// TestGoodCanary goes through, in exactly its time.
func TestGoodCanary(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: healthy, requests: steady(20_000)}
	for seed := range uint64(seeds) {
		o := w.run(plan(), seed, 100)
		if o.state.Status != Completed || o.windows != 40 || o.state.Share != Whole {
			t.Errorf("seed %d: %s after %d windows: %s", seed, o.state.Status, o.windows, o.state.Reason)
		}
	}
}

// TestFailingCanary: 5 % of failures are seen within two windows.
func TestFailingCanary(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: side{0.05, healthy.median}, requests: steady(30_000)}
	for seed := range uint64(seeds) {
		o := w.run(plan(), seed, 100)
		if o.state.Status != RolledBack || o.windows > 2 || o.state.Share != 0 || o.reached != Whole/100 {
			t.Errorf("seed %d: %s after %d windows, at most %s", seed, o.state.Status, o.windows, Percent(o.reached))
		}
		if share := float64(o.newSide) / float64(o.answered); share > 0.0125 {
			t.Errorf("seed %d: the new side got %.4f of the requests", seed, share)
		}
	}
}

// TestSlowCanary: answers that take twice as long.
func TestSlowCanary(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: side{healthy.failures, 2 * healthy.median}, requests: steady(60_000)}
	for seed := range uint64(seeds) {
		o := w.run(plan(), seed, 100)
		if o.state.Status != RolledBack || o.windows > 2 || o.reached != Whole/100 {
			t.Errorf("seed %d: %s after %d windows: %s", seed, o.state.Status, o.windows, o.state.Reason)
		}
	}
}

// TestColdStart: the first answers of a new side are slow, because nothing is cached yet.
// One slow window is none.
func TestColdStart(t *testing.T) {
	t.Parallel()
	p := plan()
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 3))
		m := Begin(p, time.Time{})
		var before [2]Sample
		var meters [2]Meter
		for window := range 20 {
			for range 30_000 {
				healthy.answer(r, &meters[0])
			}
			for i := range 300 {
				warm := healthy
				if window == 0 && i < 30 {
					warm.median *= 20
				}
				warm.answer(r, &meters[1])
			}
			after := [2]Sample{meters[0].Read(), meters[1].Read()}
			m.Tick(time.Time{}, p.Guard.Window, &Reading{Old: after[0].Since(&before[0]), New: after[1].Since(&before[1])})
			before = after
		}
		if m.state.Status != Running || m.state.Step == 0 {
			t.Errorf("seed %d: %s in step %d: %s, %s", seed, m.state.Status, m.state.Step, m.state.Reason, m.waiting)
		}
	}
}

// TestLateFailure: a side that is good at first, and fails when all requests come to it:
// it is compared with what was last known of the old one.
func TestLateFailure(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: healthy, requests: steady(5_000)}
	for seed := range uint64(seeds / 4) {
		p := plan()
		o := w.run(p, seed, 35)
		if o.state.Share != Whole || o.state.Baseline.Requests == 0 {
			t.Fatalf("seed %d: %s, %+v", seed, Percent(o.state.Share), o.state.Baseline)
		}
		var m Meter
		r := rand.New(rand.NewPCG(seed, 2))
		for range 5_000 {
			side{0.05, healthy.median}.answer(r, &m)
		}
		o.Tick(time.Time{}, p.Guard.Window, &Reading{New: m.Read()})
		if o.state.Status != RolledBack {
			t.Errorf("seed %d: %s", seed, o.state.Status)
		}
	}
}

// TestBothSidesFail: a dependency that both need is broken. The roll-out neither goes on nor
// back, and goes on when it is well again.
func TestBothSidesFail(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: healthy, requests: steady(20_000), ill: func(window int) float64 {
		if window >= 5 && window < 40 {
			return 0.2
		}
		return 0
	}}
	for seed := range uint64(seeds) {
		o := w.run(plan(), seed, 40)
		if o.state.Status != Running || o.reached != Whole/100 || o.waiting == "" {
			t.Errorf("seed %d: %s at %s, waiting %q: %s", seed, o.state.Status, Percent(o.reached), o.waiting, o.state.Reason)
		}
	}
	p := plan()
	p.Guard.Compare = false
	if o := w.run(p, 1, 40); o.state.Status != RolledBack || o.windows > 7 {
		t.Errorf("an absolute limit: %s after %d windows", o.state.Status, o.windows)
	}
}

// TestIncidentIsShort: both sides fail for two windows; nobody goes back, and it is
// finished later.
func TestIncidentIsShort(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: healthy, requests: steady(20_000), ill: func(window int) float64 {
		if window == 15 || window == 16 {
			return 0.5
		}
		return 0
	}}
	for seed := range uint64(seeds) {
		if o := w.run(plan(), seed, 400); o.state.Status != Completed {
			t.Errorf("seed %d: %s after %d windows, waiting %q: %s", seed, o.state.Status, o.windows, o.waiting, o.state.Reason)
		}
	}
}

// TestLowTraffic: steps wait for their requests, and a side that fails always is taken out
// after the first few.
func TestLowTraffic(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: healthy, requests: steady(300)}
	for seed := range uint64(seeds) {
		o := w.run(plan(), seed, 20)
		if o.state.Status != Running || o.state.Step != 0 || o.waiting == "" {
			t.Errorf("seed %d: %s, step %d, waiting %q", seed, o.state.Status, o.state.Step, o.waiting)
		}
		o = w.run(plan(), seed, 1000)
		if o.state.Status != Completed {
			t.Errorf("seed %d: %s after %d windows: %s", seed, o.state.Status, o.windows, o.state.Reason)
		}
	}
	broken := world{old: healthy, new: side{1, healthy.median}, requests: steady(300)}
	for seed := range uint64(seeds) {
		o := broken.run(plan(), seed, 100)
		if o.state.Status != RolledBack || o.newSide > 20 {
			t.Errorf("seed %d: %s after %d requests", seed, o.state.Status, o.newSide)
		}
	}
}

// TestBursts: requests come all at once, and then none.
func TestBursts(t *testing.T) {
	t.Parallel()
	w := world{old: healthy, new: healthy, requests: func(window int, r *rand.Rand) int {
		if window%7 == 0 {
			return 80_000
		}
		return int(r.Uint32N(50))
	}}
	for seed := range uint64(seeds / 4) {
		if o := w.run(plan(), seed, 100); o.state.Status != Completed {
			t.Errorf("seed %d: %s after %d windows, waiting %q: %s", seed, o.state.Status, o.windows, o.waiting, o.state.Reason)
		}
	}
	w.new.failures = 0.05
	for seed := range uint64(seeds / 4) {
		if o := w.run(plan(), seed, 100); o.state.Status != RolledBack || o.windows > 2 {
			t.Errorf("seed %d: %s after %d windows", seed, o.state.Status, o.windows)
		}
	}
}
