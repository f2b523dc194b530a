package faults

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

func newOrigin(t *testing.T, workers int) *Origin {
	t.Helper()
	o, err := NewOrigin(workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Down)
	return o
}

// Each behaviour is what it says, to a client without a gateway.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name      string
		behaviour Behaviour
		answer    string
		ill       int64
	}{
		{"good", Behaviour{}, "200", 0},
		{"slow", Behaviour{Delay: 5 * time.Millisecond}, "200", 0},
		{"status", Behaviour{Status: 503}, "503", 1},
		{"not found is not ill", Behaviour{Status: 404}, "404", 0},
		{"stall", Behaviour{Stall: true}, "none", 1},
		{"reset", Behaviour{Reset: true}, "none", 1},
		{"garbage", Behaviour{Garbage: true}, "none", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, 0)
			o.Behave(c.behaviour)
			limit := rig.Patience
			if c.behaviour.Stall {
				limit = 50 * time.Millisecond
			}
			// On a busy machine a short time is over before the origin is asked.
			for ; o.Counts().Requests == 0 && limit <= rig.Patience; limit *= 2 {
				load := NewLoad(o.Address, limit)
				if got := answer(load.ask()); got != c.answer {
					t.Errorf("got %s, wanted %s", got, c.answer)
				}
				load.Close()
			}
			// A client may ask twice where a connection broke.
			if n := o.Counts(); n.Requests == 0 || (n.Ill > 0) != (c.ill > 0) {
				t.Errorf("%+v", n)
			}
		})
	}
}

func TestDownAndUp(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0)
	load := NewLoad(o.Address, patience)
	defer load.Close()
	for _, step := range []struct {
		act  func() error
		want string
	}{
		{o.Up, "200"},
		{func() error { o.Down(); return nil }, "none"},
		{o.Up, "200"},
		{func() error { return o.Drain(patience) }, "none"},
		{o.Up, "200"},
	} {
		if err := step.act(); err != nil {
			t.Fatal(err)
		}
		if got := answer(load.ask()); got != step.want {
			t.Fatalf("got %s, wanted %s", got, step.want)
		}
	}
	if n := o.Counts().Requests; n != 3 {
		t.Errorf("%d requests were counted", n)
	}
}

// A child that is being started holds copies of what listens: an origin can listen again all the same.
func TestUpWhileProcessesStart(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0)
	var stop atomic.Bool
	var starting sync.WaitGroup
	for range 3 {
		starting.Go(func() {
			for !stop.Load() {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		o.Down()
		if err := o.Up(); err != nil {
			t.Error(err)
			break
		}
	}
	stop.Store(true)
	starting.Wait()
}

func TestClosesAfter(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0)
	o.Behave(Behaviour{CloseAfter: 2})
	load := NewLoad(o.Address, patience)
	defer load.Close()
	for range 6 {
		// The client asks again where a connection that was used before breaks.
		if got := answer(load.ask()); got != "200" {
			t.Fatal(got)
		}
	}
	if n := o.Counts().Requests; n != 8 {
		t.Errorf("%d requests: wanted 6, and 2 that were asked again", n)
	}
}

// Requests are due at their times, whether earlier ones were answered or not.
func TestLoadDoesNotWait(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0)
	o.Behave(Behaviour{Stall: true})
	load := NewLoad(o.Address, 300*time.Millisecond)
	defer load.Close()
	seen := load.Run(context.Background(), 100, 100*time.Millisecond)
	if seen.Requests != 10 || seen.Failed != 10 || seen.Answers["none"] != 10 || seen.Good() != 0 {
		t.Errorf("%+v", seen)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var s Seen
	if s.Quantile(0.5) != 0 || s.FailedShare() != 0 {
		t.Error("nothing has a quantile or a share")
	}
	for i := range 100 {
		s.Latencies = append(s.Latencies, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := s.Quantile(q); got != want {
			t.Errorf("%v: %v", q, got)
		}
	}
}

func TestReportLine(t *testing.T) {
	t.Parallel()
	r := Report{Seen: Seen{Requests: 4, Failed: 1, Answers: map[string]int{"200": 3, "none": 1}}, Ill: 2}
	r.bar(true, "one", "%d", 1)
	if !r.Met() {
		t.Error("all bars are met")
	}
	r.bar(false, "two", "%d", 3)
	if r.Met() {
		t.Error("one bar is not met")
	}
	const want = `MISS      4 requests      1 failed (25.00 %)  p50 0.0 ms  p99 0.0 ms  ill got 2; one: 1; NOT two: 3; answers map[200:3 none:1]`
	if got := r.Line(); got != want {
		t.Errorf("got\n%s\nwanted\n%s", got, want)
	}
}
