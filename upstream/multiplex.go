package upstream

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
	"github.com/sluice-gateway/sluice/wire/http2"
)

// multiplex keeps the HTTP/2 connections of one endpoint. A connection carries many
// exchanges, so there are few: another one is opened only when those that are open
// take no more streams, and one at a time.
type multiplex struct {
	endpoint *Endpoint
	limits   http2.ClientLimits
	counters *http2.Counters // the upstream's

	mu      sync.Mutex
	open    []*http2.ClientConn
	opening bool              // somebody opens a connection, or its origin has not greeted yet
	fresh   *http2.ClientConn // the connection whose origin has not; nil where there is none
	waiters []*wait           // in the order in which they came
	sweeper *time.Timer
	closed  bool

	waiting atomic.Int32 // how many waiters: where there are none, who frees a stream needs no lock
}

func newMultiplex(e *Endpoint, c *Config) *multiplex {
	limits := http2.ClientLimits{
		HeaderBytes:     c.Limits.HeaderBytes,
		ResponseTimeout: c.Limits.ResponseTimeout,
		BodyTimeout:     c.Limits.BodyTimeout,
	}
	return &multiplex{endpoint: e, limits: limits.WithDefaults(), counters: &e.pool.upstream.h2}
}

// multiplexTries bounds how often another connection is looked for in the place of one that has ended.
const multiplexTries = 8

// roundTrip sends a request over a connection that takes it.
func (m *multiplex) roundTrip(x *message.Exchange, req *message.Request, resp *message.Response) *http1.Failure {
	nameless := req.Authority == ""
	if nameless {
		req.Authority = m.endpoint.address
		defer func() { req.Authority = "" }()
	}
	var w *wait // Waits are rare.
	defer func() { w.end() }()
	for try := 0; ; try++ {
		conn, last, failure := m.take(x, &w)
		if failure != nil {
			return failure
		}
		if last {
			defer conn.Retire() // Its stream, if there is one, ends first.
		}
		f := m.ask(conn, x, req, resp)
		if f == nil {
			return nil
		}
		if f.Refused && f.Problem == message.UpstreamBusy { // Somebody else was quicker; the wait bounds how often.
			try--
		}
		failure = &http1.Failure{Problem: f.Problem, Sent: f.Sent && !f.Refused || f.BodyTaken, Answered: f.Answered, Cause: f.Cause}
		if http2.WantsHTTP1(f.Cause) || http2.NoTunnels(f.Cause) {
			return failure
		}
		if try == 0 && failure.Sent && conn.Used() > 1 && http2.Lost(f.Cause) && diedUnused(failure, req) && req.Rewind() && !x.Wire().Gone() {
			continue // As over HTTP/1.1: it may have been closed before the request arrived.
		}
		if failure.Sent || x.Wire().Gone() || try == multiplexTries {
			return failure
		}
		req.Rewind() // What streams has had nothing taken.
	}
}

// ask sends a request over a connection. It counts until Freed, if a stream was opened for it.
func (m *multiplex) ask(conn *http2.ClientConn, x *message.Exchange, req *message.Request, resp *message.Response) *http2.Failure {
	m.endpoint.enter()
	opened := false
	defer m.asked(&opened)
	f := conn.RoundTrip(x, req, resp)
	opened = f == nil || f.Sent
	return f
}

// asked ends what was begun where nobody else will: no stream was opened, or a panic passed, from a body that
// a policy has wrapped, say.
func (m *multiplex) asked(opened *bool) {
	if !*opened {
		m.endpoint.leave()
	}
}

