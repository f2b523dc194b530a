package http3

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/message"
)

func field(a *answer, name string) string {
	for _, f := range a.fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func TestBodies(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, handler(echo))
	p := r.dial()
	for _, size := range []int{0, 1, 1000, 16 << 10, 16<<10 + 1, 1 << 20} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		s := p.request(post("/x?y"), false)
		go func() {
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 10_000)
				if _, err := s.Write([]byte(frame(frameData, rest[:n]))); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = s.Close()
		}()
		a := receive(s)
		if a.String() != "200" || a.body != body || field(a, "x-seen") != "POST /x" || len(field(a, "date")) != 29 {
			t.Errorf("%d bytes: %s, %d bytes, %v", size, a, len(a.body), a.fields)
		}
	}
}

// piecemeal is a body that comes bit by bit.
type piecemeal struct {
	parts   []string
	length  int64
	trailer message.Header
	err     error
}

func (b *piecemeal) Next() ([]byte, error) {
	if len(b.parts) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		return nil, io.EOF
	}
	p := b.parts[0]
	b.parts = b.parts[1:]
	return []byte(p), nil
}
func (b *piecemeal) Length() int64            { return b.length }
func (b *piecemeal) Trailer() *message.Header { return &b.trailer }
func (b *piecemeal) Close() error             { return nil }

func TestAnswers(t *testing.T) {
	t.Parallel()
	trailer := message.Header{}
	trailer.Append("X-Sum", "42")
	for name, c := range map[string]struct {
		method string
		answer func(x *message.Exchange)
		want   string
		check  func(a *answer) bool
	}{
		"no body": {"GET", func(x *message.Exchange) { x.Response.Status = 204 }, "204", func(a *answer) bool { return field(a, "content-length") == "" }},
		"of known length": {"GET", func(x *message.Exchange) {
			x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{"a", "bc"}, length: 3}
		},
			"200", func(a *answer) bool { return a.frames == 1 && a.body == "abc" && field(a, "content-length") == "3" }},
		"of unknown length": {"GET", func(x *message.Exchange) {
			x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{"a", "bc"}, length: -1}
		},
			"200", func(a *answer) bool { return a.frames == 2 && a.body == "abc" }},
		"trailers": {"GET", func(x *message.Exchange) {
			x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{"a"}, length: -1, trailer: trailer}
		}, "200", func(a *answer) bool { return len(a.trailer) == 1 && a.trailer[0].Name == "x-sum" }},
		"HEAD": {"HEAD", func(x *message.Exchange) { x.Response.Status, x.Response.Length = 200, 1234 }, "200",
			func(a *answer) bool { return a.frames == 0 && field(a, "content-length") == "1234" }},
		"HEAD with a body": {"HEAD", func(x *message.Exchange) { x.Response.Status, x.Response.Body = 200, message.NewBytes([]byte("abc")) }, "200",
			func(a *answer) bool { return a.frames == 0 && field(a, "content-length") == "3" }},
		"304": {"GET", func(x *message.Exchange) { x.Response.Status, x.Response.Length = 304, 5 }, "304", func(a *answer) bool { return a.frames == 0 }},
		"too short a body": {"GET", func(x *message.Exchange) {
			x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{"a"}, length: 3}
		},
			"reset 0x102", nil},
		"a body that breaks": {"GET", func(x *message.Exchange) {
			x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{"a"}, length: -1, err: message.UpstreamBodyBroken}
		}, "reset 0x102", nil},
		"a body past its deadline": {"GET", func(x *message.Exchange) {
			x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{"a"}, length: -1, err: message.DeadlineExceeded}
		}, "reset 0x10c", nil},
		"connection fields": {"GET", func(x *message.Exchange) {
			x.Response.Status = 200
			x.Response.Header.Append("Connection", "close")
			x.Response.Header.Append("Transfer-Encoding", "chunked")
			x.Response.Header.Append("Date", "today")
		}, "200", func(a *answer) bool { return len(a.fields) == 1 && field(a, "date") == "today" }},
		"interim answers": {"GET", func(x *message.Exchange) {
			h := &message.Header{}
			h.Append("link", "</a>")
			x.Wire().Inform(103, h)
			x.Wire().Inform(102, nil)
			x.Wire().Inform(200, nil)
			x.Response.Status = 200
		}, "200", func(a *answer) bool { return strings.Join(a.interim, " ") == "103 102" }},
		"a large head": {"GET", func(x *message.Exchange) {
			x.Response.Status = 200
			x.Response.Header.Append("x", strings.Repeat("y", 20<<10))
		}, "200", func(a *answer) bool { return len(field(a, "x")) == 20<<10 }},
		"no status": {"GET", func(x *message.Exchange) { x.Response.Status = 101 }, "reset 0x102", nil},
		"abort":     {"GET", func(x *message.Exchange) { x.Response.Status = 0; x.Wire().Abort() }, "reset 0x10c", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
				c.answer(x)
				if x.Response.Status != 0 {
					_ = x.Wire().Respond(x)
				}
			}))
			head := strings.Replace(get("/"), "GET", c.method, 1)
			if len(c.method) != 3 {
				head = headers(":method: "+c.method, ":scheme: https", ":authority: a.example.com", ":path: /")
			}
			a := receive(r.dial().request(head, true))
			if !strings.HasSuffix(a.String(), c.want) || c.check != nil && !c.check(a) {
				t.Errorf("%s: %+v", a, a)
			}
		})
	}
}

