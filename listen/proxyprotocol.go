package listen

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
)

// ProxyProtocol says whether connections begin with a header of the PROXY protocol.
type ProxyProtocol uint8

// With ProxyAccept a trusted proxy may send a header; with ProxyRequire there are only
// connections of trusted proxies, and each begins with one.
const (
	ProxyOff ProxyProtocol = iota
	ProxyAccept
	ProxyRequire
)

// Why a connection was refused, for Metrics.ProxyProtocolRefused.
const (
	ProxyUntrusted = "untrusted" // the peer is no trusted proxy
	ProxyMissing   = "missing"   // something else came
	ProxyMalformed = "malformed"
	ProxyTimeout   = "timeout" // it did not come to its end in time
	ProxyClosed    = "closed"  // the peer left before its end
)

// proxyTimeout is how long a header may take where the listener has no time for heads.
const proxyTimeout = 10 * time.Second

// proxyRule is what a listener wants of its peers.
type proxyRule struct {
	require bool
	trusted []netip.Prefix
	within  time.Duration
}

// newProxyRule is nil where there is nothing to look at. within is the listener's time for
// heads.
func newProxyRule(mode ProxyProtocol, trusted []netip.Prefix, within time.Duration) *proxyRule {
	if mode == ProxyOff {
		return nil
	}
	if within <= 0 {
		within = proxyTimeout
	}
	return &proxyRule{mode == ProxyRequire, slices.Clone(trusted), within}
}

// welcome finds out whose connection it is and serves it to its end, or refuses it.
func (l *listener) welcome(nc net.Conn) {
	client, refused := l.introduced(nc)
	if refused != "" {
		l.metrics.ProxyProtocolRefused(refused)
		l.turnAway(nc)
		return
	}
	l.serve(nc, client)
}

// believes says whether a header of this connection would be believed.
func (r *proxyRule) believes(nc net.Conn) bool {
	peer, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := peer.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(r.trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// introductions are the connections of a listener that no wire knows yet: a header of a
// proxy is awaited, a handshake, or the first bytes that say which wire. They are kept
// here to be told that the listener ends.
type introductions struct {
	rule atomic.Pointer[proxyRule]

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	until time.Time // nothing of this may take longer; the zero value is no limit
}

// introduced finds out whose connection it is before anything else reads from it. client
// is the zero value where the connection's own address counts. Where refused is not ""
// the connection is to be closed.
//
// Where a header is only accepted, a peer that has not sent a whole signature in time
// speaks HTTP; what it sent stays in the socket.
func (i *introductions) introduced(nc net.Conn) (client netip.AddrPort, refused string) {
	rule := i.rule.Load()
	if rule == nil {
		return client, ""
	}
	if !rule.believes(nc) {
		if rule.require {
			return client, ProxyUntrusted
		}
		return client, ""
	}
	i.add(nc, time.Now().Add(rule.within))
	defer i.remove(nc)
	seen, h, err := readHeader(nc)
	var ne net.Error
	switch {
	case err == nil:
		return h.Ends.Source, ""
	case !rule.require && !proxyprotocol.Begun(seen):
		return client, ""
	case errors.Is(err, proxyprotocol.ErrNone):
		return client, ProxyMissing
	case errors.As(err, &ne) && ne.Timeout():
		return client, ProxyTimeout
	case errors.As(err, &ne), errors.Is(err, io.EOF):
		return client, ProxyClosed
	}
	return client, ProxyMalformed
}

// errNoSocket is a connection on which nobody can look ahead.
var errNoSocket = errors.New("listen: a PROXY protocol header can be read from a socket only")

// readHeader takes the header from a connection and not a byte more: it looks at what has
// arrived, and takes it when it is whole. So the socket itself goes on to the wire. After
// an error nothing is taken; seen is then what was there, up to the longest line.
func readHeader(nc net.Conn) (seen []byte, h proxyprotocol.Header, err error) {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return nil, h, errNoSocket
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, h, err
	}
	buf := make([]byte, proxyprotocol.MaxText)
	var n, length int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			switch {
			case failed == syscall.EINTR:
				continue
			case failed == syscall.EAGAIN:
				n, failed = 0, nil
				return false
			case failed != nil:
				n, failed = 0, &net.OpError{Op: "read", Net: "tcp", Err: failed}
				return true
			case n == 0:
				failed = io.EOF
				return true
			}
			h, length, failed = proxyprotocol.Parse(buf[:n])
			if failed != proxyprotocol.ErrShort {
				return true
			}
			if length <= len(buf) {
				return false // The poller tells when more has arrived.
			}
			buf = make([]byte, length) // There may be more already.
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		_, err = io.ReadFull(nc, buf[:length])
	}
	return buf[:n], h, err
}

func (i *introductions) add(nc net.Conn, until time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.conns == nil {
		i.conns = map[net.Conn]struct{}{}
	}
	i.conns[nc] = struct{}{}
	if !i.until.IsZero() && i.until.Before(until) {
		until = i.until
	}
	_ = nc.SetReadDeadline(until)
}

// remove leaves the connection without a deadline, as its wire expects it.
func (i *introductions) remove(nc net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.conns, nc)
	_ = nc.SetReadDeadline(time.Time{})
}

// hurry gives all that wait, and those that will, no longer than until.
func (i *introductions) hurry(until time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.until = until
	for nc := range i.conns {
		_ = nc.SetReadDeadline(until)
	}
}

// lastIntroduction is how long a header or a handshake may take when the listener ends.
const lastIntroduction = time.Second
