package http3

import (
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/internal/websocket"
	"github.com/sluice-gateway/sluice/message"
)

// mirror is the origin's side of a tunnel: it says what it hears. It implements tunnel.Side.
type mirror struct {
	heard chan []byte
	woken chan struct{}
	gone  chan struct{}
	once  sync.Once
	end   sync.Once
}

func newMirror() *mirror {
	return &mirror{heard: make(chan []byte, 100), woken: make(chan struct{}, 10), gone: make(chan struct{})}
}

func (m *mirror) Next() ([]byte, error) {
	select {
	case p, ok := <-m.heard:
		if !ok {
			return nil, io.EOF
		}
		return p, nil
	case <-m.woken:
		return nil, tunnel.ErrWoken
	case <-m.gone:
		return nil, io.ErrClosedPipe
	}
}

func (m *mirror) Write(p []byte) (int, error) { m.heard <- slices.Clone(p); return len(p), nil }
func (m *mirror) CloseWrite() error           { m.once.Do(func() { close(m.heard) }); return nil }
func (m *mirror) Wake()                       { m.woken <- struct{}{} }
func (m *mirror) Close() error                { m.end.Do(func() { close(m.gone) }); return nil }

const connect = ":protocol: websocket"

func webSocket() string {
	return headers(":method: CONNECT", connect, ":scheme: https", ":authority: a.example.com", ":path: /chat", "sec-websocket-version: 13")
}

// switching answers as an HTTP/1.1 origin would.
func switching(m *mirror) handler {
	return func(x *message.Exchange) {
		if x.Request.Method != "GET" || x.Request.Upgrade != "websocket" {
			echo(x)
			return
		}
		x.Response.Status = 101
		x.Response.Header.Append("Sec-WebSocket-Accept", websocket.Accept(x.Request.Header.Get("Sec-WebSocket-Key")))
		x.Response.Header.Append("Upgrade", "websocket")
		x.Response.Header.Append("Connection", "Upgrade")
		x.Response.Tunnel = m
		_ = x.Wire().Respond(x)
	}
}

// A WebSocket over extended CONNECT (RFC 9220).
func TestTunnel(t *testing.T) {
	t.Parallel()
	m := newMirror()
	r := newRig(t, Limits{}, switching(m))
	s := r.dial().request(webSocket(), false)
	sent := ""
	for _, n := range []int{1, 125, 1000, 16 << 10, 40 << 10} {
		text := strings.Repeat("x", n)
		sent += text
		_, _ = s.Write([]byte(frame(frameData, text)))
	}
	_ = s.Close() // Our half; theirs follows.
	a := receive(s)
	if a.String() != "200" || a.body != sent || len(a.fields) != 1 {
		t.Errorf("%s, %d bytes of %d, %v", a, len(a.body), len(sent), a.fields)
	}
}

// The answer to another handshake is none, nor is one that makes no tunnel: the client would take it for one.
func TestTunnelThatIsNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(x *message.Exchange){
		"another accept": func(x *message.Exchange) {
			x.Response.Status, x.Response.Tunnel = 101, newMirror()
			x.Response.Header.Append("Sec-WebSocket-Accept", "wrong")
		},
		"no accept": func(x *message.Exchange) { x.Response.Status, x.Response.Tunnel = 101, newMirror() },
		"200": func(x *message.Exchange) {
			x.Response.Status = 200
			x.Response.SetBody([]byte("hello"))
		},
		"204": func(x *message.Exchange) { x.Response.Status = 204 },
		"a tunnel that somebody has made a 200 of": func(x *message.Exchange) {
			x.Response.Status, x.Response.Tunnel = 200, newMirror()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
				answer(x)
				if err := x.Wire().Respond(x); err == nil || x.Wire().Started() {
					t.Errorf("%v", err)
				}
				x.Response.Status, x.Response.Tunnel = 502, nil
				x.Response.Header.Reset()
				_ = x.Wire().Respond(x)
			}))
			if a := receive(r.dial().request(webSocket(), true)); a.String() != "502" {
				t.Error(a)
			}
		})
	}
}

// A client that goes away ends the tunnel.
func TestTunnelOfAClientThatGoes(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(p *peer, s *quic.Stream){
		"it resets": func(_ *peer, s *quic.Stream) { s.CancelWrite(0x10c); s.CancelRead(0x10c) },
		"it closes": func(p *peer, _ *quic.Stream) { _ = p.CloseWithError(0x100, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror()
			r := newRig(t, Limits{}, switching(m))
			p := r.dial()
			s := p.request(webSocket()+frame(frameData, "hello"), false)
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			leave(p, s)
			<-m.gone
		})
	}
}

