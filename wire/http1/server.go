// Package http1 is HTTP/1.1 and HTTP/1.0 (RFC 9112) on both sides of the gateway:
// Server carries the exchanges of client connections, ClientConn those of origin
// connections. Parsing is strict: whatever two parsers could read differently is
// refused, because what we forward is parsed again by somebody else.
//
// One goroutine serves one client connection, and whatever it calls to answer an
// exchange runs on it, the wait for the origin included. Another goroutine is
// started only for a request body that is streamed while the answer is awaited
// and for a tunnel.
package http1

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/date"
	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
)

// Server serves client connections of one listener.
type Server struct {
	Handler  message.Handler
	Listener string // the listener's name, for message.Client
	// Ended, where there is one, is called at the end of each connection that came to ServeConn, by any
	// goroutine.
	Ended func()
	// AltSvc is what answers announce on the connections that come from now on.
	AltSvc message.AltSvc

	limits   atomic.Pointer[Limits]
	draining atomic.Bool
	keepIdle atomic.Int64
	closed   atomic.Bool
	patrol   patrol
	date     date.Cache
	shard    atomic.Uint32
	admitted atomic.Int64
}

// NewServer returns a server; SetLimits may change its limits at any time.
func NewServer(listener string, limits Limits, handler message.Handler) *Server {
	s := &Server{Handler: handler, Listener: listener}
	s.SetLimits(limits)
	return s
}

// SetLimits changes the limits; a connection takes note of them at its next
// request.
func (s *Server) SetLimits(limits Limits) {
	limits = limits.withDefaults()
	s.limits.Store(&limits)
}

// Admit counts a connection that is going to be served: the number is right
// before its goroutine has begun.
func (s *Server) Admit() { s.admitted.Add(1) }

// Leave takes Admit back: the connection is served elsewhere, or not at all.
func (s *Server) Leave() { s.admitted.Add(-1) }

// ServeConn serves a connection on the calling goroutine to its end, and closes it. One that
// has become a tunnel is left to goroutines with small stacks. Admit comes before. client is the address behind the connection where something in front told
// it (PROXY protocol), otherwise the zero value.
func (s *Server) ServeConn(nc net.Conn, client netip.AddrPort) {
	c := &serverConn{server: s, shard: s.shard.Add(1)}
	c.stream.sock.init(nc)
	c.body.st, c.body.owner = &c.stream, c
	c.client = message.ClientOf(nc, client, s.Listener)
	c.client.AltSvc = s.AltSvc.Text()
	s.patrol.add(c)
	if !s.closed.Load() && c.serve() { // Close may have looked before the patrol knew this one.
		go c.runTunnel()
		return
	}
	c.end()
}

// end is the connection's end.
func (c *serverConn) end() {
	s := c.server
	s.patrol.remove(c)
	_ = c.stream.sock.nc.Close()
	s.admitted.Add(-1)
	if s.Ended != nil {
		s.Ended()
	}
}

// KeepIdle says how long a connection without an exchange may stay when the server
// drains, so that its client learns from an answer that it closes. It is called
// before Drain; without it such connections are closed at once.
func (s *Server) KeepIdle(d time.Duration) { s.keepIdle.Store(int64(d)) }

// Drain ends connections when their present exchange is over, and those without
// one at once, or after KeepIdle. New requests on old connections are answered with
// Connection: close, and WebSockets are told to go away.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.patrol.each(func(c *serverConn) {
		if idle := c.idle.Load(); idle != notIdle {
			_ = c.stream.sock.nc.SetReadDeadline(s.drainBy(idle))
		}
		if joint := c.joint.Load(); joint != nil {
			joint.Leave()
		}
	})
}

// drainFirst is how long a connection that has carried nothing yet may take for its
// first request when the server drains: its client was let in.
const drainFirst = time.Second

// drainBy is until when an idle connection may begin a request.
func (s *Server) drainBy(idle int32) time.Time {
	keep := time.Duration(s.keepIdle.Load())
	if idle == idleFresh {
		keep = max(keep, drainFirst)
	}
	if keep == 0 {
		return past
	}
	return time.Now().Add(keep)
}

