package certificates

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Handshakes go on while the certificates are closed: what they begin is waited for, or not begun.
func TestNoJobBehindTheEnd(t *testing.T) {
	t.Parallel()
	for range 100 {
		d, err := newDemand(OnDemand{})
		if err != nil {
			t.Fatal(err)
		}
		var handshakes sync.WaitGroup
		var running, begun atomic.Int64
		for range 4 {
			handshakes.Go(func() {
				if d.begin(func() { running.Add(-1) }) {
					begun.Add(1)
				}
			})
			running.Add(1)
		}
		d.end()
		if d.begin(func() {}) {
			t.Fatal("a job begins behind the end")
		}
		handshakes.Wait()
		if n, all := running.Load(), begun.Load(); n != 4-all {
			t.Fatalf("%d of %d jobs have not run", n-4+all, all)
		}
	}
}
