package http1

import "testing"

type cancels int

func (c *cancels) Cancel() { *c++ }

// A client that goes away in the moment in which what was awaited comes must not be waited for by
// what comes next.
func TestWaitForAClientThatIsGone(t *testing.T) {
	t.Parallel()
	var c serverConn
	c.waiting.gone.Store(true)
	var next cancels
	c.Await(&next)
	if next != 1 {
		t.Errorf("the wait was ended %d times, wanted 1", next)
	}
	c.Arrived()
}
