package upstream

import (
	"net"
	"net/netip"

	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// A connection that begins with a header of the PROXY protocol carries requests of the
// one client connection that the header tells of, and no other: an origin takes
// every request on it for that client's.

// endsOf are what the origin is told: the client's address as the gateway believes it, and
// the address that it came in by. A client known from X-Forwarded-For only has no port,
// and 0 stands for it.
func endsOf(x *message.Exchange) proxyprotocol.Ends {
	client := &x.Client
	if !client.Address.IsValid() || !client.Local.IsValid() {
		return proxyprotocol.Ends{}
	}
	port := uint16(0)
	if client.Address == client.Peer.Addr() {
		port = client.Peer.Port()
	}
	return proxyprotocol.Ends{Source: netip.AddrPortFrom(client.Address, port), Destination: client.Local}
}

// usable is the index of the idle connection that x is to use, -1 if there is none: the
// one that was used last, of those that the origin takes for this client's. The
// lock is held.
func (p *pool) usable(x *message.Exchange) int {
	i := len(p.idle) - 1
	for i >= 0 && !p.fits(p.idle[i], x) {
		i--
	}
	return i
}

// fits says whether a connection may carry the requests of x.
func (p *pool) fits(c *http1.ClientConn, x *message.Exchange) bool {
	return p.upstream.config.ProxyProtocol == 0 || c.For != nil && *c.For == endsOf(x)
}

// introduce tells the origin whose connection this is. The socket is new, so its buffer
// takes the few bytes at once.
func (p *pool) introduce(nc net.Conn, x *message.Exchange) (*proxyprotocol.Ends, error) {
	version := p.upstream.config.ProxyProtocol
	if version == 0 {
		return nil, nil
	}
	ends := endsOf(x)
	_, err := nc.Write(proxyprotocol.Append(make([]byte, 0, proxyprotocol.MaxText), version, ends))
	return &ends, err
}

// displace makes room for c among the idle connections where there is none: those of
// clients that have left would stand in the way of all others. The lock is held.
func (p *pool) displace(c *http1.ClientConn) (old *http1.ClientConn) {
	if p.upstream.config.ProxyProtocol == 0 || p.closed || len(p.idle) == 0 {
		return c
	}
	old = p.idle[0]
	p.idle = append(append(p.idle[:0], p.idle[1:]...), c)
	return old
}
