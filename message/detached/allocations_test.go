//go:build !race

package detached

import "testing"

func TestAllocations(t *testing.T) {
	x := arrived(make([]byte, 1000))
	for range 10 {
		New(x, &x.Request).Free()
	}
	if n := testing.AllocsPerRun(200, func() {
		c := New(x, &x.Request)
		c.Await(c)
		c.Arrived()
		c.Free()
	}); n >= 1 { // Below one: the collector may have emptied the pool.
		t.Errorf("%v allocations", n)
	}
}