// take returns a connection that takes another stream, and opens one if there is none. Where that may not be, or somebody
// else is opening one, it waits for its turn. A request that comes when the endpoint has left, because it was chosen just
// before, gets a connection that is to be retired after it: its last one.
func (m *multiplex) take(x *message.Exchange, waits **wait) (conn *http2.ClientConn, last bool, _ *http1.Failure) {
	for {
		if m.endpoint.spoken() == spokenHTTP1 {
			m.pass()
			return nil, false, otherProtocol
		}
		m.mu.Lock()
		if c := m.free(*waits); c != nil {
			m.mu.Unlock()
			return c, false, nil
		}
		if !m.opening && len(m.open) < m.endpoint.pool.upstream.config.MaxConnections {
			return m.dial(x) // unlocks
		}
		w := m.queue(*waits)
		*waits = w
		if c := m.free(w); c != nil { // A stream that has ended a moment ago has called nobody.
			m.leave(w)
			m.mu.Unlock()
			return c, false, nil
		}
		m.mu.Unlock()
		if failure := m.await(x, w); failure != nil {
			return nil, false, failure
		}
	}
}

// free is a connection that takes another stream, for one before whom nobody waits; the lock is held. One whose origin has
// not said how many streams it takes has only that of who has opened it: what is refused cannot be sent again if
// a part of its body has gone.
func (m *multiplex) free(w *wait) *http2.ClientConn {
	if len(m.waiters) > 0 && m.waiters[0] != w && (w == nil || !w.called) {
		return nil
	}
	for i := len(m.open) - 1; i >= 0; i-- {
		if m.open[i] != m.fresh && m.open[i].CanTake() {
			return m.open[i]
		}
	}
	return nil
}

// wait is an exchange that waits for room on a connection, no longer than one may take to be opened.
type wait struct {
	turn   chan struct{} // has room for one call
	ctx    context.Context
	cancel context.CancelFunc
	called bool // and so it has been, once: others have had their turn by then
}

// end frees what a wait has used, if there was one.
func (w *wait) end() {
	if w != nil && w.cancel != nil {
		w.cancel()
	}
}

// queue makes an exchange wait: behind the others, or, where it was called and somebody else was quicker, before them.
// The lock is held.
func (m *multiplex) queue(w *wait) *wait {
	if w == nil {
		w = &wait{turn: make(chan struct{}, 1)}
	}
	at := len(m.waiters)
	if w.called {
		at = 0
	}
	m.waiters = slices.Insert(m.waiters, at, w)
	m.waiting.Store(int32(len(m.waiters)))
	return w
}

// leave takes w out of the queue, and says whether it was still there; the lock is held.
func (m *multiplex) leave(w *wait) bool {
	at := slices.Index(m.waiters, w)
	if at < 0 {
		return false
	}
	m.waiters = slices.Delete(m.waiters, at, at+1)
	m.waiting.Store(int32(len(m.waiters)))
	return true
}

// call has the first n look for a connection again; the lock is held.
func (m *multiplex) call(n int) {
	n = min(n, len(m.waiters))
	for _, w := range m.waiters[:n] {
		w.turn <- struct{}{}
	}
	m.waiters = slices.Delete(m.waiters, 0, n)
	m.waiting.Store(int32(len(m.waiters)))
}

// pass has the next one look: there may be room, or a connection to be opened.
func (m *multiplex) pass() {
	if m.waiting.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.call(1)
}

// await waits until w is called.
func (m *multiplex) await(x *message.Exchange, w *wait) *http1.Failure {
	if w.ctx == nil {
		w.ctx, w.cancel = patience(x, m.endpoint.pool.upstream.config.ConnectTimeout)
	}
	began := time.Now()
	x.Wire().Await(cancelFunc(w.cancel))
	called := false
	select {
	case <-w.turn:
		called = true
	case <-w.ctx.Done():
	}
	x.Wire().Arrived()
	x.Times.Connected += time.Since(began)
	if called && !x.Wire().Gone() {
		w.called = true
		return nil
	}
	return m.giveUp(x, w)
}

