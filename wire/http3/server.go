// Package http3 is HTTP/3 (RFC 9114) for the clients of the gateway: Server carries the exchanges of
// QUIC connections. QUIC itself is that of quic-go; frames, field sections (QPACK, RFC 9204) and
// what a client may do with them are ours, because what two parsers could read differently is
// refused here as in HTTP/1.
//
// One goroutine takes the streams of a connection, and each exchange runs on a goroutine of its own,
// taken from a few that are parked: it reads its stream, asks the origin and writes the answer.
// Who does not read holds up his own stream through the flow control of QUIC.
package http3

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/internal/date"
	"github.com/sluice-gateway/sluice/internal/workers"
	"github.com/sluice-gateway/sluice/message"
)

// Protocol is the name of HTTP/3 in ALPN (RFC 9114 §3.1).
const Protocol = "h3"

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
	patrol   patrol
}

// NewServer returns a server; SetLimits may change its limits at any time.
func NewServer(listener string, limits Limits, handler message.Handler) *Server {
	s := &Server{Handler: handler, Listener: listener, Counters: new(Counters)}
	s.SetLimits(limits)
	return s
}

// SetLimits changes the limits of the connections that come from now on: those that are
// there were promised theirs.
func (s *Server) SetLimits(limits Limits) {
	limits = limits.withDefaults()
	s.limits.Store(&limits)
}

// Resume takes Drain back for the connections that come from now on.
func (s *Server) Resume() { s.draining.Store(false) }

// Config is how the next connection is to speak QUIC.
func (s *Server) Config() *quic.Config { return s.limits.Load().quicConfig() }

// Admit counts a connection that is going to be served: the number is right before its
// goroutine has begun.
func (s *Server) Admit() { s.admitted.Add(1) }

// Leave takes Admit back: the connection is not served.
func (s *Server) Leave() { s.admitted.Add(-1) }

// Connections is the number of connections that were admitted and have not ended.
func (s *Server) Connections() int { return int(s.admitted.Load()) }

// ServeConn serves a connection to its end, on the calling goroutine, and closes it. Admit comes
// before. The handshake need not be complete: what comes before that is early data (RFC 8470).
func (s *Server) ServeConn(qc *quic.Conn) {
	c := &serverConn{server: s, limits: s.limits.Load(), quic: qc, shard: s.shard.Add(1)}
	s.workers.Join()
	s.patrol.add(c)
	if !s.closed.Load() { // Close may have looked before we were there.
		c.serve()
	}
	s.patrol.remove(c)
	s.workers.Leave()
	_ = qc.CloseWithError(quic.ApplicationErrorCode(NoError), "")
	s.admitted.Add(-1)
}

// Drain asks clients to send no further requests, and ends connections when their
// exchanges are over. It happens in two steps (RFC 9114 §5.2): what a client sends
// before it has heard the first one is served.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.patrol.each((*serverConn).drain)
}

// Close cuts all connections.
func (s *Server) Close() {
	s.draining.Store(true)
	s.closed.Store(true)
	s.patrol.each(func(c *serverConn) { c.fail(&fault{code: NoError}) })
}

// patrol knows all connections of a server. While there are any it walks past them from time to
// time and looks whether a client has gone, is too slow, or has nothing to do: that is cheaper
// than a timer for each wait.
type patrol struct {
	mu    sync.Mutex
	conns map[*serverConn]struct{}
	stop  chan struct{}
}

// patrolEvery is the time between two rounds: what is late is noticed after one to two of them.
const patrolEvery = 250 * time.Millisecond

func (p *patrol) add(c *serverConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = make(map[*serverConn]struct{})
	}
	p.conns[c] = struct{}{}
	if len(p.conns) == 1 {
		p.stop = make(chan struct{})
		go p.walk(p.stop)
	}
}

func (p *patrol) remove(c *serverConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	if len(p.conns) == 0 {
		close(p.stop)
	}
}

// each calls do for all connections.
func (p *patrol) each(do func(c *serverConn)) {
	p.mu.Lock()
	all := make([]*serverConn, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}

func (p *patrol) walk(stop chan struct{}) {
	ticker := time.NewTicker(patrolEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			now := clock()
			p.each(func(c *serverConn) { c.look(now) })
		}
	}
}

// clockStart makes clock small and monotonic.
var clockStart = time.Now()

// clock is the time in nanoseconds, never 0 and never going back.
func clock() int64 { return int64(time.Since(clockStart)) + 1 }

// clientOf is who is at the other end of a connection.
func clientOf(qc *quic.Conn, listener string) message.Client {
	state := qc.ConnectionState()
	return message.ClientAt(addrPort(qc.RemoteAddr()), addrPort(qc.LocalAddr()), &state.TLS, listener)
}

// addrPort takes an address apart; all of QUIC's are those of UDP.
func addrPort(a interface{ String() string }) netip.AddrPort {
	if u, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return u.AddrPort()
	}
	return netip.AddrPort{}
}