// A GET whose end comes late has no body: the origin must not be sent one of unknown length.
func TestEndThatComesLate(t *testing.T) {
	t.Parallel()
	bodies := make(chan bool, 1)
	r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
		bodies <- x.Request.Body != nil
		x.Response.Status = 200
		_ = x.Wire().Respond(x)
	}))
	s := r.dial().request(get("/"), false)
	select {
	case <-bodies:
		t.Error("the end was not waited for")
	case <-time.After(50 * time.Millisecond):
	}
	_ = s.Close()
	if <-bodies {
		t.Error("a body")
	}
	if a := receive(s); a.String() != "200" {
		t.Error(a)
	}
}

func TestContinue(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, handler(echo))
	s := r.dial().request(post("/", "expect: 100-continue"), false)
	head := make([]byte, 6)
	if _, err := io.ReadFull(s, head); err != nil || string(head) != "\x01\x40\x04\x00\x00\xff" {
		t.Fatalf("%q %v", head, err)
	}
	if _, err := io.ReadFull(s, head[:1]); err != nil { // The rest of 100's index.
		t.Fatal(err)
	}
	_, _ = s.Write([]byte(data))
	_ = s.Close()
	if a := receive(s); a.String() != "200" || a.body != "hello" {
		t.Errorf("%s %q", a, a.body)
	}
}

// Who does not read holds up the client.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newRig(t, Limits{StreamWindow: 64 << 10, ConnectionWindow: 128 << 10}, handler(func(x *message.Exchange) {
		<-release
		echo(x)
	}))
	s := r.dial().request(post("/"), false)
	var sent atomic.Int64
	go func() {
		chunk := []byte(frame(frameData, strings.Repeat("x", 1000)))
		for range 1000 {
			if _, err := s.Write(chunk); err != nil {
				return
			}
			sent.Add(1000)
		}
		_ = s.Close()
	}()
	for before := int64(-1); before != sent.Load(); time.Sleep(100 * time.Millisecond) {
		before = sent.Load()
	}
	if n := sent.Load(); n > 70<<10 {
		t.Errorf("%d bytes were taken that nobody has read", n)
	}
	close(release)
	if a := receive(s); a.String() != "200" || len(a.body) != 1_000_000 {
		t.Errorf("%s, %d bytes", a, len(a.body))
	}
}

// canceler is something that waits.
type canceler chan struct{}

func (c canceler) Cancel() { close(c) }