// giveUp ends a wait that was in vain. Who was called passes that on.
func (m *multiplex) giveUp(x *message.Exchange, w *wait) *http1.Failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	otherwise := message.UpstreamBusy
	if m.opening {
		otherwise = message.UpstreamConnectTime
	}
	if m.fresh != nil { // Its origin does not greet: it is used as it is.
		c := m.fresh
		m.settle(c)
		m.call(1 + c.Room())
	}
	if !m.leave(w) {
		m.call(1)
	}
	return waitedInVain(x, otherwise)
}

// dial is entered with the lock held and releases it. Others are called when the origin has told how many
// exchanges a new connection takes.
func (m *multiplex) dial(x *message.Exchange) (conn *http2.ClientConn, last bool, _ *http1.Failure) {
	m.opening = true
	m.mu.Unlock()
	nc, _, failure := m.endpoint.pool.connect(x, false)
	if failure == nil {
		failure = m.endpoint.check(nc)
	}
	var c *http2.ClientConn
	if failure == nil {
		c = http2.NewClientConn(nc, &m.limits, m.counters, m)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if failure == nil && m.add(c) && !c.Greeted() {
		m.fresh = c
		return c, false, nil
	}
	m.opening = false
	if failure != nil {
		m.call(1)
		return nil, false, failure
	}
	m.call(1 + c.Room())
	return c, m.closed, nil
}

// add takes a connection up, and says whether it has; the lock is held. One that has ended already is not: nobody would
// take it out again. Nor is one that comes after close.
func (m *multiplex) add(c *http2.ClientConn) bool {
	if m.closed || c.Closed() {
		return false
	}
	m.open = append(m.open, c)
	if m.sweeper == nil {
		m.sweeper = time.AfterFunc(m.endpoint.pool.upstream.config.IdleTimeout, m.sweep)
	}
	return true
}

// adopt takes over a connection that turned out to speak HTTP/2.
func (m *multiplex) adopt(nc net.Conn) {
	m.endpoint.speaks.Store(uint32(spokenHTTP2))
	c := http2.NewClientConn(nc, &m.limits, m.counters, m)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(c)
	if m.closed {
		c.Retire()
	}
}

// Freed implements http2.ConnPool.
func (m *multiplex) Freed(*http2.ClientConn) {
	m.endpoint.leave()
	m.pass()
}

// Grown implements http2.ConnPool. One more is called than there is room: it opens the next connection.
func (m *multiplex) Grown(c *http2.ClientConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(c)
	m.call(1 + c.Room())
}

// Dead implements http2.ConnPool.
func (m *multiplex) Dead(c *http2.ClientConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(c)
	if at := slices.Index(m.open, c); at >= 0 {
		m.open = slices.Delete(m.open, at, at+1)
	}
	m.call(1)
}

// settle ends the opening of a connection of which there is nothing more to wait for; the lock is held.
func (m *multiplex) settle(c *http2.ClientConn) {
	if m.fresh == c {
		m.fresh, m.opening = nil, false
	}
}

// sweep closes connections that were without an exchange for too long.
func (m *multiplex) sweep() {
	timeout := m.endpoint.pool.upstream.config.IdleTimeout
	var old []*http2.ClientConn
	m.mu.Lock()
	for _, c := range m.open {
		if c.IdleSince() >= timeout {
			old = append(old, c)
		}
	}
	if len(m.open) > 0 && !m.closed {
		m.sweeper.Reset(timeout / 2)
	} else {
		m.sweeper = nil
	}
	m.mu.Unlock()
	for _, c := range old {
		c.Retire()
	}
}

// size tells how many connections are open, and how many of them carry nothing.
func (m *multiplex) size() (open, idle int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.open {
		if c.Streams() == 0 {
			idle++
		}
	}
	return len(m.open), idle
}

// close lets the connections go: each is closed when its last exchange has ended.
func (m *multiplex) close() {
	m.mu.Lock()
	open := append([]*http2.ClientConn(nil), m.open...)
	m.closed = true
	m.call(1)
	if m.sweeper != nil {
		m.sweeper.Stop()
	}
	m.mu.Unlock()
	for _, c := range open {
		c.Retire()
	}
}
