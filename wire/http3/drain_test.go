package http3

import (
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/message"
)

// goAways reads the control stream of the server up to the end of the connection.
func (p *peer) goAways() chan uint64 {
	all := make(chan uint64, 10)
	go func() {
		defer close(all)
		s, err := p.AcceptUniStream(p.Context())
		if err != nil {
			return
		}
		var got []byte
		buf := make([]byte, 100)
		for {
			n, err := s.Read(buf)
			got = append(got, buf[:n]...)
			for at := 1; at < len(got); {
				h, size := parseFrame(got[at:])
				if size == 0 || len(got)-at-size < int(h.length) {
					break
				}
				if h.kind == frameGoAway {
					id, _ := parseVarint(got[at+size:])
					all <- id
				}
				got = append(got[:1], got[at+size+int(h.length):]...)
			}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// A drain has two steps: what comes between them is served, what comes behind is not looked at.
func TestDrain(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}, 10), make(chan struct{})
	r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
		if x.Request.RawPath == "/wait" {
			began <- struct{}{}
			<-release
		}
		echo(x)
	}))
	look := r.hold()
	p := r.dial()
	told := p.goAways()
	waiting := p.request(get("/wait"), true)
	<-began
	r.server.Drain()
	if id := <-told; id != maxStreamID {
		t.Errorf("the first step names %d", id)
	}
	if a := receive(p.request(get("/"), true)); a.String() != "200" {
		t.Errorf("between the steps: %s", a)
	}
	look(clock() + int64(time.Second)) // As long as DrainTimeout.
	if id := <-told; id != 8 {
		t.Errorf("the second step names %d", id)
	}
	if a := receive(p.request(get("/"), true)); a.String() != "reset 0x10b" {
		t.Errorf("behind the second step: %s", a)
	}
	close(release)
	if a := receive(waiting); a.String() != "200" {
		t.Errorf("what was under way: %s", a)
	}
	if got := p.closedBy(func() { look(clock() + int64(time.Second)) }); got != "closed 0x100" {
		t.Error(got)
	}
	if n := r.server.Counters.Rejected.Value(); n != 1 {
		t.Errorf("%d rejected", n)
	}
}

// A connection that has had as many requests as it may is told to go, and what it has begun is served. Its
// WebSockets stay, until the server drains.
func TestRequestsOfAConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{Requests: 2}, switching(newMirror()))
	look := r.hold()
	p := r.dial()
	told := p.goAways()
	tunnel := p.request(webSocket(), false)
	_ = tunnel.SetReadDeadline(time.Now().Add(ample))
	for range 2 {
		if a := receive(p.request(get("/"), true)); a.String() != "200" {
			t.Error(a)
		}
	}
	if id := <-told; id != maxStreamID {
		t.Errorf("the first step names %d", id)
	}
	look(clock() + int64(time.Second))
	if id := <-told; id != 12 {
		t.Errorf("the second step names %d", id)
	}
	if a := receive(p.request(get("/"), true)); a.String() != "reset 0x10b" {
		t.Errorf("behind the second step: %s", a)
	}
	heard := ""
	hear := func(want string) {
		t.Helper()
		for b := make([]byte, 100); !strings.Contains(heard, want); {
			n, err := tunnel.Read(b)
			if heard += string(b[:n]); err != nil {
				t.Fatalf("%q of the WebSocket, %v, and not %q", heard, err, want)
			}
		}
	}
	_, _ = tunnel.Write([]byte(frame(frameData, "\x81\x01y")))
	hear("\x81\x01y")
	r.server.Drain()
	hear("\x88\x02\x03\xe9") // Close, 1001.
}

// A connection that comes while the server drains is told at once.
func TestDrainBefore(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, handler(echo))
	look := r.hold()
	r.server.Drain()
	p := r.dial()
	if id := <-p.goAways(); id != maxStreamID {
		t.Error(id)
	}
	if got := p.closedBy(func() { look(clock() + int64(time.Second)) }); got != "closed 0x100" {
		t.Error(got)
	}
	r.server.Resume()
	if a := receive(r.dial().request(get("/"), true)); a.String() != "200" {
		t.Error(a)
	}
}

