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
func switching(m *mirror, accept string) handler {
	return func(x *message.Exchange) {
		if x.Request.Method != "GET" || x.Request.Upgrade != "websocket" {
			echo(x)
			return
		}
		if accept == "" {
			accept = websocket.Accept(x.Request.Header.Get("Sec-WebSocket-Key"))
		}
		x.Response.Status = 101
		x.Response.Header.Append("Sec-WebSocket-Accept", accept)
		x.Response.Header.Append("Upgrade", "websocket")
		x.Response.Header.Append("Connection", "Upgrade")
		x.Response.Tunnel = m
		if x.Wire().Respond(x) != nil {
			x.Response.Status, x.Response.Tunnel = 502, nil
			x.Response.Header.Reset()
			_ = x.Wire().Respond(x)
		}
	}
}

// A WebSocket over extended CONNECT (RFC 9220).
func TestTunnel(t *testing.T) {
	t.Parallel()
	m := newMirror()
	r := newRig(t, Limits{}, switching(m, ""))
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

// Another handshake's answer is none.
func TestTunnelWithTheWrongAccept(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, switching(newMirror(), "wrong"))
	if a := receive(r.dial().request(webSocket(), true)); a.String() != "502" {
		t.Error(a)
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
			r := newRig(t, Limits{}, switching(m, ""))
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
	r := newRig(t, Limits{}, switching(m, ""))
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
