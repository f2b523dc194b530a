package upstream

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/sluice-gateway/sluice/message"
)

// Security has the TLS settings for connections to origins; *certificates.Origin
// is one. Config is called for each new connection, on any goroutine; host is the
// endpoint's.
type Security interface{ Config(host string) *tls.Config }

// Secure says how to speak TLS to the endpoints that want it. It is called before the
// upstream is used.
func (u *Upstream) Secure(s Security) { u.security = s }

// protect agrees on TLS with an endpoint that wants it. onlyHTTP1 offers nothing else, whatever
// the upstream speaks.
func (p *pool) protect(ctx context.Context, cancel context.CancelFunc, nc net.Conn, x *message.Exchange, onlyHTTP1 bool) (net.Conn, error) {
	if !p.endpoint.secure || p.upstream.security == nil {
		return nc, nil
	}
	host, _, err := net.SplitHostPort(p.endpoint.address)
	if err != nil {
		return nc, err
	}
	config := p.upstream.security.Config(host)
	if onlyHTTP1 && len(config.NextProtos) > 1 {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
	}
	secure := tls.Client(nc, config)
	x.Wire().Await(cancelFunc(cancel))
	err = secure.HandshakeContext(ctx)
	x.Wire().Arrived()
	if err != nil && !x.Wire().Gone() {
		p.complain(x, err)
	}
	return secure, err
}

// complain logs why TLS could not be agreed on with an endpoint: the client is not told which
// names and authorities the origin has. It is at most one line a second for each endpoint.
func (p *pool) complain(x *message.Exchange, err error) {
	u := p.upstream
	if skipped, ok := u.complaints.Allow(p.endpoint.address, x.Now()); ok {
		u.logger.Warn("no TLS with an origin", "endpoint", p.endpoint.address, "error", err, "not_logged_before", skipped)
	}
}
