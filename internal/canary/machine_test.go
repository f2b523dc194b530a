package canary

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestActions tries every action in every state.
func TestActions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	into := map[Status]func(m *Machine) error{
		Running: func(*Machine) error { return nil },
		Paused:  func(m *Machine) error { return m.Act(Pause, now) },
		Completed: func(m *Machine) error {
			return m.Act(Promote, now)
		},
		Aborted: func(m *Machine) error { return m.Act(Abort, now) },
		RolledBack: func(m *Machine) error {
			var failing Meter
			for range 100 {
				failing.Count(0, true, time.Millisecond)
			}
			if !m.Tick(now, time.Second, &Reading{New: failing.Read()}) {
				return errors.New("nothing changes")
			}
			return nil
		},
	}
	type result struct {
		status Status
		share  int32
	}
	const first = Whole / 100
	allowed := map[Status]map[Action]result{
		Running:    {Pause: {Paused, first}, Promote: {Completed, Whole}, Abort: {Aborted, 0}, RestartAction: {Running, first}},
		Paused:     {ResumeAction: {Running, first}, Promote: {Completed, Whole}, Abort: {Aborted, 0}, RestartAction: {Running, first}},
		Completed:  {Abort: {Aborted, 0}, RestartAction: {Running, first}},
		Aborted:    {Promote: {Completed, Whole}, RestartAction: {Running, first}},
		RolledBack: {Promote: {Completed, Whole}, RestartAction: {Running, first}},
	}
	for status, enter := range into {
		for _, action := range append(Actions(), "explode") {
			m := Begin(plan(), now)
			if err := enter(m); err != nil || m.State().Status != status {
				t.Fatalf("%s: %s, %v", status, m.State().Status, err)
			}
			before := m.State()
			want, ok := allowed[status][action]
			err := m.Act(action, now.Add(time.Hour))
			var refusal *Refusal
			switch after := m.State(); {
			case !ok && (!errors.As(err, &refusal) || after != before):
				t.Errorf("%s in %s: %v, %+v", action, status, err, after)
			case ok && (err != nil || after.Status != want.status || after.Share != want.share):
				t.Errorf("%s in %s: %v, %+v", action, status, err, after)
			}
		}
	}
}

// TestHeld: a roll-out of which nobody knows how far it was is not judged, and begins when
// somebody says so.
func TestHeld(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := Hold(plan(), "lost", now)
	if s := m.State(); s.Status != Paused || s.Share != 0 || s.Reason != "lost" || m.Watching() {
		t.Errorf("%+v", s)
	}
	if err := m.Act(ResumeAction, now); err != nil || m.State().Share != Whole/100 || m.State().Reason != "" {
		t.Errorf("%v, %+v", err, m.State())
	}
}

// TestPausedIsWatched: the guard takes a paused side out, too, and its time stands still.
func TestPausedIsWatched(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := Begin(plan(), now)
	if err := m.Act(Pause, now); err != nil {
		t.Fatal(err)
	}
	var meter Meter
	for range 1000 {
		meter.Count(0, false, time.Millisecond)
	}
	good := meter.Read()
	for range 100 {
		m.Tick(now, time.Hour, &Reading{New: good, Old: good})
	}
	if s := m.State(); s.Status != Paused || s.Elapsed != 0 || s.Step != 0 {
		t.Errorf("%+v", s)
	}
	for range 200 {
		meter.Count(0, true, time.Millisecond)
	}
	bad := meter.Read()
	if m.Tick(now, time.Second, &Reading{New: bad.Since(&good), Old: good}); m.State().Status != RolledBack {
		t.Errorf("%+v", m.State())
	}
}

// TestLastStepBelowTheWhole stays there until it is promoted.
func TestLastStepBelowTheWhole(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Steps = []int32{Whole / 2}
	o := world{old: healthy, new: healthy, requests: steady(2000)}.run(p, 1, 50)
	if o.state.Status != Running || o.reached != Whole/2 || !strings.Contains(o.waiting, "promote") {
		t.Errorf("%s at %s, waiting %q", o.state.Status, Percent(o.reached), o.waiting)
	}
}

