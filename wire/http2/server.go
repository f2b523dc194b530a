// Package http2 is HTTP/2 (RFC 9113) on both sides of the gateway: Server carries the exchanges
// of client connections, ClientConn those of origin connections. What two parsers could read
// differently is refused, as in HTTP/1, because what we forward is parsed again by somebody else.
//
// One goroutine reads a connection. Each exchange runs on a goroutine of its own, taken
// from a few that are parked, and whatever it calls to answer runs there. What the streams have to
// say is collected and written by one more goroutine, in as few calls as possible.
package http2

import (
	"bytes"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/date"
	"github.com/sluice-gateway/sluice/internal/workers"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// Server serves client connections of one listener.
type Server struct {
	Handler  message.Handler
	Listener string // the listener's name, for message.Client
	// Counters may be replaced before the first connection, by some that others share.
	Counters *Counters
	// AltSvc is what answers announce on the connections that come from now on.
	AltSvc message.AltSvc

	limits   atomic.Pointer[Limits]
	draining atomic.Bool
	closed   atomic.Bool
	workers  workers.Pool
	date     date.Cache
	shard    atomic.Uint32
	admitted atomic.Int64

	mu    sync.Mutex
	conns map[*serverConn]struct{}
}

// NewServer returns a server; SetLimits may change its limits at any time.
func NewServer(listener string, limits Limits, handler message.Handler) *Server {
	s := &Server{Handler: handler, Listener: listener, Counters: new(Counters), conns: make(map[*serverConn]struct{})}
	s.SetLimits(limits)
	return s
}

// SetLimits changes the limits of the connections that come from now on: those that are
// there were promised theirs.
func (s *Server) SetLimits(limits Limits) {
	limits = limits.withDefaults()
	s.limits.Store(&limits)
}

// Admit counts a connection that is going to be served: the number is right
// before its goroutine has begun.
func (s *Server) Admit() { s.admitted.Add(1) }

// Connections is the number of connections that were admitted and have not ended.
func (s *Server) Connections() int { return int(s.admitted.Load()) }

// ServeConn serves a connection to its end, on the calling goroutine, and closes it. Admit comes
// before. client is the address behind the connection where something in front told it
// (PROXY protocol), otherwise the zero value.
func (s *Server) ServeConn(nc net.Conn, client netip.AddrPort) {
	c := &serverConn{server: s, limits: s.limits.Load()}
	c.link.server, c.link.counters, c.link.workers, c.link.shard = true, s.Counters, &s.workers, s.shard.Add(1)
	c.link.init(nc, c, c.limits.bounds())
	c.link.reader.start()
	c.client = message.ClientOf(nc, client, s.Listener)
	c.client.AltSvc = s.AltSvc.Text()
	s.workers.Join()
	s.add(c)
	if !s.closed.Load() { // Close may have looked before we were there.
		c.serve()
	}
	s.remove(c)
	s.workers.Leave()
	_ = nc.Close()
	s.admitted.Add(-1)
}

func (s *Server) add(c *serverConn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
}

func (s *Server) remove(c *serverConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// each calls do for all connections.
func (s *Server) each(do func(c *serverConn)) {
	s.mu.Lock()
	all := make([]*serverConn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}

// Drain asks clients to send no further requests, and ends connections when their
// exchanges are over; WebSockets are told to go away. It happens in two steps (RFC 9113 §6.8): what a client sends
// before it has heard the first one is served.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.each((*serverConn).drain)
}

// Close cuts all connections.
func (s *Server) Close() {
	s.draining.Store(true)
	s.closed.Store(true)
	s.each(func(c *serverConn) { _ = c.link.nc.Close() })
}

// serverConn is one client connection. It implements end.
type serverConn struct {
	link   link
	server *Server
	limits *Limits
	client message.Client

	// Guarded by the lock of the link.
	taken     int // streams, ever
	running   int // exchanges whose goroutine has not ended
	drainStep drainStep
	drainFrom int64 // clock of the first step
	begunAt   int64 // clock
}

type drainStep uint8

const (
	notDraining   drainStep = iota
	drainWarned             // GOAWAY for no stream in particular was sent
	drainDecided            // and one with the last stream that is served
	drainFinished           // the reader was told to stop
)

// drainPing is the PING whose answer says that the client has heard the first step.
const drainPing = "\x00drain\r\n"

// serve carries the connection to its end.
func (c *serverConn) serve() {
	l := &c.link
	c.begunAt = clock()
	c.greet()
	l.startTicker()
	if c.server.draining.Load() { // Drain may have looked before we were there.
		c.drain()
	}
	var f *fault
	if c.readPreface(&f) {
		f = l.read()
	}
	l.finish(f)
	l.mu.Lock()
	for c.running > 0 {
		l.changed.Wait()
	}
	l.mu.Unlock()
}

// greet sends our settings, which may be sent before the client's preface has come
// (RFC 9113 §3.4).
func (c *serverConn) greet() {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.writer.open()
	at := len(out)
	out = appendFrameHeader(out, 0, frameSettings, 0, 0)
	out = appendSetting(out, settingStreams, uint32(c.limits.Streams))
	out = appendSetting(out, settingWindow, uint32(l.bounds.streamWindow))
	out = appendSetting(out, settingHeaderList, uint32(c.limits.HeaderBytes))
	if l.bounds.frameSize != frameSize {
		out = appendSetting(out, settingFrameSize, uint32(l.bounds.frameSize))
	}
	out = appendSetting(out, settingConnect, 1)
	setFrameLength(out, at)
	if more := l.bounds.connectionWindow - firstWindow; more > 0 {
		out = appendWindowUpdate(out, 0, more)
	}
	l.writer.out = out
	l.kick()
}

// readPreface reads what a client sends first. A client that sends something else is no
// client of HTTP/2, and gets to know it where that may help (RFC 9113 §3.4).
func (c *serverConn) readPreface(f **fault) bool {
	l := &c.link
	r := &l.reader
	for have := 0; have < len(preface); {
		if l.fill(have+1) != nil {
			return false
		}
		have = min(r.w-r.r, len(preface))
		if !bytes.HasPrefix([]byte(preface), r.buf[r.r:r.r+have]) {
			*f = broken(ProtocolError, "the connection does not begin with the preface of HTTP/2")
			return false
		}
	}
	r.r += len(preface)
	return true
}

// drain is the first step.
func (c *serverConn) drain() {
	c.link.leaveTunnels()
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.warn()
}

// warn asks for no further streams; the lock is held.
func (c *serverConn) warn() {
	l := &c.link
	if c.drainStep != notDraining || l.closed || l.failing || l.ticker == nil {
		return // Without a ticker it has not begun: serve looks whether there is a drain behind that.
	}
	c.drainStep, c.drainFrom = drainWarned, clock()
	l.writer.out = appendGoAway(l.writer.open(), maxStreamID, NoError, "")
	l.writer.out = appendPing(l.writer.out, 0, []byte(drainPing))
	l.kick()
	l.far, l.tickAt = true, math.MaxInt64 // So that near starts the ticker anew.
	l.near()
}

// decide is the second step; the lock is held. From here on no stream is begun.
func (c *serverConn) decide() {
	l := &c.link
	if c.drainStep != drainWarned {
		return
	}
	c.drainStep = drainDecided
	l.writer.out = appendGoAway(l.writer.open(), l.lastTaken, NoError, "")
	l.kick()
	c.leaveIfDone()
}

// leaveIfDone stops the reader of a connection that may take no more streams and has none.
func (c *serverConn) leaveIfDone() {
	l := &c.link
	if c.drainStep == drainDecided && c.running == 0 {
		c.drainStep = drainFinished
		l.reader.leaving = true
		_ = l.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// onPong implements end.
func (c *serverConn) onPong(data []byte) {
	if string(data) == drainPing {
		c.link.mu.Lock()
		c.decide()
		c.link.mu.Unlock()
	}
}

// onTick implements end.
func (c *serverConn) onTick(now int64) (soon bool) {
	l := &c.link
	if c.drainStep == drainWarned && now-c.drainFrom >= int64(c.limits.DrainTimeout) {
		c.decide()
	}
	if !l.greeted && now-c.begunAt >= int64(c.limits.PrefaceTimeout) {
		l.failLocked(broken(SettingsTimeout, "the first SETTINGS did not come in time"))
	}
	if l.idleFrom != 0 && l.greeted && c.running == 0 && now-l.idleFrom >= int64(c.limits.IdleTimeout) && c.drainStep < drainDecided {
		c.drainStep = drainWarned
		c.decide()
	}
	return !l.greeted || c.drainStep == drainWarned
}

// idle implements end. Streams with an even number are ours, and we open none.
func (c *serverConn) idle(id uint32) bool { return id%2 == 0 || id > c.link.reader.lastStream.Load() }

// onSettings implements end.
func (c *serverConn) onSettings() {}

// onGoAway implements end. The client opens no more streams, or it will; we push none.
func (c *serverConn) onGoAway(uint32, ErrCode) {}

// onHead implements end: a request, or the trailers behind its body.
func (c *serverConn) onHead(id uint32, block []byte, endStream bool) *fault {
	l := &c.link
	there, entry := c.enter(id)
	switch {
	case there:
		return l.onTrailer(id, block, endStream)
	case id%2 == 0:
		return broken(ProtocolError, "a client opens a stream with an even number")
	case entry == entryOld:
		return c.headOfEnded(id, block)
	case entry == entryIgnored:
		l.reader.head.Begin(section.Ignored, nil, 0, 0)
		return l.decodeBlock(block)
	}
	return c.startStream(id, block, endStream, entry == entryRefused)
}

// entry is what becomes of a head.
type entry uint8

const (
	entryOld     entry = iota // its stream has been there
	entryIgnored              // it comes after the last one that we have promised to serve
	entryRefused
	entryNew
)

// enter finds the stream of a head, or opens it. Streams that the client has reset count until
// their goroutine has ended: resetting must not make work cheaper.
func (c *serverConn) enter(id uint32) (there bool, e entry) {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[id] != nil {
		return true, entryOld
	}
	switch {
	case id%2 == 0, id <= l.reader.lastStream.Load():
		return false, entryOld
	}
	l.reader.lastStream.Store(id)
	if c.drainStep >= drainDecided || l.failing || l.closed {
		// The last GOAWAY has said that it will not be served: what follows the head is no fault (RFC 9113 §6.8).
		l.ended.add(id, true)
		l.floods.expectLate()
		return false, entryIgnored
	}
	l.lastTaken = id
	c.running++ // A drain that comes now waits for it.
	if c.taken++; c.taken == c.limits.Requests {
		c.warn()
	}
	if l.open >= c.limits.Streams {
		return false, entryRefused
	}
	l.open++
	return false, entryNew
}

// oneLess is called when an exchange is over, or was none; the lock is held.
func (c *serverConn) oneLess() {
	if c.running--; c.running == 0 {
		c.leaveIfDone()
		c.link.changed.Broadcast()
	}
}

// headOfEnded is a head on a stream that has ended, or that was left out (RFC 9113 §5.1.1).
func (c *serverConn) headOfEnded(id uint32, block []byte) *fault {
	l := &c.link
	l.mu.Lock()
	e, ok := l.ended.find(id)
	l.mu.Unlock()
	switch {
	case !ok:
		return broken(ProtocolError, "a stream is opened whose number is not above all others")
	case !e.byReset:
		return broken(StreamClosed, lateHead)
	}
	l.reader.head.Begin(section.Ignored, nil, 0, 0)
	if f := l.decodeBlock(block); f != nil {
		return f
	}
	return l.spendOne(FloodUnknown)
}

// startStream begins an exchange.
func (c *serverConn) startStream(id uint32, block []byte, endStream, refused bool) *fault {
	l := &c.link
	h := &l.reader.head
	s := serverStreams.Get().(*serverStream)
	x := &s.x
	h.Begin(section.Request, &x.Request.Header, c.limits.HeaderBytes, c.limits.HeaderFields)
	f := l.decodeBlock(block)
	if f == nil {
		if why := h.CheckRequest(); why != "" {
			f = spoiled(id, ProtocolError, why)
		} else if h.HasLength && endStream && h.Length > 0 {
			f = spoiled(id, ProtocolError, "content-length announces a body that does not come")
		} else if refused {
			f = spoiled(id, RefusedStream, "too many streams at once")
		}
	}
	if f != nil {
		x.Reset()
		serverStreams.Put(s)
	} else {
		s.begin(c, id, h, int64(len(block))+frameHeaderLen, endStream)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f != nil {
		if !refused {
			l.open--
		}
		c.oneLess()
		return f
	}
	s.counted = true
	l.streams[id] = &s.stream
	l.floods.Earn(FloodPriority, 4)
	if len(l.streams) == 1 {
		l.idleFrom = 0
		l.near()
	}
	l.workers.Do(s)
	return nil
}

// lateHead is what is wrong where a peer ends a stream and goes on: it has lost count (RFC 9113 §5.1).
const lateHead = "a head on a stream that has ended"

// lateHead judges a head on a stream that is not there any more; the lock is held.
func (l *link) lateHead(id uint32) *fault {
	if e, ok := l.ended.find(id); ok && !e.byReset && l.server {
		return broken(StreamClosed, lateHead)
	}
	return l.spendLate()
}

// onTrailer takes the fields behind a body.
func (l *link) onTrailer(id uint32, block []byte, endStream bool) *fault {
	h, fields := &l.reader.head, &l.reader.scratch
	fields.Reset()
	h.Begin(section.Trailer, fields, l.bounds.trailerBytes, l.bounds.headerFields)
	if f := l.decodeBlock(block); f != nil {
		return f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[id]
	switch {
	case s == nil: // It has ended meanwhile.
		return l.lateHead(id)
	case s.resetByUs:
		return l.spendLate()
	}
	in := &s.in
	switch {
	case s.reset || in.ended:
		return broken(StreamClosed, lateHead)
	case h.Wrong != "":
		return spoiled(id, ProtocolError, h.Wrong)
	case !endStream:
		return spoiled(id, ProtocolError, "a trailer section does not end its stream")
	case h.TooLarge:
		return spoiled(id, EnhanceYourCalm, "a trailer section is too large")
	case in.announced >= 0 && in.received != in.announced:
		return spoiled(id, ProtocolError, "data do not agree with content-length")
	}
	message.KeepTrailers(fields)
	in.trailer.CopyFrom(fields)
	s.receivedEnd()
	s.cond.Broadcast()
	return nil
}