// A client that goes away ends what its exchange waits for, however it goes.
func TestClientGone(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(p *peer, s *quic.Stream){
		"it stops reading":      func(_ *peer, s *quic.Stream) { s.CancelRead(quic.StreamErrorCode(RequestCancelled)) },
		"it closes":             func(p *peer, _ *quic.Stream) { _ = p.CloseWithError(0x100, "") },
		"it breaks the rules":   func(p *peer, _ *quic.Stream) { p.uni("\x01") },
		"it cancels the stream": func(_ *peer, s *quic.Stream) { s.CancelRead(0x10c); s.CancelWrite(0x10c) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began, gone := make(chan struct{}), make(chan bool, 1)
			r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
				c := make(canceler)
				x.Wire().Await(c)
				close(began)
				select {
				case <-c:
				case <-time.After(ample):
				}
				x.Wire().Arrived()
				gone <- x.Wire().Gone()
				x.Wire().Abort()
			}))
			p := r.dial()
			s := p.request(get("/"), true)
			<-began
			leave(p, s)
			if !<-gone {
				t.Error("nobody noticed")
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	slow := func(x *message.Exchange) {
		x.Response.Status, x.Response.Body = 200, &piecemeal{parts: []string{strings.Repeat("x", 8<<20)}, length: 8 << 20}
		if err := x.Wire().Respond(x); err != message.ClientTooSlow {
			t.Errorf("an answer that nobody takes: %v", err)
		}
	}
	late := func(x *message.Exchange) {
		if _, err := message.ReadAll(x.Request.Body, 1<<20); err != message.RequestBodyTooSlow {
			t.Errorf("a body that does not come: %v", err)
		}
		x.Response.Status = 408
		_ = x.Wire().Respond(x)
	}
	const short = 300 * time.Millisecond
	t.Run("a head", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, Limits{HeadTimeout: short}, handler(echo))
		if a := receive(r.dial().request(get("/")[:10], false)); a.String() != "reset 0x10c" {
			t.Error(a)
		}
	})
	t.Run("a body", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, Limits{BodyTimeout: short}, handler(late))
		if a := receive(r.dial().request(post("/")+data, false)); a.String() != "408" {
			t.Error(a)
		}
	})
	t.Run("a body by single bytes", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, Limits{BodyTimeout: time.Second, MinimumBodyRate: 1000}, handler(late))
		s := r.dial().request(post("/"), false)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					_, _ = s.Write([]byte("\x00\x01x"))
				}
			}
		}()
		if a := receive(s); a.String() != "408" {
			t.Error(a)
		}
		close(stop)
	})
	// What comes bit by bit, or says nothing, makes no time of it longer.
	for name, c := range map[string]struct {
		head, more, want string
		limits           Limits
	}{
		"a head by single bytes":      {"", get("/", "x: "+strings.Repeat("y", 10_000)), "reset 0x10c", Limits{HeadTimeout: short}},
		"a body of empty frames":      {post("/"), strings.Repeat(frame(frameData, ""), 5_000), "408", Limits{BodyTimeout: short, Floods: Floods{EmptyData: 10_000}}},
		"a body of unknown frames":    {post("/"), strings.Repeat(frame(0x21, ""), 5_000), "408", Limits{BodyTimeout: short, Floods: Floods{Unknown: 10_000}}},
		"trailers by single bytes":    {post("/") + data, headers("x: " + strings.Repeat("y", 7_000)), "408", Limits{BodyTimeout: short}},
		"an unknown frame bit by bit": {post("/") + data, "\x21\x40\xff", "408", Limits{BodyTimeout: short}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.limits, handler(late))
			s := r.dial().request(c.head, false)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for at := 0; ; at++ {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						_, _ = s.Write([]byte{c.more[at%len(c.more)]})
					}
				}
			}()
			if a := receive(s); a.String() != c.want {
				t.Error(a)
			}
		})
	}
	t.Run("an answer", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, Limits{WriteTimeout: short}, handler(slow))
		s := r.dial().request(get("/"), true)
		for r.server.Counters.Floods[FloodStall].Value() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if a := receive(s); !strings.HasSuffix(a.String(), "reset 0x102") {
			t.Error(a)
		}
	})
	t.Run("a connection", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, Limits{IdleTimeout: short}, handler(echo))
		look := r.hold()
		p := r.dial()
		if a := receive(p.request(get("/"), true)); a.String() != "200" {
			t.Error(a)
		}
		if got := p.closedBy(func() { look(clock()) }); got != "closed 0x100" {
			t.Error(got)
		}
	})
}
