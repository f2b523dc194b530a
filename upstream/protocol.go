package upstream

import (
	"time"

	"crypto/tls"
	"errors"
	"net"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
	"github.com/sluice-gateway/sluice/wire/http2"
)

// spoken is what an endpoint has agreed on by ALPN. It is remembered with Auto, until another
// connection agrees on something else.
type spoken uint32

const (
	spokenUnknown spoken = iota
	spokenHTTP1
	spokenHTTP2
)

func (e *Endpoint) spoken() spoken { return spoken(e.speaks.Load()) }

// negotiated is what a new connection has agreed on.
func negotiated(nc net.Conn) spoken {
	secure, ok := nc.(*tls.Conn)
	switch {
	case !ok:
		return spokenUnknown
	case secure.ConnectionState().NegotiatedProtocol == "h2":
		return spokenHTTP2
	}
	return spokenHTTP1
}

// otherProtocol says that a connection was opened which speaks the other protocol than was hoped for. It has
// been handed to where it belongs, and is to be looked for there.
var otherProtocol = &http1.Failure{Problem: message.UpstreamProtocol}

// Clear problems, with what to change.
var (
	errNotAgreed  = message.UpstreamProtocol.WithDetail("the origin has not agreed to HTTP/2 (ALPN): set protocol of the upstream to auto or http/1.1")
	errNotOffered = message.UpstreamProtocol.WithDetail("the origin speaks none of the protocols that it was offered (ALPN): look at protocol of the upstream")
	errRequired   = message.UpstreamProtocol.WithDetail("the origin wants this request over HTTP/1.1: set protocol of the upstream to auto or http/1.1")
	errNoTunnels  = message.UpstreamProtocol.WithDetail("the origin takes no WebSockets over HTTP/2 (RFC 8441): set protocol of the upstream to auto (over TLS) or http/1.1")
	errHTTP2      = message.UpstreamProtocol.WithDetail("the origin answers in HTTP/2: set protocol of the upstream to h2")
	errHTTP1      = message.UpstreamProtocol.WithDetail("the origin answers in HTTP/1: set protocol of the upstream to http/1.1")
	errUnsteady   = message.UpstreamProtocol.WithDetail("the origin agrees on another protocol with each connection")
)

// nothingAgreed says that a server wants none of what it was offered: its alert is
// no_application_protocol (RFC 7301 §3.2), which has no type of its own over TCP.
func nothingAgreed(err error) bool {
	const noApplicationProtocol tls.AlertError = 120
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error" && remote.Err.Error() == noApplicationProtocol.Error()
}

// check looks at what a connection has agreed on that was opened for HTTP/2. One that speaks
// HTTP/1.1 goes to the pool, if the endpoint may.
func (e *Endpoint) check(nc net.Conn) *http1.Failure {
	if negotiated(nc) != spokenHTTP1 {
		e.speaks.Store(uint32(spokenHTTP2))
		return nil
	}
	if e.pool.upstream.config.Protocol == HTTP2 {
		_ = nc.Close()
		return &http1.Failure{Problem: errNotAgreed}
	}
	e.speaks.Store(uint32(spokenHTTP1))
	e.pool.adopt(nc)
	return otherProtocol
}

// adopt takes over a connection that turned out to speak HTTP/1.1.
func (p *pool) adopt(nc net.Conn) {
	p.mu.Lock()
	full := p.open >= p.upstream.config.MaxConnections
	if !full {
		p.open++
	}
	p.mu.Unlock()
	if full {
		_ = nc.Close()
		return
	}
	p.giveBack(http1.NewClientConn(nc, &p.upstream.config.Limits, p.endpoint))
}

// mostSwitches bounds how often an exchange follows an origin that changes its mind.
const mostSwitches = 4

// try asks one endpoint, over what it speaks.
func (u *Upstream) try(x *message.Exchange, e *Endpoint, req *message.Request, resp *message.Response, began time.Duration) *http1.Failure {
	if e.h2 == nil {
		failure := u.tryHTTP1(x, e, req, resp, began)
		if failure != nil && http1.AnswersHTTP2(failure.Cause) {
			failure.Problem = errHTTP2
		}
		return failure
	}
	for range mostSwitches {
		failure := u.tryEither(x, e, req, resp, began)
		if failure != otherProtocol {
			return failure
		}
	}
	return &http1.Failure{Problem: errUnsteady}
}

// tryEither asks over what was spoken last. Where the origin wants a request over HTTP/1.1, or a tunnel
// cannot be had otherwise, it gets that, and HTTP/2 stays for the others.
func (u *Upstream) tryEither(x *message.Exchange, e *Endpoint, req *message.Request, resp *message.Response, began time.Duration) *http1.Failure {
	if e.spoken() == spokenHTTP1 {
		return u.tryHTTP1(x, e, req, resp, began)
	}
	failure := u.tryHTTP2(x, e, req, resp, began)
	if failure == nil {
		return nil
	}
	if http2.AnswersHTTP1(failure.Cause) {
		failure.Problem = errHTTP1
		return failure
	}
	required, tunnel := http2.WantsHTTP1(failure.Cause), http2.NoTunnels(failure.Cause)
	if !required && !tunnel {
		return failure
	}
	if u.config.Protocol == Auto && sendable(failure, req) {
		return u.tryHTTP1(x, e, req, resp, began)
	}
	failure.Problem = errRequired
	if tunnel {
		failure.Problem = errNoTunnels
	}
	return failure
}