// What an idle connection waits for.
const (
	notIdle int32 = iota
	idleFresh
	idleKept
)

// Connections is the number of connections that were admitted and have not ended.
func (s *Server) Connections() int { return int(s.admitted.Load()) }

// Close cuts all connections.
func (s *Server) Close() {
	s.draining.Store(true)
	s.closed.Store(true)
	s.patrol.each(func(c *serverConn) { _ = c.stream.sock.nc.Close() })
}

// serverConn is one client connection. It implements message.Wire.
type serverConn struct {
	server *Server
	limits *Limits
	client message.Client
	shard  uint32
	served int

	stream stream
	body   body
	work   *work // nil while idle
	idle   atomic.Int32
	joint  atomic.Pointer[tunnel.Joint]

	// This exchange.
	framing framing
	started bool // the head of the answer is on its way
	closing bool // no further request on this connection
	expects bool // the client waits for 100 before it sends its body
	lent    bool // another goroutine reads the body
	// answering says that the answer has begun while another goroutine reads the request's body.
	answering atomic.Bool
	stopped   atomic.Bool
	openEnded bool  // only the connection's end will tell the end of the answer
	discardBy int64 // clock until which an unwanted body is read; 0 is none
	waited    int64 // nanoseconds in which nothing but the client held up the body
	headBytes int64
	headEnd   int64 // stream.taken at the end of the head
	tunnelIn  int64
	bytesOut  int64

	waiting waiting
	next    *serverConn
	prev    *serverConn
}

// serve carries one exchange after the other until one of them ends the
// connection, or becomes a tunnel.
func (c *serverConn) serve() (tunnel bool) {
	now := clock()
	for {
		c.limits = c.server.limits.Load()
		if !c.awaitRequest(now) {
			c.returnBuffer()
			return false
		}
		head, problem, ok := c.readHead()
		if !ok {
			c.finishWork()
			return false
		}
		c.exchange(head, problem)
		if c.joint.Load() != nil {
			return true
		}
		now = c.endExchange()
		if c.closing {
			c.lingerAndFinish()
			return false
		}
	}
}

// awaitRequest waits for the first byte of a request. While it waits the
// connection has no buffer.
func (c *serverConn) awaitRequest(now int64) bool {
	c.stream.shrink() // A large buffer stands for the small one, which is to be returned.
	if c.stream.buffered() > 0 {
		return true
	}
	c.stream.r, c.stream.w = 0, 0
	c.stream.sock.allowRead(now, c.limits.IdleTimeout)
	if c.served > 0 {
		c.idle.Store(idleKept)
	} else {
		c.idle.Store(idleFresh)
	}
	if c.server.draining.Load() { // Drain may have looked before idle was set.
		_ = c.stream.sock.nc.SetReadDeadline(c.server.drainBy(c.idle.Load()))
	}
	n, err := c.stream.sock.readIdle(c)
	c.idle.Store(notIdle)
	if c.server.draining.Load() {
		// Drain may be about to move the deadline, because it saw us idle. After it has
		// looked at all connections it does not, and its deadline is not for what follows.
		c.server.patrol.mu.Lock()
		c.stream.sock.readBy = 0
		c.server.patrol.mu.Unlock()
	}
	if err != nil {
		return false
	}
	c.stream.put(n)
	return true
}

// takeBuffer implements leaser.
func (c *serverConn) takeBuffer() []byte {
	if c.work == nil {
		c.work = works.Get().(*work)
	}
	if c.stream.buf == nil {
		if c.work.io == nil {
			c.work.io = buffersPool.Get().(*buffers)
		}
		c.stream.buf = c.work.io.in[:]
	}
	return c.stream.buf
}

// returnRoom gives the buffers of an exchange back that goes on without.
func (c *serverConn) returnRoom() {
	c.stream.dropLarge()
	c.stream.buf = nil
	buffersPool.Put(c.work.io)
	c.work.io = nil
}

// returnBuffer implements leaser.
func (c *serverConn) returnBuffer() {
	if c.work != nil {
		c.stream.buf = nil
		works.Put(c.work)
		c.work = nil
	}
}

