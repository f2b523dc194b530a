package http2

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-gateway/sluice/internal/websocket"
	"github.com/sluice-gateway/sluice/message"
)

// forward is what a gateway does, reduced to the wires.
func forward(c *ClientConn) handlerFunc {
	return func(x *message.Exchange) {
		if x.Problem() != nil {
			_ = say(x, 0, "")
			return
		}
		x.Request.Path = x.Request.RawPath
		if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
			x.Deny(f.Problem)
			if f.Problem == message.ClientGone {
				x.Wire().Abort()
				return
			}
			_ = say(x, 0, "")
			return
		}
		if x.Wire().Respond(x) != nil {
			x.Wire().Abort()
		}
	}
}

// The twin on both sides, and we in between.
func TestChain(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, twinEcho)
	c, _ := o.connect(t, ClientLimits{})
	g := serve(t, Limits{}, forward(c))
	tr := g.transport()
	room := make(chan struct{}, 60)
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			want := pattern(i * 401)
			var body io.Reader = bytes.NewReader(want)
			if i%2 == 0 {
				body = io.MultiReader(body)
			}
			resp, got := get(t, tr, "POST", g.url("/x?y=z"), body)
			if resp.StatusCode != 200 || !bytes.Equal(got, want) || resp.Header.Get("X-Target") != "/x?y=z" {
				t.Errorf("%d: %d %d bytes %q", i, resp.StatusCode, len(got), got[:min(len(got), 80)])
			}
		})
	}
	all.Wait()
	if c.Streams() != 0 {
		t.Errorf("%d streams are left", c.Streams())
	}
}

// Clients that leave in the middle leave nothing behind.
func TestChainWithClientsThatLeave(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/endless":
			for {
				if _, err := w.Write(pattern(1000)); err != nil {
					return
				}
			}
		default:
			twinEcho(w, r)
		}
	}))
	c, _ := o.connect(t, ClientLimits{})
	g := serve(t, Limits{}, forward(c))
	p := dialRaw(t, g.address()).send(greeting)
	p.send(getFrame(1, "/silent"), getFrame(3, "/endless"), postFrame(5, "/upload"), dataFrame(5, false, "x"), postFrame(7, "/silent"))
	p.until("headers 3 200")
	p.send(resetFrame(1, 8), resetFrame(3, 8), resetFrame(5, 8), resetFrame(7, 8))
	p.send(getFrame(9, "/"))
	p.until("headers 9 200")
	_ = p.nc.Close()
	eventually(t, "streams or connections are left", func() bool { return c.Streams() == 0 && g.server.Connections() == 0 })
}