// TestQuantile compares with a sorted list: a bucket is at most a sixteenth wide.
func TestQuantile(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var m Meter
		all := make([]time.Duration, 100+r.IntN(3000))
		for i := range all {
			all[i] = time.Duration(r.ExpFloat64() * float64(30*time.Millisecond))
			m.Count(r.Uint32(), false, all[i])
		}
		slices.SortFunc(all, cmp.Compare)
		want := all[len(all)-1-len(all)/100]
		s := m.Read()
		if got := s.P99(); got < want*14/15 || got > want*16/15 {
			t.Errorf("p99 of %d is %v, want about %v", len(all), got, want)
		}
		limit, slower := all[len(all)*9/10], int64(0)
		for _, d := range all {
			if d > limit*17/16 {
				slower++
			}
		}
		if got := s.Slower(limit); got < slower || got > int64(len(all)/10) {
			t.Errorf("%d are slower than %v, want %d to %d", got, limit, slower, len(all)/10)
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	for b := range buckets {
		low, next := bound(b), bound(b+1)
		if bucketOf(low) != b || b < buckets-1 && (bucketOf(next-1) != b || bucketOf(next) != b+1) {
			t.Fatalf("bucket %d begins at %v: %d, %d, %d", b, low, bucketOf(low), bucketOf(next-1), bucketOf(next))
		}
	}
	if bucketOf(time.Hour) != buckets-1 || bucketOf(Untimed) != untimed || bound(buckets-1) < time.Minute {
		t.Errorf("an hour is in %d, the last begins at %v", bucketOf(time.Hour), bound(buckets-1))
	}
}

// TestSamples: what was counted in between is the difference, and failures that say nothing
// of time are no part of p99.
func TestSamples(t *testing.T) {
	t.Parallel()
	var m Meter
	m.Count(1, false, time.Millisecond)
	before := m.Read()
	m.Count(2, true, Untimed)
	m.Count(3, true, 5*time.Second)
	after := m.Read()
	s := after.Since(&before)
	if s.Requests != 2 || s.Failed != 2 || s.timed() != 1 || s.P99() < 4*time.Second {
		t.Errorf("%d requests, %d failed, %d timed, p99 %v", s.Requests, s.Failed, s.timed(), s.P99())
	}
	s.Add(&before)
	if s != after {
		t.Error("what was taken away and added again is not the same")
	}
	if none := (&Sample{}); none.P99() != 0 || none.Known() != (Known{}) {
		t.Errorf("nothing is %+v", none.Known())
	}
}

func TestLowerBound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		n, total   int64
		from, upTo float64
	}{
		{0, 0, 0, 0}, {0, 100, 0, 1e-9}, {5, 5, 0.47, 0.49}, {5, 100, 0.017, 0.02}, {500, 10_000, 0.045, 0.0455}, {10_000, 10_000, 0.999, 1},
	} {
		if got := lowerBound(test.n, test.total, overLimit); got < test.from || got > test.upTo {
			t.Errorf("%d of %d: above %f, want %f to %f", test.n, test.total, got, test.from, test.upTo)
		}
	}
}

func TestCountAllocatesNothing(t *testing.T) {
	var m Meter
	if n := testing.AllocsPerRun(100, func() { m.Count(3, true, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
}

// A failure is counted after its request, and a reading may come between. What is left of it then must not
// make more failures than requests: no share is above 1.
func TestFailuresOfAnEarlierReading(t *testing.T) {
	t.Parallel()
	before, after := Sample{Requests: 100, Failed: 10}, Sample{Requests: 103, Failed: 40}
	if s := after.Since(&before); s.Requests != 3 || s.Failed != 3 {
		t.Errorf("%d of %d failed, wanted 3 of 3", s.Failed, s.Requests)
	}
	after.Requests = 100
	if s := after.Since(&before); s.Failed != 0 {
		t.Errorf("%d of no requests failed", s.Failed)
	}
}