// finishWork gives everything back at the end of the connection.
func (c *serverConn) finishWork() {
	c.stream.dropLarge()
	c.returnBuffer()
}

// headText is a complete head.
type headText struct {
	text  string
	first int
}

// readHead reads up to the end of a head, within the limits. A problem goes to
// the client; ok is false where there is nobody left to answer.
func (c *serverConn) readHead() (head headText, problem *message.Problem, ok bool) {
	var scan headScan
	exact, skipped := false, c.served == 0
	for {
		end, valid := scan.scan(c.stream.buf[c.stream.r:c.stream.w])
		if problem = c.checkHeadSize(&scan, end); problem == nil && !valid {
			problem = message.BadRequest.WithDetail("a line of the request head does not end in CRLF")
		}
		if problem != nil {
			c.headTaken(c.stream.buffered())
			return head, problem, true
		}
		if end == len(crlf) && !skipped {
			// Some clients send an empty line behind a body (RFC 9112 §2.2). One is
			// dropped; with it alone no request has begun.
			skipped, exact = true, false
			c.stream.r += end
			scan.reset()
			if c.stream.buffered() == 0 && !c.awaitRequest(clock()) {
				return head, nil, false
			}
			continue
		}
		if end > 0 {
			head = headText{string(c.stream.buf[c.stream.r : c.stream.r+end]), scan.first}
			c.headTaken(end)
			return head, nil, true
		}
		if !c.stream.room() {
			if c.stream.large != nil { // The limits are larger than any buffer.
				c.headTaken(c.stream.buffered())
				return head, message.HeaderTooLarge, true
			}
			c.stream.grow()
		}
		if !exact {
			// From here on the clock runs, whatever the client sends: a head that
			// comes byte by byte does not buy itself time.
			exact = true
			c.stream.sock.setReadBy(clock() + int64(c.limits.HeadTimeout))
		}
		n, err := c.stream.sock.read(c.stream.buf[c.stream.w:])
		if err != nil {
			c.headTaken(c.stream.buffered())
			return head, message.RequestTimeout, isTimeout(err)
		}
		c.stream.put(n)
	}
}

// headTaken notes how much a head took of the stream.
func (c *serverConn) headTaken(n int) {
	c.stream.r += n
	c.headBytes, c.headEnd = int64(n), c.stream.taken()
}

