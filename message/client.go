package message

import (
	"crypto/tls"
	"net"
	"net/netip"
)

// ClientOf is who is at the other end of a connection that came in over a listener. told
// is the address behind the connection where something in front of us told it
// (PROXY protocol), otherwise the zero value. A TLS connection must have made its
// handshake.
func ClientOf(nc net.Conn, told netip.AddrPort, listener string) Client {
	c := Client{Listener: listener}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.Peer = plainAddress(a.AddrPort())
	}
	if a, ok := nc.LocalAddr().(*net.TCPAddr); ok {
		c.Local = plainAddress(a.AddrPort())
	}
	if told.IsValid() {
		c.Peer = plainAddress(told)
	}
	c.Address = c.Peer.Addr()
	if c.Address.IsValid() {
		c.AddressText = c.Address.String()
	}
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.TLS = TLSOf(&state)
	}
	return c
}

// ClientAt is ClientOf for a wire that has no net.Conn. The handshake behind state must be complete
// as far as the client's certificate is concerned.
func ClientAt(peer, local netip.AddrPort, state *tls.ConnectionState, listener string) Client {
	c := Client{Listener: listener, Peer: plainAddress(peer), Local: plainAddress(local), TLS: TLSOf(state)}
	c.Address = c.Peer.Addr()
	if c.Address.IsValid() {
		c.AddressText = c.Address.String()
	}
	return c
}

// plainAddress has neither the IPv6 form of an IPv4 address nor a zone: addresses are
// compared with those of the configuration.
func plainAddress(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