// When the server drains, both ends of a WebSocket are told to go away.
func TestTunnelAndDrain(t *testing.T) {
	t.Parallel()
	m := newMirror()
	r := newRig(t, Limits{}, switching(m))
	look := r.hold()
	p := r.dial()
	s := p.request(webSocket(), false)
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.server.Drain()
	rest, _ := io.ReadAll(s)
	if !strings.Contains(string(rest), "\x88\x02\x03\xe9") { // Close, 1001.
		t.Errorf("%q", rest)
	}
	if got := p.closedBy(func() { look(clock() + int64(time.Second)) }); got != "closed 0x100" {
		t.Error(got)
	}
}

// byHand lets do have the stream of a request whose body has begun and does not end, on the goroutine of the
// exchange, while the patrol walks only where look says so.
func byHand(t *testing.T, body string, do func(s *serverStream, e *clientEnd, look func(now int64))) {
	t.Helper()
	done, patrols := make(chan struct{}), make(chan func(now int64), 1)
	r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
		defer close(done)
		defer x.Wire().Abort()
		s := x.Wire().(*serverStream)
		do(s, &clientEnd{stream: s}, <-patrols)
	}))
	patrols <- r.hold()
	r.dial().request(post("/")+body, false)
	<-done
}

// within returns what next returns while the patrol walks past at times that are far apart.
func within(t *testing.T, s *serverStream, look func(now int64), next func() error) error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- next() }()
	begun := time.Now()
	for now := clock(); ; now += int64(s.conn.limits.IdleTimeout) {
		select {
		case err := <-result:
			return err
		case <-time.After(5 * time.Millisecond):
			look(now)
		}
		if time.Since(begun) > ample {
			t.Error("a silent client is waited for without an end")
			s.quic.CancelRead(0)
			return <-result
		}
	}
}

// A client whose origin has said its last word has the idle timeout, also where Next
// has looked for that word just before it came.
func TestTunnelAndTheLastWord(t *testing.T) {
	t.Parallel()
	byHand(t, "", func(s *serverStream, e *clientEnd, look func(now int64)) {
		if err := e.CloseWrite(); err != nil {
			t.Error(err)
		}
		err := within(t, s, look, func() error {
			_, f := s.in.next(tunnelPatience) // Next, which has looked before.
			if f != faultWoken {
				t.Errorf("it waits on: %v", f)
			}
			_, err := e.Next()
			return err
		})
		if err != io.ErrUnexpectedEOF || s.spoiled.Load() != faultLate {
			t.Error(err)
		}
	})
}

// Who is woken within a frame that nobody knows goes on behind it.
func TestWokenWithinAnUnknownFrame(t *testing.T) {
	t.Parallel()
	byHand(t, "\x21\x0aabcd", func(s *serverStream, e *clientEnd, _ func(now int64)) {
		in := &s.in
		for in.unknown != 6 {
			timer := time.AfterFunc(5*time.Millisecond, e.Wake)
			if _, err := e.Next(); err != tunnel.ErrWoken {
				t.Error(err)
				return
			}
			timer.Stop()
		}
		in.w += copy(in.buf[in.w:], "efghij\x00\x02hi") // As if it had come.
		if got, err := e.Next(); string(got) != "hi" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A wake that meets the end of a client's time does not give it time for ever.
func TestWokenWhenItIsLate(t *testing.T) {
	t.Parallel()
	byHand(t, "", func(s *serverStream, e *clientEnd, look func(now int64)) {
		s.in.begin(s.conn.limits.IdleTimeout)
		now := clock()
		for !s.reading.late.Load() {
			look(now)
			now += int64(s.conn.limits.IdleTimeout)
		}
		e.Wake()
		if f := s.in.fill(); f != faultWoken {
			t.Errorf("%v", f)
		}
		s.in.end()
		if err := e.CloseWrite(); err != nil {
			t.Error(err)
		}
		err := within(t, s, look, func() error {
			for {
				if _, err := e.Next(); err != tunnel.ErrWoken {
					return err
				}
			}
		})
		if err != io.ErrUnexpectedEOF || s.spoiled.Load() != faultLate {
			t.Error(err)
		}
	})
}
