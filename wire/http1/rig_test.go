package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/leaktest"
	"github.com/sluice-gateway/sluice/message"
)

// TestMain sees that no goroutine of this package outlives the tests.
func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, "wire/http1")) }

// handlerFunc is a message.Handler.
type handlerFunc func(x *message.Exchange)

func (f handlerFunc) Serve(x *message.Exchange) { f(x) }

// say answers with a text; a problem that the wire has found is answered with its
// code.
func say(x *message.Exchange, status int, text string) error {
	if p := x.Problem(); p != nil {
		status, text = p.Status, p.Code+" "+p.Detail
	}
	x.Response.Status = status
	x.Response.SetBody([]byte(text))
	return x.Wire().Respond(x)
}

// hello answers every request.
var hello = handlerFunc(func(x *message.Exchange) { _ = say(x, 200, "hello") })

// echo answers with the request's body.
var echo = handlerFunc(func(x *message.Exchange) {
	data, err := x.Request.ReadBody(1 << 20)
	if p, ok := err.(*message.Problem); ok {
		x.Deny(p)
	}
	_ = say(x, 200, string(data))
})

// gateway is a Server on a loopback socket.
type gateway struct {
	t      testing.TB
	server *Server
	socket net.Listener
	conns  sync.WaitGroup
}

// serve starts a server, which must have ended all of its connections when the test ends.
func serve(t testing.TB, limits Limits, handler message.Handler) *gateway {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, server: NewServer("test", limits, handler), socket: socket}
	g.conns.Go(func() {
		for {
			nc, err := socket.Accept()
			if err != nil {
				return
			}
			g.server.Admit()
			g.conns.Go(func() { g.server.ServeConn(nc, netip.AddrPort{}) })
		}
	})
	t.Cleanup(func() {
		_ = socket.Close()
		g.server.Close()
		g.conns.Wait()
		// A tunnel ends on a goroutine of its own.
		for end := time.Now().Add(testPatience); g.server.Connections() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%d connections are left", g.server.Connections())
				break
			}
		}
	})
	return g
}

// dial connects a client.
func (g *gateway) dial() *peer {
	g.t.Helper()
	nc, err := net.Dial("tcp", g.socket.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	return newPeer(g.t, nc)
}

// peer is the other end of a connection, read and written by a test.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

// testPatience is how long a test waits for what must come before it fails.
const testPatience = 20 * time.Second

func newPeer(t testing.TB, nc net.Conn) *peer {
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(testPatience))
	return &peer{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (p *peer) send(text string) *peer {
	p.t.Helper()
	if _, err := io.WriteString(p.nc, text); err != nil {
		p.t.Fatalf("writing %q: %v", text, err)
	}
	return p
}

// head reads up to the empty line.
func (p *peer) head() string {
	p.t.Helper()
	var head strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			p.t.Fatalf("reading a head: %v; so far %q", err, head.String())
		}
		if line == "\r\n" {
			return head.String()
		}
	}
}

func (p *peer) read(n int) string {
	p.t.Helper()
	b := make([]byte, n)
	if got, err := io.ReadFull(p.r, b); err != nil {
		p.t.Fatalf("reading %d bytes: %v; got %q", n, err, b[:got])
	}
	return string(b)
}

// expect reads exactly this text.
func (p *peer) expect(text string) *peer {
	p.t.Helper()
	if got := p.read(len(text)); got != text {
		p.t.Fatalf("got %q, wanted %q", got, text)
	}
	return p
}

// answer reads one answer with a length.
func (p *peer) answer() (head, body string) {
	p.t.Helper()
	head = p.head()
	_, rest, ok := strings.Cut(head, "Content-Length: ")
	if !ok {
		p.t.Fatalf("the answer has no length: %q", head)
	}
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, _ := message.ParseLength(digits)
	return head, p.read(int(n))
}

// wants reads one answer and looks at its status and body.
func (p *peer) wants(status, body string) string {
	p.t.Helper()
	head, got := p.answer()
	if !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") || !strings.Contains(got, body) {
		p.t.Fatalf("wanted %s %q, got %q %q", status, body, head, got)
	}
	return head
}

// rest reads to the end; a reset is reported.
func (p *peer) rest() (string, error) {
	b, err := io.ReadAll(p.r)
	return string(b), err
}

// closed wants the end and nothing before.
func (p *peer) closed() {
	p.t.Helper()
	if got, err := p.rest(); got != "" || err != nil {
		p.t.Fatalf("wanted the end, got %q and %v", got, err)
	}
}

// cutConn is a connection whose bytes arrive in given pieces. What is written is
// kept.
type cutConn struct {
	pieces [][]byte
	out    bytes.Buffer
}

// cut divides text at the places that are named by cuts, each counted from the one before.
func cut(text string, cuts []byte) *cutConn {
	c := &cutConn{}
	for _, n := range cuts {
		if at := int(n) + 1; at < len(text) {
			c.pieces, text = append(c.pieces, []byte(text[:at])), text[at:]
		}
	}
	c.pieces = append(c.pieces, []byte(text))
	return c
}

func (c *cutConn) Read(p []byte) (int, error) {
	for len(c.pieces) > 0 && len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, io.ErrShortBuffer // A caller without room would try for ever.
	}
	n := copy(p, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	return n, nil
}