func TestFloods(t *testing.T) {
	t.Parallel()
	small := Floods{Resets: 10, EmptyData: 10, Unknown: 10, Streams: 10, Control: 10}
	for name, c := range map[string]struct {
		kind  Flood
		flood func(p *peer)
	}{
		"cancelled requests": {FloodReset, func(p *peer) {
			s, err := p.OpenStreamSync(p.Context())
			if err != nil {
				return
			}
			_, _ = s.Write([]byte(post("/")))
			s.CancelRead(quic.StreamErrorCode(RequestCancelled))
			s.CancelWrite(quic.StreamErrorCode(RequestCancelled))
		}},
		"malformed requests": {FloodReset, func(p *peer) {
			if s, err := p.OpenStreamSync(p.Context()); err == nil {
				_, _ = s.Write([]byte(get("x")))
				_ = s.Close()
			}
		}},
		"unknown streams": {FloodStreams, func(p *peer) {
			if s, err := p.OpenUniStreamSync(p.Context()); err == nil {
				_, _ = s.Write([]byte("\x21"))
				_ = s.Close()
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Limits{Floods: small}, handler(echo))
			p := r.dial()
			for range 100 {
				c.flood(p)
			}
			if got := p.closed(); got != "closed 0x107" {
				t.Error(got)
			}
			if r.server.Counters.Floods[c.kind].Value() == 0 {
				t.Error("nothing was counted")
			}
		})
	}
	for name, c := range map[string]struct {
		kind    Flood
		control bool
		frame   string
	}{
		"empty DATA":                       {FloodEmptyData, false, frame(frameData, "")},
		"unknown frames":                   {FloodUnknown, false, frame(0x21, "")},
		"a long unknown frame":             {FloodUnknown, false, "\x21\x80\x01\x00\x00"},
		"unknown frames on control stream": {FloodUnknown, true, frame(0x21, "")},
		"MAX_PUSH_ID":                      {FloodControl, true, frame(frameMaxPushID, number(1))},
		"PRIORITY_UPDATE":                  {FloodControl, true, frame(framePriority, number(0))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Limits{Floods: small}, handler(echo))
			p := r.bare()
			control := p.uni("\x00" + frame(frameSettings, ""))
			if !c.control {
				s := p.request(post("/"), false)
				for range 100 {
					_, _ = s.Write([]byte(c.frame))
				}
			} else {
				for range 100 {
					_, _ = control.Write([]byte(c.frame))
				}
			}
			if got := p.closed(); got != "closed 0x107" {
				t.Error(got)
			}
			if r.server.Counters.Floods[c.kind].Value() == 0 {
				t.Error("nothing was counted")
			}
		})
	}
	t.Run("QPACK", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, Limits{Floods: small}, handler(echo))
		p := r.dial()
		s := p.uni("\x03")
		for range 100 {
			_, _ = s.Write([]byte("\x41"))
		}
		if got := p.closed(); got != "closed 0x107" {
			t.Error(got)
		}
	})
}

// A client cannot have more requests under way than the limit, and one that it has cancelled counts
// until its exchange has ended.
func TestCancelledRequestsCount(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}, 10), make(chan struct{})
	r := newRig(t, Limits{Streams: 2}, handler(func(x *message.Exchange) {
		began <- struct{}{}
		<-release
		echo(x)
	}))
	p := r.dial()
	for range 2 {
		s := p.request(get("/"), true)
		<-began
		s.CancelRead(quic.StreamErrorCode(RequestCancelled))
	}
	time.Sleep(20 * time.Millisecond)
	if _, err := p.OpenStream(); err == nil {
		t.Error("a third one may begin")
	}
	close(release)
	if a := receive(p.request(get("/"), true)); a.String() != "200" {
		t.Error(a)
	}
}
