package http2

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/sluice-gateway/sluice/internal/workers"
	"github.com/sluice-gateway/sluice/message/section"
)

// ClientConn is one connection to an origin. It carries many exchanges at once: RoundTrip may be
// called by many goroutines. It implements end.
type ClientConn struct {
	link    link
	limits  *ClientLimits
	pool    ConnPool
	workers workers.Pool
	secure  bool

	// Guarded by the lock of the link.
	nextID   uint32
	used     int
	goneAway bool   // the origin takes no more streams
	since    int64  // clock when the last stream ended
	pingFrom int64  // clock of a PING that was not answered; 0 is none
	doubted  bool   // it was sent behind the last head of an answer
	lastGood uint32 // valid with goneAway
	awayCode ErrCode
}

// ConnPool hears of what becomes of a connection. Its methods are called without any lock, on any
// goroutine.
type ConnPool interface {
	// Freed says, once for each RoundTrip that opened a stream, that its exchange has ended: the
	// connection can perhaps take another one. It may come behind Dead.
	Freed(c *ClientConn)
	// Grown says that the connection takes more exchanges than before, perhaps: the origin has told how many, or
	// that it is there.
	Grown(c *ClientConn)
	// Dead says, once, that the connection is closed.
	Dead(c *ClientConn)
}

// NewClientConn makes a connection of a socket, which speaks HTTP/2 by agreement (ALPN) or prior
// knowledge. limits is shared and not changed; it has its defaults. Requests can be sent at once.
func NewClientConn(nc net.Conn, limits *ClientLimits, counters *Counters, pool ConnPool) *ClientConn {
	c := &ClientConn{limits: limits, pool: pool, nextID: 1, since: clock()}
	_, c.secure = nc.(*tls.Conn)
	l := &c.link
	l.counters, l.workers = counters, &c.workers
	l.init(nc, c, limits.bounds())
	l.reader.start()
	c.workers.Join()
	c.greet()
	l.startTicker()
	go c.serve()
	return c
}

// greet sends the preface and our settings (RFC 9113 §3.4).
func (c *ClientConn) greet() {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	out := append(l.writer.open(), preface...)
	at := len(out)
	out = appendFrameHeader(out, 0, frameSettings, 0, 0)
	out = appendSetting(out, settingPush, 0)
	out = appendSetting(out, settingWindow, uint32(l.bounds.streamWindow))
	out = appendSetting(out, settingHeaderList, uint32(l.bounds.headerBytes))
	if l.bounds.frameSize != frameSize {
		out = appendSetting(out, settingFrameSize, uint32(l.bounds.frameSize))
	}
	setFrameLength(out, at)
	if more := l.bounds.connectionWindow - firstWindow; more > 0 {
		out = appendWindowUpdate(out, 0, more)
	}
	l.writer.out = out // It leaves together with the first request, or soon.
}

// serve reads the connection to its end.
func (c *ClientConn) serve() {
	l := &c.link
	f := l.read()
	l.finish(f)
	c.workers.Leave()
	c.pool.Dead(c)
}

// firstStreams is how many streams are opened before the origin has said how many it takes. It is
// what RFC 9113 §6.5.2 recommends as the least.
const firstStreams = 100

// CanTake says whether RoundTrip can be called now.
func (c *ClientConn) CanTake() bool { return c.Room() > 0 }

// Room is how many more exchanges the connection takes now.
func (c *ClientConn) Room() int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.room()
}

// Greeted says whether the origin has told how many exchanges it takes.
func (c *ClientConn) Greeted() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.link.greeted
}

func (c *ClientConn) room() int {
	l := &c.link
	if l.closed || l.failing || l.reader.leaving || c.goneAway || c.pingFrom != 0 || c.nextID >= maxStreamID {
		return 0
	}
	most := int(min(uint32(c.limits.Streams), l.peer.streams))
	if !l.greeted {
		most = min(most, firstStreams)
	}
	return max(most-l.open, 0)
}

// Streams is the number of exchanges that the connection carries.
func (c *ClientConn) Streams() int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return len(c.link.streams)
}

// Used is the number of exchanges that the connection has carried.
func (c *ClientConn) Used() int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.used
}

// Closed says whether the connection has come to its end, so that Dead was called or will be.
func (c *ClientConn) Closed() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.link.closed
}

// IdleSince is how long the connection has been without an exchange; 0 if it has one.
func (c *ClientConn) IdleSince() time.Duration {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if len(c.link.streams) > 0 {
		return 0
	}
	return time.Duration(clock() - c.since)
}

