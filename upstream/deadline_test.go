package upstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// TestDeadline bounds the wait for a connection, and starts nothing that is too late.
func TestDeadline(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, n := newUpstream(t, limited(o.address, 1))
	first := begin(t, u)
	x := exchange(&wire{}, "GET", nil)
	x.Deadline = time.Now().Add(20 * time.Millisecond)
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) || time.Now().Before(x.Deadline) {
		t.Errorf("a wait for a connection ends with %v", err)
	}
	answered := n.answered.Load()
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) {
		t.Errorf("an exchange that is too late ends with %v", err)
	}
	finish(t, first)
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) || n.answered.Load() != answered || x.Facts.Tries != 0 {
		t.Errorf("too late, with a connection: %v, %d tries", err, x.Facts.Tries)
	}
	x.Deadline = time.Time{}
	mustAsk(t, u, x)
	atRest(t, u)
	x.Deadline = time.Now().Add(-time.Millisecond)
	if f := connectFailure(x, context.DeadlineExceeded); f.Problem != message.DeadlineExceeded {
		t.Errorf("a connection that took too long: %v", f)
	}
}
