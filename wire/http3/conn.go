package http3

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/message"
)

// serverConn is one client connection.
type serverConn struct {
	server *Server
	limits *Limits
	quic   *quic.Conn
	client message.Client
	shard  uint32
	// early says that the handshake is not complete: what comes may be a replay (RFC 8470).
	early   atomic.Bool
	control *quic.SendStream

	mu        sync.Mutex
	changed   sync.Cond // running has become 0
	floods    floods
	first     *serverStream // those whose exchange has not ended
	running   int           // their number
	taken     int           // requests so far
	next      quic.StreamID // of the first request that has not been taken
	drainStep drainStep
	drainFrom int64 // clock of the first step
	idleFrom  int64 // clock since which there is no exchange; 0 there is
	seen      [4]bool
	maxPush   int64 // what the client has said last; -1 nothing
	goneAway  int64 // the same of its GOAWAY
}

type drainStep uint8

const (
	notDraining   drainStep = iota
	drainWarned             // GOAWAY for no request in particular was sent
	drainDecided            // and one with the first request that is not served
	drainFinished           // the connection is being closed
)

// serve carries the connection to its end.
func (c *serverConn) serve() {
	c.changed.L = &c.mu
	now := clock()
	c.idleFrom, c.maxPush, c.goneAway = now, -1, -1
	c.floods.init(&c.limits.Floods, now)
	if !c.welcome() || !c.greet() {
		return
	}
	var streams sync.WaitGroup
	streams.Go(c.takeUniStreams)
	if c.server.draining.Load() { // Drain may have looked before we were there.
		c.drain()
	}
	for {
		qs, err := c.quic.AcceptStream(context.Background())
		if err != nil {
			break
		}
		c.take(qs)
	}
	c.cancelWaits()
	c.mu.Lock()
	for c.running > 0 {
		c.changed.Wait()
	}
	c.mu.Unlock()
	streams.Wait()
}

// welcome finds out who the client is. Without early data that is not known before the handshake
// is complete, and no request comes before.
func (c *serverConn) welcome() bool {
	done := c.quic.HandshakeComplete()
	select {
	case <-done:
	default:
		if c.quic.ConnectionState().Used0RTT {
			c.early.Store(true)
			break
		}
		select {
		case <-done:
		case <-c.quic.Context().Done():
			return false
		}
	}
	c.client = clientOf(c.quic, c.server.Listener)
	c.client.AltSvc = c.server.AltSvc.Text()
	return true
}

// isEarly says whether the handshake is not complete yet.
func (c *serverConn) isEarly() bool {
	if !c.early.Load() {
		return false
	}
	select {
	case <-c.quic.HandshakeComplete():
		c.early.Store(false)
		return false
	default:
		return true
	}
}

// greet opens our control stream and sends our settings (RFC 9114 §6.2.1).
func (c *serverConn) greet() bool {
	control, err := c.quic.OpenUniStream()
	if err != nil {
		return false
	}
	var settings []byte
	settings = appendVarint(appendVarint(settings, settingTableCapacity), 0)
	settings = appendVarint(appendVarint(settings, settingFieldSection), uint64(c.limits.HeaderBytes))
	settings = appendVarint(appendVarint(settings, settingBlockedStreams), 0)
	settings = appendVarint(appendVarint(settings, settingConnect), 1)
	out := append([]byte{streamControl, frameSettings}, byte(len(settings)))
	_, err = control.Write(append(out, settings...))
	c.mu.Lock()
	c.control = control
	c.mu.Unlock()
	return err == nil
}

// take begins an exchange.
func (c *serverConn) take(qs *quic.Stream) {
	s := serverStreams.Get().(*serverStream)
	s.begin(c, qs)
	c.mu.Lock()
	if c.drainStep >= drainDecided {
		c.mu.Unlock()
		s.forget()
		c.reject(qs)
		return
	}
	c.next = qs.StreamID() + 4
	c.running++
	c.idleFrom = 0
	if c.taken++; c.taken == c.limits.Requests {
		c.warn()
	}
	c.floods.Earn(FloodControl, 4)
	if s.next = c.first; s.next != nil {
		s.next.prev = s
	}
	c.first = s
	c.mu.Unlock()
	c.server.workers.Do(s)
}

