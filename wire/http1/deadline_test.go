package http1

import (
	"errors"
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
			pool := &stubPool{}
			o := startOrigin(t, func(_ int, p *peer) {
				if c.left > 0 {
					p.head()
					p.send(c.answer)
				}
				_, _ = p.rest()
			})
			conn := o.connect(ClientLimits{}, pool)
			x, _ := newExchange()
			x.Deadline = time.Now().Add(c.left)
			f := conn.RoundTrip(x, &x.Request, &x.Response)
			if !c.inBody {
				if f == nil || f.Problem != message.DeadlineExceeded || f.Sent != (c.left > 0) {
					t.Fatalf("%+v", f)
				}
			} else if f != nil {
				t.Fatal(f)
			} else if _, err := message.ReadAll(x.Response.Body, 100); !errors.Is(err, message.DeadlineExceeded) {
				t.Errorf("body: %v", err)
			}
			if time.Now().Before(x.Deadline) {
				t.Error("it did not wait until the deadline")
			}
			x.Response.CloseBody()
			if pool.dead.Load() != 1 {
				t.Error("the connection is kept")
			}
		})
	}
}

// TestDeadlineIsOfOneExchange sees that the next exchange on the connection has none of it.
func TestDeadlineIsOfOneExchange(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	o := startOrigin(t, func(_ int, p *peer) {
		p.head()
		p.send(okAnswer)
		p.head()
		<-next
		p.send(okAnswer)
		_, _ = p.rest()
	})
	pool := &stubPool{}
	conn := o.connect(ClientLimits{}, pool)
	x, _ := newExchange()
	x.Deadline = time.Now().Add(50 * time.Millisecond)
	for i := range 2 {
		if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		if _, err := message.ReadAll(x.Response.Body, 100); err != nil {
			t.Fatal(err)
		}
		x.Response.CloseBody()
		if i == 0 {
			time.AfterFunc(time.Until(x.Deadline)+20*time.Millisecond, func() { close(next) })
			x, _ = newExchange()
		}
	}
	conn.Close()
}
