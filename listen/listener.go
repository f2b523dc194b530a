package listen

import (
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/wire/http1"
	"github.com/sluice-gateway/sluice/wire/http2"
	"github.com/sluice-gateway/sluice/wire/http3"
)

// socket accepts connections for the listener that owns it. It may pass from a
// listener to its successor under another name.
type socket struct {
	net.Listener
	owner   atomic.Pointer[listener]
	logger  *slog.Logger
	stopped chan struct{} // closed by stop
	done    chan struct{} // closed when nothing is accepted any more
	udp     *packets      // beside it, or nil; changed by whoever changes the listeners
	kept    atomic.Bool   // another process accepts what waits in the kernel's queue
}

func newSocket(l net.Listener, logger *slog.Logger) *socket {
	return &socket{Listener: l, logger: logger, stopped: make(chan struct{}), done: make(chan struct{})}
}

// listener serves the connections of one socket.
type listener struct {
	spec    Spec // Name and Address never change
	socket  *socket
	server  *http1.Server
	h2      *http2.Server
	h3      *http3.Server
	speaks  atomic.Pointer[speaks]
	metrics Metrics
	max     atomic.Int64
	keep    time.Duration // what Yield gives those without an exchange; 0 else

	refusals *refusals
	introductions
}

func newListener(s *Set, spec Spec, from *socket) *listener {
	l := &listener{spec: spec, socket: from, refusals: &s.refusals}
	l.server = http1.NewServer(spec.Name, spec.Limits, s.handler)
	l.h2 = http2.NewServer(spec.Name, spec.HTTP2, s.handler)
	l.h3 = http3.NewServer(spec.Name, spec.HTTP3, s.handler)
	l.metrics = s.metrics(spec.Name)
	l.server.Ended = l.ended
	l.max.Store(int64(spec.MaxConnections))
	l.speaks.Store(&speaks{h1: true}) // Until adopt says more.
	return l
}

// connections is the number of connections over all wires.
func (l *listener) connections() int {
	return l.server.Connections() + l.h2.Connections() + l.h3.Connections()
}

// adopt changes what may change while the listener runs; connections that exist
// keep what they were promised.
func (l *listener) adopt(spec Spec, store *certificates.Store) {
	l.speaks.Store(&speaks{store: store, h1: spec.has(HTTP1), h2: spec.has(HTTP2)})
	l.rule.Store(newProxyRule(spec.ProxyProtocol, spec.TrustedProxies, spec.Limits.HeadTimeout))
	l.server.SetLimits(spec.Limits)
	l.h2.SetLimits(spec.HTTP2)
	l.h3.SetLimits(spec.HTTP3)
	l.max.Store(int64(spec.MaxConnections))
}

// announce makes answers say that HTTP/3 is spoken here, or no longer say so.
func (l *listener) announce(speaks bool) {
	text := ""
	if speaks && l.socket.udp != nil {
		text = l.socket.udp.altSvc()
		l.h3.Resume()
	}
	l.server.AltSvc.Set(text)
	l.h2.AltSvc.Set(text)
	l.h3.AltSvc.Set(text)
}

// The pauses after an accept that failed because descriptors or memory are used
// up: clients wait in the kernel's queue meanwhile.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// accept takes connections until the socket is stopped.
func (s *socket) accept() {
	defer close(s.done)
	pause := firstPause
	for {
		nc, err := s.Accept()
		if err == nil {
			pause = firstPause
			s.owner.Load().admit(nc)
			continue
		}
		if s.isStopped() || errors.Is(err, net.ErrClosed) {
			return
		}
		s.logger.Error("accept", "listener", s.owner.Load().spec.Name, "error", err, "pause", pause.String())
		select {
		case <-time.After(pause):
		case <-s.stopped:
		}
		pause = min(2*pause, lastPause)
	}
}

func (s *socket) isStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// stop ends accepting. What had arrived in the kernel's queue before is still
// taken, unless somebody else will.
func (s *socket) stop() {
	if !s.isStopped() {
		close(s.stopped)
	}
	if d, ok := s.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		pause := firstPause
		if s.kept.Load() {
			pause = 0
		}
		_ = d.SetDeadline(time.Now().Add(pause))
		<-s.done
	}
	_ = s.Close()
	<-s.done
	if s.udp != nil {
		s.udp.stop()
	}
}

// admit serves a connection, or refuses it where the listener is full.
func (l *listener) admit(nc net.Conn) {
	if limit := l.max.Load(); limit > 0 && int64(l.connections()) >= limit {
		l.metrics.Refused()
		l.refusals.refuse(nc)
		return
	}
	l.metrics.Opened(0)
	l.server.Admit()
	go l.welcome(nc)
}

// ended is the end of a connection.
func (l *listener) ended() { l.metrics.Closed(0) }

// turnAway is the end of a connection that no wire was given.
func (l *listener) turnAway(nc net.Conn) {
	_ = nc.Close()
	l.server.Leave()
	l.ended()
}

// stop ends accepting, unless another listener has the socket now, and drains.
func (l *listener) stop() {
	if l.socket.owner.Load() == l {
		l.socket.stop()
	}
	l.hurry(time.Now().Add(max(lastIntroduction, l.keep)))
	l.server.Drain()
	l.h2.Drain()
	l.h3.Drain()
}
