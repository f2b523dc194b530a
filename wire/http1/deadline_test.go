package http1

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// TestDeadline has an origin that is silent from some moment on, and a deadline that comes long
// before any timeout.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		left   time.Duration
		inBody bool
	}{
		"before the head":    {"", 30 * time.Millisecond, false},
		"within the head":    {"HTTP/1.1 200 OK\r\nContent-", 30 * time.Millisecond, false},
		"behind an interim":  {"HTTP/1.1 103 Early Hints\r\n\r\n", 30 * time.Millisecond, false},
		"within the body":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 30 * time.Millisecond, true},
		"within a chunk":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", 30 * time.Millisecond, true},
		"it is over already": {"", -time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// On a machine that has much to do the deadline may come before the answer has come so far.
			for left := c.left; !deadlineKept(t, c.answer, left, c.inBody); left *= 2 {
				if left <= 0 || left > testPatience {
					t.Fatal("the deadline was always there first")
				}
			}
		})
	}
}

// deadlineKept makes one exchange with a deadline, and says whether its answer had come as far as the test wants
// to have it before that.
func deadlineKept(t *testing.T, answer string, left time.Duration, inBody bool) bool {
	pool := &stubPool{}
	o := startOrigin(t, func(_ int, p *peer) {
		if left > 0 {
			if _, err := p.r.Peek(1); err != nil {
				return // The deadline was over before anything was sent.
			}
			p.head()
			p.send(answer)
		}
		_, _ = p.rest()
	})
	conn := o.connect(ClientLimits{}, pool)
	x, _ := newExchange()
	x.Deadline = time.Now().Add(left)
	f := conn.RoundTrip(x, &x.Request, &x.Response)
	switch {
	case f != nil && f.Problem != message.DeadlineExceeded:
		t.Fatalf("%+v", f)
	case f != nil && left > 0 && (inBody || !f.Sent):
		return false
	case f != nil && f.Sent != (left > 0), f == nil && !inBody:
		t.Fatalf("%+v", f)
	case f == nil:
		if _, err := message.ReadAll(x.Response.Body, 100); !errors.Is(err, message.DeadlineExceeded) {
			t.Errorf("body: %v", err)
		}
	}
	if time.Now().Before(x.Deadline) {
		t.Error("it did not wait until the deadline")
	}
	x.Response.CloseBody()
	if pool.dead.Load() != 1 {
		t.Error("the connection is kept")
	}
	return true
}

// TestDeadlineIsOfOneExchange sees that the next exchange on the connection has none of it.
func TestDeadlineIsOfOneExchange(t *testing.T) {
	t.Parallel()
	bubbleOrigin(t, clientTimes, func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 1000))
		_, _ = io.WriteString(nc, okAnswer)
		_, _ = nc.Read(make([]byte, 1000))
		time.Sleep(time.Second) // Far behind the deadline.
		_, _ = io.WriteString(nc, okAnswer)
	}, func(t *testing.T, conn *ClientConn, _ *stubPool) {
		x, _ := newExchange()
		x.Deadline = time.Now().Add(50 * time.Millisecond)
		for range 2 {
			if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
				t.Fatal(f)
			}
			if _, err := message.ReadAll(x.Response.Body, 100); err != nil {
				t.Fatal(err)
			}
			x.Response.CloseBody()
			x, _ = newExchange()
		}
	})
}