func (c *serverConn) checkHeadSize(scan *headScan, end int) *message.Problem {
	have := c.stream.buffered()
	switch {
	case scan.first > c.limits.RequestLine+2, scan.first == 0 && have > c.limits.RequestLine+2:
		return message.TargetTooLong
	case end > c.limits.HeaderBytes, end == 0 && have > c.limits.HeaderBytes:
		return message.HeaderTooLarge
	case scan.lines-1 > c.limits.HeaderFields:
		return message.HeaderTooLarge
	}
	return nil
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// exchange carries one request and its answer; endExchange comes behind it.
func (c *serverConn) exchange(head headText, problem *message.Problem) {
	x := &c.work.x
	x.Begin(c)
	x.Shard = c.shard
	x.Client = c.client
	x.Request.Scheme = "http"
	if c.client.TLS != nil {
		x.Request.Scheme = "https"
	}
	x.Response.Length = -1
	x.Times.Started = time.Now()
	c.started, c.closing, c.expects, c.lent, c.openEnded = false, false, false, false, false
	c.bytesOut, c.tunnelIn, c.waited, c.discardBy = 0, 0, 0, 0
	if c.answering.Load() {
		c.answering.Store(false)
	}
	c.framing = framing{}
	if problem == nil {
		problem = parseRequest(head.text, head.first, x, &c.framing)
	}
	if problem != nil {
		c.closing = true
		x.Deny(problem)
	} else {
		c.startBody(x)
		c.decideKeepAlive(x)
	}
	c.served++
	c.server.Handler.Serve(x)
}

// endExchange makes the connection ready for the next one, and returns the time.
func (c *serverConn) endExchange() int64 {
	x := &c.work.x
	if !c.started {
		c.closing = true
	}
	c.endBody(x)
	now := clockOf(x.Times.Started) + int64(x.Times.Done)
	if x.Times.Done == 0 || c.discardBy != 0 { // Nobody looked at the clock at the end.
		now = clock()
	}
	x.Reset()
	return now
}

// startBody makes the request's body, if it has one.
func (c *serverConn) startBody(x *message.Exchange) {
	f := &c.framing
	switch {
	case f.chunked:
		c.body.start(chunkedBody, -1)
	case f.length > 0:
		c.body.start(fixedBody, f.length)
	default:
		if x.Request.Protocol == "HTTP/1.1" { // RFC 9110 §7.8.
			x.Request.Upgrade = upgradeOf(f)
		}
		return
	}
	c.body.trailerLimit, c.body.extensionLimit, c.body.maxFields = c.limits.TrailerBytes, c.limits.ChunkExtension, c.limits.HeaderFields
	c.expects = f.expect != "" && x.Request.Protocol == "HTTP/1.1"
	x.Request.ExpectContinue = c.expects
	x.Request.Body = &c.body
}

// upgradeOf is the protocol that a request asks for. A change to h2c is never
// forwarded (RFC 9113 §3.1 has withdrawn it).
func upgradeOf(f *framing) string {
	if f.upgrade == "" || !f.wantsUp || message.HasToken(f.upgrade, "h2c") {
		return ""
	}
	return f.upgrade
}

// decideKeepAlive follows RFC 9112 §9.3.
func (c *serverConn) decideKeepAlive(x *message.Exchange) {
	f := &c.framing
	c.closing = f.close || x.Request.Protocol == "HTTP/1.0" && !f.keepAlive ||
		c.limits.Requests > 0 && c.served+1 >= c.limits.Requests
}

// endBody sees to it that what is left of the request's body is not read as the
// next request: it is read and dropped if that is little, or the connection ends.
func (c *serverConn) endBody(x *message.Exchange) {
	if c.framing.length <= 0 && !c.framing.chunked || c.closing {
		return
	}
	b := &c.body
	if c.expects && !c.bodyIsHere() || b.err != nil && b.err != io.EOF {
		c.closing = true // The client may send its body or not: nobody can tell.
		return
	}
	dropped := 0
	for b.err == nil && dropped < UnreadBody {
		if c.discardBy == 0 && b.advance() == 0 && b.err == nil {
			c.discardBy = clock() + int64(discardTime)
		}
		chunk, err := b.Next()
		if err != nil {
			break
		}
		dropped += len(chunk)
	}
	if b.err != io.EOF {
		c.closing = true
	}
}

// discardTime is how long the rest of a body that nobody wanted may take to arrive.
const discardTime = 2 * time.Second

// bodyIsHere says whether no more of the request's body is to come.
func (c *serverConn) bodyIsHere() bool {
	b := &c.body
	return b.advance() == 0 && b.err == io.EOF ||
		b.kind == fixedBody && b.err == nil && b.remaining <= int64(c.stream.buffered())
}

// lingerAndFinish ends a connection so that the last answer arrives: closing a socket
// with unread bytes makes the kernel send a reset, which may overtake the answer
// (RFC 9112 §9.6). What the client still sends is dropped, for a short while.
//
// An answer that would seem complete without its end is cut off by a reset: a client
// must never take a part for the whole (RFC 9112 §8).
func (c *serverConn) lingerAndFinish() {
	type halfCloser interface{ CloseWrite() error }
	if c.openEnded {
		c.reset()
	} else if hc, ok := c.stream.sock.nc.(halfCloser); ok && c.started && hc.CloseWrite() == nil {
		c.stream.sock.setReadBy(clock() + int64(lingerTime))
		for dropped := 0; dropped < lingerBytes; {
			n, err := c.stream.sock.read(c.takeBuffer())
			if err != nil {
				break
			}
			dropped += n
		}
	}
	c.finishWork()
}

// reset cuts the connection so that its end cannot be taken for a clean one: by a
// reset, and over TLS without the alert that announces an end (RFC 8446 §6.1).
func (c *serverConn) reset() {
	nc := c.stream.sock.nc
	if over, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = over.NetConn()
	}
	if l, ok := nc.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = nc.Close()
}

const (
	lingerTime  = 2 * time.Second
	lingerBytes = 16 << 20
)