func (c *cutConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *cutConn) Close() error                     { return nil }
func (c *cutConn) LocalAddr() net.Addr              { return nil }
func (c *cutConn) RemoteAddr() net.Addr             { return nil }
func (c *cutConn) SetDeadline(time.Time) error      { return nil }
func (c *cutConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cutConn) SetWriteDeadline(time.Time) error { return nil }

// stubWire is the client's side of an exchange in tests of ClientConn.
type stubWire struct {
	informed []string
	waits    atomic.Pointer[ClientConn]
	lent     bool
	stopped  chan struct{}
	returned bool
}

func newExchange() (*message.Exchange, *stubWire) {
	w := &stubWire{stopped: make(chan struct{})}
	x := &message.Exchange{}
	x.Begin(w)
	x.Times.Started = time.Now()
	x.Request.Method, x.Request.Path, x.Request.Authority, x.Request.Protocol = "GET", "/", "example.com", "HTTP/1.1"
	x.Response.Length = -1
	return x, w
}

func (w *stubWire) Respond(*message.Exchange) error { return nil }
func (w *stubWire) Started() bool                   { return false }
func (w *stubWire) Abort()                          {}
func (w *stubWire) Inform(status int, h *message.Header) {
	w.informed = append(w.informed, string(appendStatusLine(nil, status))+h.Get("Link"))
}
func (w *stubWire) Await(c message.Canceler) {
	if conn, ok := c.(*ClientConn); ok {
		w.waits.Store(conn)
	}
}
func (w *stubWire) Arrived()        { w.waits.Store(nil) }
func (w *stubWire) LendBody()       { w.lent = true }
func (w *stubWire) StopBody()       { close(w.stopped) }
func (w *stubWire) ReturnBody()     { w.returned = true }
func (w *stubWire) Gone() bool      { return false }
func (w *stubWire) BytesIn() int64  { return 0 }
func (w *stubWire) BytesOut() int64 { return 0 }

// stubPool notes what becomes of a connection.
type stubPool struct{ idle, dead atomic.Int32 }

func (p *stubPool) Idle(*ClientConn) { p.idle.Add(1) }
func (p *stubPool) Dead(*ClientConn) { p.dead.Add(1) }

// origin is a socket that a test plays the origin on.
type origin struct {
	t      testing.TB
	socket net.Listener
	work   sync.WaitGroup
}

// startOrigin plays each connection with script; the number counts them from 0.
func startOrigin(t testing.TB, script func(n int, p *peer)) *origin {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, socket: socket}
	o.work.Go(func() {
		for n := 0; ; n++ {
			nc, err := socket.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(testPatience))
			o.work.Go(func() {
				defer func() { _ = nc.Close() }()
				script(n, &peer{t: t, nc: nc, r: bufio.NewReader(nc)})
			})
		}
	})
	t.Cleanup(func() {
		_ = socket.Close()
		o.work.Wait()
	})
	return o
}

func (o *origin) connect(limits ClientLimits, pool ConnPool) *ClientConn {
	o.t.Helper()
	nc, err := net.Dial("tcp", o.socket.Addr().String())
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = nc.Close() })
	limits = limits.WithDefaults()
	return NewClientConn(nc, &limits, pool)
}

func newKeeper(o *origin, limits ClientLimits) *keeper {
	return &keeper{origin: o, limits: limits, died: make(chan struct{}, 100)}
}

// keeper is a pool of one connection, for gateways in tests.
type keeper struct {
	origin *origin
	limits ClientLimits
	mu     sync.Mutex
	idle   []*ClientConn
	dead   atomic.Int32
	died   chan struct{} // one for each that was thrown away
}

func (k *keeper) Idle(c *ClientConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.idle = append(k.idle, c)
}

func (k *keeper) Dead(*ClientConn) {
	k.dead.Add(1)
	k.died <- struct{}{}
}

// closeIdle closes what is idle, which stays in the pool, and returns its number.
func (k *keeper) closeIdle() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.idle {
		c.Close()
	}
	return len(k.idle)
}

func (k *keeper) take() *ClientConn {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.idle); n > 0 {
		c := k.idle[n-1]
		k.idle = k.idle[:n-1]
		return c
	}
	return k.origin.connect(k.limits, k)
}

// Serve passes an exchange on to the origin, and does what the engine does with
// problems.
func (k *keeper) Serve(x *message.Exchange) {
	if x.Problem() != nil {
		_ = say(x, 500, "")
		return
	}
	x.Request.Path = x.Request.RawPath
	if f := k.take().RoundTrip(x, &x.Request, &x.Response); f != nil {
		x.Deny(f.Problem)
		_ = say(x, 500, "")
		return
	}
	err := x.Wire().Respond(x)
	if p, ok := err.(*message.Problem); ok && !x.Wire().Started() {
		x.Response.CloseBody()
		x.Response.Reset()
		x.Deny(p)
		_ = say(x, 500, "")
	}
}

// proxy is a gateway in front of an origin.
func proxy(t testing.TB, limits Limits, clientLimits ClientLimits, script func(n int, p *peer)) (*gateway, *keeper) {
	t.Helper()
	k := newKeeper(startOrigin(t, script), clientLimits)
	return serve(t, limits, k), k
}