// Close ends the connection and what is on it. It does not wait.
func (c *ClientConn) Close() {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.failing || l.reader.leaving {
		return
	}
	l.writer.out = appendGoAway(l.writer.open(), 0, NoError, "")
	c.leave()
}

// Retire takes no more exchanges, and closes the connection when those that are there have
// ended.
func (c *ClientConn) Retire() {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.goneAway {
		c.goneAway, c.lastGood = true, maxStreamID
	}
	c.leaveIfDone()
}

// leave stops the reader, which sees to the rest; the lock is held.
func (c *ClientConn) leave() {
	l := &c.link
	l.reader.leaving = true
	for _, s := range l.streams {
		s.lose()
	}
	l.kick()
	_ = l.nc.SetReadDeadline(time.Unix(1, 0))
}

func (c *ClientConn) leaveIfDone() {
	l := &c.link
	if c.goneAway && len(l.streams) == 0 && !l.closed && !l.failing && !l.reader.leaving {
		l.writer.out = appendGoAway(l.writer.open(), 0, NoError, "")
		c.leave()
	}
}

// idle implements end. Streams with an even number would be pushed ones, which we have refused.
func (c *ClientConn) idle(id uint32) bool {
	if id%2 == 0 {
		return true
	}
	// nextID is only moved with the lock, which some callers hold and some do not.
	return id > c.link.reader.lastStream.Load()
}

// onSettings implements end.
func (c *ClientConn) onSettings() {
	c.link.changed.Broadcast()
	c.pool.Grown(c)
}

// onGoAway implements end: streams above last were not processed, and will not be
// (RFC 9113 §6.8).
func (c *ClientConn) onGoAway(last uint32, code ErrCode) {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.goneAway || last < c.lastGood {
		c.lastGood = last
	}
	c.goneAway, c.awayCode = true, code
	for id, s := range l.streams {
		if id > c.lastGood && !s.reset {
			s.unprocessed, s.resetCode = true, code
			s.lose()
		}
	}
	c.leaveIfDone()
}

// onPong implements end.
func (c *ClientConn) onPong([]byte) {
	c.link.mu.Lock()
	doubted := c.pingFrom != 0
	c.pingFrom = 0
	c.link.mu.Unlock()
	if doubted {
		c.pool.Grown(c)
	}
}

// alivePing is the PING that asks whether the origin is there.
const alivePing = "\x00alive\r\n"

// doubt asks an origin that has said nothing while a stream waited, and was given up, whether it is there. A
// connection whose other end was lost without a word would take requests for as long as the system sends again what is
// not acknowledged; until the answer comes it takes none. It asks once behind each answer, because to some origins
// PINGs are a flood. The lock is held.
func (c *ClientConn) doubt(s *clientStream) {
	l := &c.link
	now := clock()
	heard := max(l.lastRead.Load(), clockOf(s.started))
	if c.doubted || now-heard < int64(c.limits.Silence) || l.closed || l.failing || l.reader.leaving {
		return
	}
	c.doubted, c.pingFrom = true, now
	l.writer.out = appendPing(l.writer.open(), 0, []byte(alivePing))
	l.kick()
	l.tickBy(now + int64(c.limits.PingTimeout))
}

// onTick implements end.
func (c *ClientConn) onTick(now int64) (soon bool) {
	l := &c.link
	if !l.greeted {
		l.changed.Broadcast() // Somebody may wait for the origin's settings, but not for ever.
	}
	switch {
	case c.pingFrom == 0 || now-c.pingFrom <= int64(c.limits.PingTimeout):
	case l.lastRead.Load() > c.pingFrom:
		c.pingFrom = 0 // It is there, though it answers no PING.
	default:
		l.failLocked(broken(NoError, "a PING was not answered"))
	}
	return true
}

// onHead implements end: an answer, interim or final, or the trailers behind its body.
func (c *ClientConn) onHead(id uint32, block []byte, endStream bool) *fault {
	l := &c.link
	if c.idle(id) {
		return broken(ProtocolError, "an answer to a request that was never sent")
	}
	l.mu.Lock()
	s := l.streams[id]
	trailer := s != nil && s.headSeen
	l.mu.Unlock()
	h := &l.reader.head
	if trailer {
		return l.onTrailer(id, block, endStream)
	}
	fields := &l.reader.scratch
	fields.Reset()
	h.Begin(section.Response, fields, l.bounds.headerBytes, l.bounds.headerFields)
	if f := l.decodeBlock(block); f != nil {
		return f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.doubted = false
	s = l.streams[id]
	if s == nil || s.reset { // It was under way when the stream ended.
		return l.spendLate()
	}
	return s.client.takeHead(h, fields, endStream)
}
