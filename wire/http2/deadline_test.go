package http2

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// TestDeadline has an origin that is silent from some moment on, and a deadline that comes long
// before any timeout: the origin hears that nobody wants its answer any more.
func TestDeadline(t *testing.T) {
	t.Parallel()
	head := frame(frameHeaders, flagEndHeaders, 1, field(":status", "200"))
	for name, c := range map[string]struct {
		answer string
		inBody bool
		body   message.Body
	}{
		"before the head":       {"", false, nil},
		"behind an interim":     {frame(frameHeaders, flagEndHeaders, 1, field(":status", "103")), false, nil},
		"within the body":       {head + dataFrame(1, false, "ok"), true, nil},
		"while a body is taken": {"", false, inPieces(pattern(1<<20), 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serveRaw(t, ClientLimits{})
			reset := make(chan error, 1)
			go func() {
				o.begin()
				o.request()
				o.send(c.answer)
				for {
					f, err := o.read()
					if err != nil || f.kind == frameReset {
						if err == nil && string(f.payload) != u32(uint32(Cancel)) {
							err = fmt.Errorf("reset with %q", f.payload)
						}
						reset <- err
						return
					}
				}
			}()
			x := ask(new(quietWire), "POST", "/", c.body)
			x.Deadline = time.Now().Add(500 * time.Millisecond) // Time enough to send it on a slow machine.
			f := o.conn.RoundTrip(x, &x.Request, &x.Response)
			if !c.inBody {
				if f == nil || f.Problem != message.DeadlineExceeded || !f.Sent || f.Refused {
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
			if err := <-reset; err != nil {
				t.Error(err)
			}
			if o.conn.Streams() != 0 || !o.conn.CanTake() {
				t.Error("the connection has suffered")
			}
		})
	}
}

// TestDeadlineOver sends nothing of what is too late.
func TestDeadlineOver(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	x := ask(new(quietWire), "GET", "/", nil)
	x.Deadline = time.Now().Add(-time.Second)
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f == nil || f.Problem != message.DeadlineExceeded || f.Sent {
		t.Errorf("%+v", f)
	}
	if o.conn.Used() != 0 {
		t.Error("a stream was opened")
	}
}

// TestDeadlineOfWholeAnswer leaves an answer alone that is here as a whole.
func TestDeadlineOfWholeAnswer(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	go func() {
		o.begin()
		o.request()
		o.send(frame(frameHeaders, flagEndHeaders, 1, field(":status", "200")) + dataFrame(1, true, "whole"))
	}()
	x := ask(new(quietWire), "GET", "/", nil)
	x.Deadline = time.Now().Add(time.Second)
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	l := &o.conn.link
	eventually(t, "the answer does not come", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.streams[1].in.ended
	})
	l.mu.Lock()
	l.streams[1].client.expire()
	l.mu.Unlock()
	if got, err := message.ReadAll(x.Response.Body, 100); string(got) != "whole" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	x.Response.CloseBody()
}

// TestManyDeadlines has many streams on one connection, each with a deadline of its own.
func TestManyDeadlines(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	go func() {
		o.begin()
		for {
			if _, err := o.read(); err != nil {
				return
			}
		}
	}()
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			x := ask(new(quietWire), "GET", "/", nil)
			x.Deadline = time.Now().Add(time.Duration(60-i) * time.Millisecond)
			f := o.conn.RoundTrip(x, &x.Request, &x.Response)
			if f == nil || f.Problem != message.DeadlineExceeded || time.Now().Before(x.Deadline) {
				t.Errorf("%d: %+v", i, f)
			}
		})
	}
	all.Wait()
	if !o.conn.CanTake() {
		t.Error("the connection has suffered")
	}
}
