package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// sharedSocket may pass from a listener to its successor under another name.
type sharedSocket struct {
	net.Listener
	users int // changed by the goroutine that loads configurations only
}

// listener accepts the connections of one socket.
type listener struct {
	set     *Set
	spec    Spec // Name and Address never change
	socket  *sharedSocket
	server  *http1.Server
	metrics Metrics
	max     atomic.Int64
	stopped atomic.Bool
	retired atomic.Bool // another listener has the socket now
	done    chan struct{}
}

func newListener(s *Set, spec Spec, socket *sharedSocket) *listener {
	l := &listener{set: s, spec: spec, socket: socket, done: make(chan struct{})}
	l.server = http1.NewServer(spec.Name, spec.Limits, s.handler)
	l.metrics = s.metrics(spec.Name)
	l.max.Store(int64(spec.MaxConnections))
	return l
}

func (l *listener) setLimits(spec Spec) {
	l.server.SetLimits(spec.Limits)
	l.max.Store(int64(spec.MaxConnections))
}

// The pauses after an accept that failed because descriptors or memory are used
// up: clients wait in the kernel's queue meanwhile.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// accept takes connections until the listener is stopped.
func (l *listener) accept() {
	defer close(l.done)
	pause := firstPause
	for {
		nc, err := l.socket.Accept()
		if err == nil {
			pause = firstPause
			l.admit(nc)
			if l.retired.Load() {
				return
			}
			continue
		}
		if l.stopped.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		l.set.logger.Error("accept", "listener", l.spec.Name, "error", err, "pause", pause.String())
		time.Sleep(pause)
		pause = min(2*pause, lastPause)
	}
}

// admit serves a connection, or refuses it where the listener is full.
func (l *listener) admit(nc net.Conn) {
	if limit := l.max.Load(); limit > 0 && int64(l.server.Connections()) >= limit {
		l.metrics.Refused()
		refuse(nc)
		return
	}
	l.metrics.Opened(0)
	l.server.Admit()
	go func() {
		defer l.metrics.Closed(0)
		l.server.ServeConn(nc, netip.AddrPort{})
	}()
}

// refuse answers without reading or waiting: a full gateway has no time for more.
func refuse(nc net.Conn) {
	_ = nc.SetDeadline(time.Now().Add(time.Millisecond))
	_, _ = nc.Write([]byte(refusal))
	_ = nc.Close()
}

var refusal = http1.Refusal(message.TooManyConnections)

// stop ends accepting and drains. What had arrived in the kernel's queue before
// is still served.
func (l *listener) stop() {
	l.stopped.Store(true)
	l.retired.Store(l.socket.users > 1)
	if l.socket.users--; l.socket.users == 0 {
		if d, ok := l.socket.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			_ = d.SetDeadline(time.Now().Add(firstPause))
			<-l.done
		}
		_ = l.socket.Close()
	}
	l.server.Drain()
}
