package rig

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"
)

// Wire is one way in which a client reaches the gateway, or the gateway an origin.
type Wire struct {
	Name    string
	Version string // of HTTP: 1.1, 2, 3
	TLS     bool
}

// Wires are those that the gateway speaks with clients; Origins those that a
// scripted origin speaks.
var (
	Wires = []Wire{
		{Name: "h1", Version: "1.1"},
		{Name: "h1-tls", Version: "1.1", TLS: true},
		{Name: "h2", Version: "2", TLS: true},
		{Name: "h2c", Version: "2"},
		{Name: "h3", Version: "3", TLS: true},
	}
	Origins = []Wire{
		{Name: "h1", Version: "1.1"},
		{Name: "h2c", Version: "2"},
	}
)

// Is says whether a word means this wire: its name, or http1, http2, http3 or tls.
func (w Wire) Is(word string) bool {
	return word == w.Name || word == "http"+w.Version[:1] || word == "tls" && w.TLS
}

// Scheme is the scheme of what is asked over this wire.
func (w Wire) Scheme() string {
	if w.TLS {
		return "https"
	}
	return "http"
}

// alpn is the name of the protocol in a handshake (RFC 7301).
func (w Wire) alpn() string {
	if w.Version == "2" {
		return "h2"
	}
	return "http/1.1"
}

// Known says whether some wire is meant by a word.
func Known(word string) bool {
	return slices.ContainsFunc(Wires, func(w Wire) bool { return w.Is(word) })
}

// Connect connects a client to an address, from an address if one is given.
func (w Wire) Connect(to, from string) (Peer, error) {
	if w.Version == "3" {
		return dialHTTP3(to, from)
	}
	c, err := Dial(to, from)
	if err != nil {
		return nil, err
	}
	if w.TLS {
		if err := c.secure(w.alpn()); err != nil {
			c.Drop()
			return nil, err
		}
	}
	if w.Version == "2" {
		return newHTTP2(c, w.Scheme(), false)
	}
	return &http1{Conn: c}, nil
}

// Serve takes over a connection that an origin has accepted.
func (w Wire) Serve(raw *net.TCPConn) (Peer, error) {
	if w.Version == "2" {
		return newHTTP2(NewConn(raw), w.Scheme(), true)
	}
	return &http1{Conn: NewConn(raw)}, nil
}

// secure makes a client's handshake. Nobody vouches for the gateway's certificate.
func (c *Conn) secure(alpn string) error {
	t := tls.Client(c.raw, &tls.Config{ServerName: "example.com", NextProtos: []string{alpn}, InsecureSkipVerify: true})
	if err := t.SetDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	if err := t.Handshake(); err != nil {
		return fmt.Errorf("the handshake: %w", err)
	}
	if got := t.ConnectionState().NegotiatedProtocol; got != alpn {
		return fmt.Errorf("the gateway chose %q, not %s", got, alpn)
	}
	c.carry(t)
	return t.SetDeadline(time.Time{})
}
