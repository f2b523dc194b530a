package http2

import (
	"sync"
	"sync/atomic"
	"testing"
)

type cancels struct{ n atomic.Int32 }

func (c *cancels) Cancel() { c.n.Add(1) }

func TestWaitEndsWithItsClient(t *testing.T) {
	t.Parallel()
	var w waiting
	var before, after cancels

	w.await(&before)
	w.cancel()
	if n := before.n.Load(); n != 0 {
		t.Errorf("a client that is there ended the wait %d times", n)
	}
	w.gone.Store(true)
	w.cancel()
	w.cancel()
	if n := before.n.Load(); n != 1 {
		t.Errorf("a client that is gone ended the wait %d times, wanted 1", n)
	}
	w.await(&after)
	if n := after.n.Load(); n != 1 {
		t.Errorf("a wait for a client that is gone was ended %d times, wanted 1", n)
	}
}

// The reader ends a wait behind the lock of its link: the exchange may be over by then, and its stream serve
// another one whose client is there.
func TestLateEndLeavesTheNextExchangeAlone(t *testing.T) {
	t.Parallel()
	var w waiting
	var next cancels
	for range 2000 {
		w.clear()
		w.gone.Store(true)
		var late sync.WaitGroup
		late.Go(w.cancel)
		w.clear()
		w.await(&next)
		late.Wait()
		w.arrived()
	}
	if n := next.n.Load(); n != 0 {
		t.Errorf("%d exchanges were ended for the client of another one", n)
	}
}
