package engine

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// TestReloadUnderLoad swaps snapshots while many exchanges are served: each exchange
// stays on one of them, none is served by one that is closed, each is closed once.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	const revisions, servers = 100, 6
	r := newRig(t)
	var closed [revisions]atomic.Int32
	make := func(n int) *Snapshot {
		own := strconv.Itoa(n)
		begun := r.step("begun", policy.Hooks{
			OnRequest: func(x *message.Exchange) message.Verdict { x.Facts.Upstream = own; return message.Next },
			OnDone: func(x *message.Exchange) {
				if x.Facts.Upstream != own || closed[n].Load() != 0 {
					t.Errorf("revision %d ends an exchange of %s, closed %d times", n, x.Facts.Upstream, closed[n].Load())
				}
			},
		})
		s := r.snapshot([]Step{begun}, on{path: "/", target: func(x *message.Exchange) error {
			if x.Facts.Upstream != own || closed[n].Load() != 0 {
				t.Errorf("revision %d serves an exchange of %s, closed %d times", n, x.Facts.Upstream, closed[n].Load())
			}
			return hello(x)
		}})
		s.Revision = uint64(n)
		s.Release = func() error { closed[n].Add(1); return nil }
		return s
	}
	r.Swap(make(0))
	var stop atomic.Bool
	var served atomic.Int64
	var wait sync.WaitGroup
	for i := range servers {
		wait.Go(func() {
			x, w := &message.Exchange{}, &wire{quiet: true}
			for !stop.Load() {
				fill(x, w, r.started, "GET", "/")
				x.Shard = uint32(i)
				r.Serve(x)
				served.Add(1)
				if x.Response.Status != 200 {
					t.Errorf("answered %d", x.Response.Status)
					return
				}
			}
		})
	}
	wait.Go(func() { // The reaper, in a hurry.
		for !stop.Load() {
			r.reapOnce()
			time.Sleep(time.Millisecond)
		}
	})
	for n := 1; n < revisions; n++ {
		r.Swap(make(n))
		if r.Current().Revision != uint64(n) {
			t.Error("the new snapshot is not in force")
		}
	}
	for served.Load() < 1000 {
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	wait.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range closed {
		if got := closed[n].Load(); got != 1 {
			t.Errorf("revision %d was closed %d times", n, got)
		}
	}
}

// TestPinTooLate has read which snapshot is in force, and is overtaken by a reload.
func TestPinTooLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var closed atomic.Bool
	s := r.snapshot(nil)
	s.Release = func() error { closed.Store(true); return nil }
	r.Swap(s)
	if !r.enter(s, 3) || !s.inUse() {
		t.Fatal("the snapshot in force cannot be pinned")
	}
	s.unpin(3)
	r.Swap(r.snapshot(nil))
	for !closed.Load() {
		r.reapOnce()
	}
	if r.enter(s, 3) || s.inUse() {
		t.Error("a snapshot that is closed was pinned")
	}
}

// TestLongExchange keeps its snapshot over many reloads, and lets it go at its end.
func TestLongExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		begun, end := make(chan struct{}), make(chan struct{})
		first := r.snapshot(nil, on{path: "/", target: func(x *message.Exchange) error {
			close(begun)
			<-end
			return hello(x)
		}})
		var log []string
		first.Release = func() error { log = append(log, "first"); return errors.New("it was in use") }
		r.Swap(first)
		var wait sync.WaitGroup
		wait.Go(func() {
			x := r.exchange(&wire{}, "GET", "/")
			x.Shard = pinCells + 7
			r.Serve(x)
		})
		<-begun
		for range 3 {
			s := r.snapshot(nil)
			s.Release = func() error { log = append(log, "other"); return nil }
			r.Swap(s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Join(log, " "); got != "other other" || r.Old() != 1 {
			t.Errorf("closed: %s; %d are kept", got, r.Old())
		}
		close(end)
		wait.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Join(log, " "); got != "other other first" || r.Old() != 0 {
			t.Errorf("closed: %s; %d are kept", got, r.Old())
		}
		if !strings.Contains(r.log.String(), "it was in use") {
			t.Error("the error of closing is not logged")
		}
	})
}

// TestClose waits for an exchange that is on its way out, but not for ever.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, lasts := range []time.Duration{closeWait / 2, 2 * closeWait} {
			r := newRig(t)
			begun, closed := make(chan struct{}), 0
			s := r.snapshot(nil, on{path: "/", target: func(x *message.Exchange) error {
				close(begun)
				time.Sleep(lasts)
				return hello(x)
			}})
			s.Release = func() error { closed++; return nil }
			r.Swap(s)
			var wait sync.WaitGroup
			wait.Go(func() { r.get("/") })
			<-begun
			err := r.Close()
			if late := lasts > closeWait; (err != nil) != late || (closed == 0) != late {
				t.Errorf("an exchange of %s: %v, closed %d times", lasts, err, closed)
			}
			wait.Wait()
			if err := r.Close(); err != nil || closed != 1 {
				t.Errorf("closed %d times: %v", closed, err)
			}
		}
	})
}

// TestSnapshotClose is one that was never swapped in.
func TestSnapshotClose(t *testing.T) {
	t.Parallel()
	closed := 0
	s := &Snapshot{Release: func() error { closed++; return nil }}
	if err := s.Close(); err != nil || closed != 1 {
		t.Errorf("%v, %d", err, closed)
	}
	if err := (&Snapshot{}).Close(); err != nil {
		t.Error(err)
	}
}