// A WebSocket over extended CONNECT, through both ends (RFC 8441).
func TestTunnelThroughBothEnds(t *testing.T) {
	t.Parallel()
	// The origin is our own server, whose handler answers as an HTTP/1.1 origin would.
	far := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		if x.Request.Method != "GET" || x.Request.Upgrade != "websocket" {
			_ = say(x, 400, "no handshake")
			return
		}
		a, b := net2()
		go func() {
			for p, err := b.Next(); err == nil; p, err = b.Next() {
				_, _ = b.Write(p)
			}
			_ = b.CloseWrite()
		}()
		x.Response.Status = 101
		x.Response.Header.Append("Sec-WebSocket-Accept", websocket.Accept(x.Request.Header.Get("Sec-WebSocket-Key")))
		x.Response.Header.Append("Upgrade", "websocket")
		x.Response.Tunnel = a
		_ = x.Wire().Respond(x)
	}))
	c, _ := connectTo(t, far.address(), ClientLimits{})
	g := serve(t, Limits{}, forward(c))
	p := dialRaw(t, g.address()).send(greeting, frame(frameHeaders, flagEndHeaders, 1, fields(
		":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "example.com", ":path", "/chat", "sec-websocket-version", "13")))
	p.until("headers 1 200")
	for _, n := range []int{1, 1000, 16384, 16384, 16384} {
		p.send(dataFrame(1, false, strings.Repeat("x", n)))
	}
	for p.data[1] < 1+1000+3*16384 {
		if said := p.next(); said != "" && said != "ack" {
			t.Fatalf("%q after %d bytes", said, p.data[1])
		}
	}
	p.send(dataFrame(1, true, "")) // Our half is closed; theirs follows.
	p.until("end 1")
	p.alive()
}

// The answer to another handshake is none, nor is one that makes no tunnel: the client would take it for one.
func TestTunnelThatIsNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(x *message.Exchange, tunnel message.Tunnel){
		"another accept": func(x *message.Exchange, tunnel message.Tunnel) {
			x.Response.Status, x.Response.Tunnel = 101, tunnel
			x.Response.Header.Append("Sec-WebSocket-Accept", "wrong")
		},
		"no accept": func(x *message.Exchange, tunnel message.Tunnel) {
			x.Response.Status, x.Response.Tunnel = 101, tunnel
		},
		"200": func(x *message.Exchange, _ message.Tunnel) {
			x.Response.Status = 200
			x.Response.SetBody([]byte("hello"))
		},
		"204": func(x *message.Exchange, _ message.Tunnel) { x.Response.Status = 204 },
		"a tunnel that somebody has made a 200 of": func(x *message.Exchange, tunnel message.Tunnel) {
			x.Response.Status, x.Response.Tunnel = 200, tunnel
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
				a, b := net2()
				_ = b.Close()
				answer(x, a)
				if err := x.Wire().Respond(x); err == nil || x.Wire().Started() {
					t.Errorf("%v", err)
				}
				x.Response.Tunnel = nil
				_ = say(x, 502, "")
			}))
			p := dialRaw(t, g.address()).send(greeting, frame(frameHeaders, flagEndHeaders, 1, fields(
				":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "example.com", ":path", "/chat")))
			p.until("headers 1 502")
		})
	}
}

func TestUpgradeWithoutExtendedConnect(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	go o.begin()
	x := ask(new(quietWire), "GET", "/", nil)
	x.Request.Upgrade = "websocket"
	f := o.conn.RoundTrip(x, &x.Request, &x.Response)
	if f == nil || f.Sent || !f.Refused {
		t.Errorf("%+v", f)
	}
}

// pipeEnd is one end of a pipe with room, in both directions. It implements message.Tunnel.
type pipeEnd struct {
	in, out *pipeHalf
}

type pipeHalf struct {
	mu     sync.Mutex
	cond   sync.Cond
	data   []byte
	closed bool
	woken  bool
}

// net2 makes the two ends.
func net2() (a, b *pipeEnd) {
	x, y := new(pipeHalf), new(pipeHalf)
	x.cond.L, y.cond.L = &x.mu, &y.mu
	return &pipeEnd{x, y}, &pipeEnd{y, x}
}

func (e *pipeEnd) Next() ([]byte, error) {
	h := e.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.data) == 0 && !h.closed && !h.woken {
		h.cond.Wait()
	}
	switch {
	case len(h.data) > 0:
		p := h.data
		h.data = nil
		return p, nil
	case h.woken:
		h.woken = false
		return nil, message.ErrWoken
	}
	return nil, io.EOF
}

func (e *pipeEnd) Wake() {
	e.in.mu.Lock()
	e.in.woken = true
	e.in.cond.Broadcast()
	e.in.mu.Unlock()
}

func (e *pipeEnd) Write(p []byte) (int, error) {
	h := e.out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, io.ErrClosedPipe
	}
	h.data = append(h.data, p...)
	h.cond.Broadcast()
	return len(p), nil
}

func (h *pipeHalf) close() {
	h.mu.Lock()
	h.closed = true
	h.cond.Broadcast()
	h.mu.Unlock()
}

func (e *pipeEnd) CloseWrite() error {
	e.out.close()
	return nil
}

func (e *pipeEnd) Close() error {
	e.in.close()
	e.out.close()
	return nil
}