// reject says that a request was not looked at, so that the client may send it elsewhere (RFC 9114
// §5.2).
func (c *serverConn) reject(qs *quic.Stream) {
	c.server.Counters.Rejected.Add(c.shard, 1)
	qs.CancelRead(quic.StreamErrorCode(RequestRejected))
	qs.CancelWrite(quic.StreamErrorCode(RequestRejected))
	qs.ReleaseStreamCredit()
}

// leave is called when an exchange is over.
func (c *serverConn) leave(s *serverStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		c.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
	if c.running--; c.running == 0 {
		c.idleFrom = clock()
		c.changed.Broadcast()
	}
}

// spend takes from a budget, and ends the connection where nothing is left.
func (c *serverConn) spend(kind Flood, n int32) bool {
	c.mu.Lock()
	ok := c.floods.Spend(kind, n, clock)
	c.mu.Unlock()
	if !ok {
		c.server.Counters.Floods[kind].Add(c.shard, 1)
		c.fail(&fault{code: ExcessiveLoad, why: "too much of " + kind.String()})
	}
	return ok
}

// fail ends the connection.
func (c *serverConn) fail(f *fault) {
	if f.code != NoError && f.code != ExcessiveLoad {
		c.server.Counters.Errors.Add(c.shard, 1)
	}
	_ = c.quic.CloseWithError(quic.ApplicationErrorCode(f.code), f.why)
}

// cancelWaits ends what exchanges wait for whose client has gone.
func (c *serverConn) cancelWaits() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := c.first; s != nil; s = s.next {
		s.cancelIfGone()
	}
}

// drain asks the client to leave.
func (c *serverConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.control == nil {
		return
	}
	c.warn()
	c.leaveTunnels()
}

// warn is the first step. The lock is held.
func (c *serverConn) warn() {
	if c.drainStep != notDraining {
		return
	}
	c.drainStep, c.drainFrom = drainWarned, clock()
	c.goAway(maxStreamID)
}

// decide is the second step: from here on no request is taken. The lock is held.
func (c *serverConn) decide() {
	c.drainStep = drainDecided
	c.goAway(c.next)
}

// goAway sends a GOAWAY (RFC 9114 §7.2.6). A client that does not let us send a few bytes learns from
// the end of the connection.
func (c *serverConn) goAway(id quic.StreamID) {
	payload := appendVarint(nil, uint64(id))
	_ = c.control.TryWriteAll(append([]byte{frameGoAway, byte(len(payload))}, payload...))
}

// lingerTime is how long the last bytes of a connection may take at least to arrive.
const lingerTime = 200 * time.Millisecond

// look is called by the patrol.
func (c *serverConn) look(now int64) {
	if c.lookLocked(now) {
		c.fail(&fault{code: NoError})
	}
}

// lookLocked says whether the connection has come to its end.
func (c *serverConn) lookLocked(now int64) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.control == nil {
		return false
	}
	for s := c.first; s != nil; s = s.next {
		s.look(now)
	}
	idle := int64(0)
	if c.idleFrom != 0 {
		idle = now - c.idleFrom
	}
	trip := int64(c.quic.ConnectionStats().SmoothedRTT)
	switch c.drainStep {
	case notDraining:
		if idle >= int64(c.limits.IdleTimeout) {
			c.drainStep, c.drainFrom = drainWarned, now
			c.decide()
		}
	case drainWarned:
		if now-c.drainFrom >= min(max(2*trip, int64(lingerTime)), int64(c.limits.DrainTimeout)) {
			c.decide()
		}
	case drainDecided:
		if idle >= max(3*trip, int64(lingerTime)) {
			c.drainStep = drainFinished
			return true
		}
	}
	return false
}
