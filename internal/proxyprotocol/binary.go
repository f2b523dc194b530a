package proxyprotocol

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
)

var (
	errVersion   = errors.New("proxyprotocol: the version is not 2")
	errCommand   = errors.New("proxyprotocol: the command is neither LOCAL nor PROXY")
	errFamily    = errors.New("proxyprotocol: the family and transport are none that version 2 has")
	errLong      = errors.New("proxyprotocol: the header is longer than 4096 bytes")
	errAddresses = errors.New("proxyprotocol: the header is too short for its addresses")
	errExtension = errors.New("proxyprotocol: an extension goes beyond the end of the header")
	errChecksum  = errors.New("proxyprotocol: the checksum is wrong, or there are two")
)

// The parts of a header of version 2.
const (
	fixedLength  = 16 // signature, version and command, family and transport, length of the rest
	commandLocal = 0x20
	commandProxy = 0x21

	familyUnspecified = 0x00
	inetStream        = 0x11
	inetDatagram      = 0x12
	inet6Stream       = 0x21
	inet6Datagram     = 0x22
	unixStream        = 0x31
	unixDatagram      = 0x32

	extensionChecksum = 0x03
	extensionHead     = 3 // type, length of the value
)

// parseBinary reads a header of version 2. The transport may be datagrams: proxies
// say so of clients that reached them over QUIC.
func parseBinary(b []byte) (h Header, n int, err error) {
	h.Version = 2
	if len(b) < fixedLength {
		return h, fixedLength, ErrShort
	}
	n = fixedLength + int(binary.BigEndian.Uint16(b[14:]))
	size, known := addressSize(b[13])
	switch {
	case b[12]>>4 != 2:
		return h, 0, errVersion
	case b[12] != commandLocal && b[12] != commandProxy:
		return h, 0, errCommand
	case n > MaxBinary:
		return h, 0, errLong
	case b[12] == commandProxy && !known:
		return h, 0, errFamily
	case b[12] == commandProxy && n-fixedLength < size:
		return h, 0, errAddresses
	case len(b) < n:
		return h, n, ErrShort
	case b[12] == commandLocal || b[13] == familyUnspecified:
		return h, n, nil // What follows means nothing.
	}
	if err := checkExtensions(b[:n], fixedLength+size); err != nil {
		return h, 0, err
	}
	h.Ends = endsOf(b[fixedLength : fixedLength+size])
	return h, n, nil
}

// addressSize is the size of both ends together.
func addressSize(family byte) (size int, known bool) {
	switch family {
	case familyUnspecified:
		return 0, true
	case inetStream, inetDatagram:
		return 2*4 + 2*2, true
	case inet6Stream, inet6Datagram:
		return 2*16 + 2*2, true
	case unixStream, unixDatagram:
		return 2 * 108, true
	}
	return 0, false
}

// endsOf reads two addresses, then two ports. The length tells the family.
func endsOf(b []byte) Ends {
	var source, destination netip.Addr
	switch len(b) {
	case 12:
		source, destination = netip.AddrFrom4([4]byte(b)), netip.AddrFrom4([4]byte(b[4:]))
	case 36:
		source, destination = netip.AddrFrom16([16]byte(b)), netip.AddrFrom16([16]byte(b[16:]))
	default: // The names of Unix sockets are nobody's address.
		return Ends{}
	}
	ports := b[len(b)-4:]
	return Ends{
		netip.AddrPortFrom(source, binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(destination, binary.BigEndian.Uint16(ports[2:])),
	}
}

// checkExtensions goes through what stands behind the addresses, skips it, and compares
// the checksum where there is one: CRC-32C of the header with zeros in its place.
func checkExtensions(header []byte, at int) error {
	checked := false
	for at < len(header) {
		if len(header)-at < extensionHead {
			return errExtension
		}
		kind, value := header[at], at+extensionHead
		at = value + int(binary.BigEndian.Uint16(header[at+1:]))
		if at > len(header) {
			return errExtension
		}
		if kind != extensionChecksum {
			continue
		}
		if checked || at-value != 4 || binary.BigEndian.Uint32(header[value:]) != checksum(header, value) {
			return errChecksum
		}
		checked = true
	}
	return nil
}

// checksum is that of a header whose own stands at a place.
func checksum(header []byte, at int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, header[:at])
	sum = crc32.Update(sum, table, make([]byte, 4))
	return crc32.Update(sum, table, header[at+4:])
}

func appendBinary(b []byte, e Ends) []byte {
	b = append(b, signatureBinary...)
	if !e.Source.IsValid() {
		return append(b, commandProxy, familyUnspecified, 0, 0)
	}
	family, size := byte(inetStream), byte(12)
	if e.Source.Addr().Is6() {
		family, size = inet6Stream, 36
	}
	b = append(b, commandProxy, family, 0, size)
	b = append(b, e.Source.Addr().AsSlice()...)
	b = append(b, e.Destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, e.Source.Port())
	return binary.BigEndian.AppendUint16(b, e.Destination.Port())
}
