package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/sluice-gateway/sluice/listen/certificates"
)

// handshakeTimeout is how long a client may take to agree on TLS.
const handshakeTimeout = 10 * time.Second

// protocols of ALPN (RFC 7301) and of Spec.Protocols.
const (
	HTTP1 = "http/1.1"
	HTTP2 = "h2"
)

// has says whether the listener speaks a protocol.
func (s *Spec) has(protocol string) bool {
	for _, p := range s.Protocols {
		if p == protocol {
			return true
		}
	}
	return protocol == HTTP1 && len(s.Protocols) == 0
}

// certificatesSpec is the listener's TLS with the protocols that it offers.
func (s *Spec) certificatesSpec() certificates.Spec {
	c := *s.TLS
	c.Protocols = nil
	if s.has(HTTP2) {
		c.Protocols = append(c.Protocols, HTTP2)
	}
	if s.has(HTTP1) {
		c.Protocols = append(c.Protocols, HTTP1)
	}
	return c
}

// serve finds out what a connection speaks and serves it to its end.
func (l *listener) serve(nc net.Conn, client netip.AddrPort) {
	speaks := l.speaks.Load()
	if speaks.store != nil {
		l.serveTLS(nc, client, speaks)
		return
	}
	if speaks.h2 && l.beginsHTTP2(nc, speaks.h1) {
		l.serveHTTP2(nc, client)
		return
	}
	l.server.ServeConn(nc, client)
}

// sniffTimeout is how long a client may take for its first bytes where they decide
// what it speaks.
const sniffTimeout = 10 * time.Second

// beginsHTTP2 looks at the first bytes of a plain connection, within their time.
func (l *listener) beginsHTTP2(nc net.Conn, otherwise bool) bool {
	if !otherwise {
		return true
	}
	l.add(nc, time.Now().Add(sniffTimeout))
	defer l.remove(nc)
	return sniff(nc)
}

// serveHTTP2 serves a connection that was counted as one of HTTP/1.
func (l *listener) serveHTTP2(nc net.Conn, client netip.AddrPort) {
	l.h2.Admit()
	l.server.Leave()
	l.h2.ServeConn(nc, client)
	l.ended()
}

// speaks is what a listener speaks at the moment.
type speaks struct {
	store  *certificates.Store // nil without TLS
	h1, h2 bool
}

func (l *listener) serveTLS(nc net.Conn, client netip.AddrPort, speaks *speaks) {
	secure, err := l.handshake(nc, speaks.store)
	if err != nil {
		l.noHandshake(nc, err)
		return
	}
	state := secure.ConnectionState()
	if certificates.IsChallenge(&state) { // An authority has seen what it came for.
		l.turnAway(secure)
		return
	}
	if state.NegotiatedProtocol == HTTP2 {
		l.serveHTTP2(secure, client)
		return
	}
	l.server.ServeConn(secure, client)
}

// noHandshake ends a connection that has not agreed on TLS. Where we have said why, as of a
// certificate that the client has not shown, the client may have sent a request already (RFC
// 8446 §4.4.2.4), and must not lose what we said to a reset.
func (l *listener) noHandshake(nc net.Conn, err error) {
	l.metrics.HandshakeFailed()
	var theirs net.Error
	if !errors.As(err, &theirs) && !errors.Is(err, io.EOF) {
		l.add(nc, time.Now().Add(refusalTime))
		linger(nc)
		l.remove(nc)
	}
	l.turnAway(nc)
}

var errNoCertificates = errors.New("listen: the listener has no certificates yet")

// handshake agrees on TLS, within its time. The context is for handshakes that wait for
// something else than the client: a certificate on demand.
func (l *listener) handshake(nc net.Conn, store *certificates.Store) (*tls.Conn, error) {
	config := store.Config()
	if config == nil {
		return nil, errNoCertificates
	}
	by := time.Now().Add(handshakeTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	l.add(nc, by)
	defer l.remove(nc)
	secure := tls.Server(nc, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure, nil
}
