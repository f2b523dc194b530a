package upstream

import (
	"context"
	"net"
	"sync"
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
	opening chan struct{} // closed when the connection that is being opened is there, or is not
	sweeper *time.Timer
	closed  bool
}

func newMultiplex(e *Endpoint, c *Config) *multiplex {
	limits := http2.ClientLimits{
		HeaderBytes:     c.Limits.HeaderBytes,
		ResponseTimeout: c.Limits.ResponseTimeout,
		BodyTimeout:     c.Limits.BodyTimeout,
	}
	return &multiplex{endpoint: e, limits: limits.WithDefaults(), counters: &e.pool.upstream.h2}
}

// multiplexTries bounds how often a connection is looked for that others have filled
// meanwhile.
const multiplexTries = 8

// roundTrip sends a request over a connection that takes it.
func (m *multiplex) roundTrip(x *message.Exchange, req *message.Request, resp *message.Response) *http1.Failure {
	nameless := req.Authority == ""
	if nameless {
		req.Authority = m.endpoint.address
		defer func() { req.Authority = "" }()
	}
	for try := 0; ; try++ {
		conn, last, failure := m.take(x)
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
		failure = &http1.Failure{Problem: f.Problem, Sent: f.Sent && !f.Refused || f.BodyTaken, Answered: f.Answered, Cause: f.Cause}
		if http2.WantsHTTP1(f.Cause) || http2.NoTunnels(f.Cause) {
			return failure
		}
		if try == 0 && failure.Sent && conn.Used() > 1 && http2.Lost(f.Cause) && diedUnused(failure, req) && req.Rewind() && !x.Wire().Gone() {
			continue // As over HTTP/1.1: it may have been closed before the request arrived.
		}
		if failure.Sent || !req.Rewind() || x.Wire().Gone() || try == multiplexTries {
			return failure
		}
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

// take returns a connection that takes another stream, and opens one if there is none. A
// request that comes when the endpoint has left, because it was chosen just before, gets a
// connection that is to be retired after it: its last one.
func (m *multiplex) take(x *message.Exchange) (conn *http2.ClientConn, last bool, _ *http1.Failure) {
	var ctx context.Context // Waits are rare, and so is what bounds them.
	var cancel context.CancelFunc
	for {
		if m.endpoint.spoken() == spokenHTTP1 {
			return nil, false, otherProtocol
		}
		m.mu.Lock()
		for i := len(m.open) - 1; i >= 0; i-- {
			if m.open[i].CanTake() {
				c := m.open[i]
				m.mu.Unlock()
				return c, false, nil
			}
		}
		if m.opening == nil {
			return m.dial(x) // unlocks
		}
		opening := m.opening
		m.mu.Unlock()
		if ctx == nil {
			ctx, cancel = patience(x, m.endpoint.pool.upstream.config.ConnectTimeout)
			defer cancel()
		}
		if failure := m.awaitOpening(ctx, cancel, x, opening); failure != nil {
			return nil, false, failure
		}
	}
}

// awaitOpening waits for the connection that somebody else is opening.
func (m *multiplex) awaitOpening(ctx context.Context, cancel context.CancelFunc, x *message.Exchange, opening chan struct{}) *http1.Failure {
	x.Wire().Await(cancelFunc(cancel))
	defer x.Wire().Arrived()
	select {
	case <-opening:
		return nil
	case <-ctx.Done():
	}
	return waitedInVain(x, message.UpstreamConnectTime)
}

// dial is entered with the lock held and releases it.
func (m *multiplex) dial(x *message.Exchange) (conn *http2.ClientConn, last bool, _ *http1.Failure) {
	if len(m.open) >= m.endpoint.pool.upstream.config.MaxConnections {
		m.mu.Unlock()
		return nil, false, &http1.Failure{Problem: message.UpstreamBusy}
	}
	m.opening = make(chan struct{})
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
	close(m.opening)
	m.opening = nil
	if failure != nil {
		return nil, false, failure
	}
	m.add(c)
	return c, m.closed, nil
}

// add takes a connection up; the lock is held. One that has ended already is not: nobody would take
// it out again. Nor is one that comes after close.
func (m *multiplex) add(c *http2.ClientConn) {
	if m.closed || c.Closed() {
		return
	}
	m.open = append(m.open, c)
	if m.sweeper == nil {
		m.sweeper = time.AfterFunc(m.endpoint.pool.upstream.config.IdleTimeout, m.sweep)
	}
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
func (m *multiplex) Freed(*http2.ClientConn) { m.endpoint.leave() }

// Dead implements http2.ConnPool.
func (m *multiplex) Dead(c *http2.ClientConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, open := range m.open {
		if open == c {
			m.open = append(m.open[:i], m.open[i+1:]...)
			return
		}
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
	if m.sweeper != nil {
		m.sweeper.Stop()
	}
	m.mu.Unlock()
	for _, c := range open {
		c.Retire()
	}
}
