// Package proxyprotocol reads and writes the header with which a proxy tells, in front
// of everything else on a connection, whose connection it passes on: the PROXY
// protocol, version 1 (a line of text) and version 2 (binary). It does no I/O.
//
// Parsing is strict, because the client's address decides what it may do: where
// the specification lets a receiver choose, what is doubtful is refused.
package proxyprotocol

import (
	"bytes"
	"errors"
	"net/netip"
)

// Ends are the two ends of a connection. Either both are valid or none.
type Ends struct{ Source, Destination netip.AddrPort }

// Header is what a header says.
type Header struct {
	Version int // 1 or 2
	// Ends are of the connection that is passed on. They are the zero value where the
	// sender speaks for itself (LOCAL) or does not know or cannot say them (UNKNOWN,
	// an unspecified family, a Unix socket): then the ends of the connection count
	// that carries the header.
	Ends Ends
}

// The limits of a header in bytes. That of version 1 is the specification's; version 2
// could announce 64 KiB, of which certificates in extensions need the most.
const (
	MaxText   = 107
	MaxBinary = 4096
)

// ErrNone says that the bytes are no header, ErrShort that they are the beginning
// of one. Any other error of Parse is a header that is malformed.
var (
	ErrNone  = errors.New("proxyprotocol: there is no header")
	ErrShort = errors.New("proxyprotocol: the header is not complete")
)

const (
	signatureText   = "PROXY "
	signatureBinary = "\r\n\r\n\x00\r\nQUIT\n"
)

// Parse reads the header at the beginning of b; listen calls it with what has arrived.
// n is the length of the header. With ErrShort it is the number of bytes that are
// needed at least for another try.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case bytes.HasPrefix(b, []byte(signatureText)):
		return parseText(b)
	case bytes.HasPrefix(b, []byte(signatureBinary)):
		return parseBinary(b)
	case len(b) < len(signatureText) && signatureText[:len(b)] == string(b),
		len(b) < len(signatureBinary) && signatureBinary[:len(b)] == string(b):
		return Header{}, len(b) + 1, ErrShort
	}
	return Header{}, 0, ErrNone
}

// Begun says whether b begins with a whole signature: what follows can be nothing but a
// header.
func Begun(b []byte) bool {
	return bytes.HasPrefix(b, []byte(signatureText)) || bytes.HasPrefix(b, []byte(signatureBinary))
}

// Append writes a header of version 1 or 2 for a connection; without valid ends it says
// that they are not known. One end of IPv4 and one of IPv6 are both written as IPv6.
func Append(b []byte, version int, ends Ends) []byte {
	ends = ends.oneFamily()
	if version == 1 {
		return appendText(b, ends)
	}
	return appendBinary(b, ends)
}

// oneFamily makes both ends IPv4 or both IPv6, without zones; no ends if one is missing.
func (e Ends) oneFamily() Ends {
	if !e.Source.IsValid() || !e.Destination.IsValid() {
		return Ends{}
	}
	source, destination := e.Source.Addr().Unmap().WithZone(""), e.Destination.Addr().Unmap().WithZone("")
	if source.Is4() != destination.Is4() {
		source, destination = netip.AddrFrom16(source.As16()), netip.AddrFrom16(destination.As16())
	}
	return Ends{netip.AddrPortFrom(source, e.Source.Port()), netip.AddrPortFrom(destination, e.Destination.Port())}
}
