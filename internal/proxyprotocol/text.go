package proxyprotocol

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

var (
	errTextLong    = errors.New("proxyprotocol: the line is longer than 107 bytes")
	errTextEnd     = errors.New("proxyprotocol: the line does not end in CRLF")
	errTextControl = errors.New("proxyprotocol: the line has bytes that are no printable ASCII")
	errTextWords   = errors.New("proxyprotocol: the line is not TCP4 or TCP6, two addresses and two ports, nor UNKNOWN")
	errTextAddress = errors.New("proxyprotocol: an address in the line is none of its family")
	errTextPort    = errors.New("proxyprotocol: a port in the line is not a number from 0 to 65535 without leading zeros")
)

// parseText reads a header of version 1: words with one space between them, as
// in "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".
func parseText(b []byte) (h Header, n int, err error) {
	h.Version = 1
	line := b[:min(len(b), MaxText)]
	end := bytes.IndexByte(line, '\n')
	switch {
	case end < 0 && len(line) == MaxText:
		return h, 0, errTextLong
	case end < 0:
		return h, len(b) + 1, ErrShort
	case line[end-1] != '\r':
		return h, 0, errTextEnd
	}
	text := string(line[len(signatureText) : end-1])
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return h, 0, errTextControl
		}
	}
	if text == "UNKNOWN" || strings.HasPrefix(text, "UNKNOWN ") { // What follows means nothing.
		return h, end + 1, nil
	}
	h.Ends, err = parseEnds(strings.Split(text, " "))
	return h, end + 1, err
}

func parseEnds(words []string) (e Ends, err error) {
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return e, errTextWords
	}
	var addrs [2]netip.Addr
	var ports [2]uint16
	for i := range 2 {
		if addrs[i], err = netip.ParseAddr(words[1+i]); err != nil || addrs[i].Zone() != "" || addrs[i].Is4() != (words[0] == "TCP4") {
			return e, errTextAddress
		}
		word := words[3+i]
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil || len(word) > 1 && word[0] == '0' {
			return e, errTextPort
		}
		ports[i] = uint16(port)
	}
	return Ends{netip.AddrPortFrom(addrs[0], ports[0]), netip.AddrPortFrom(addrs[1], ports[1])}, nil
}

func appendText(b []byte, e Ends) []byte {
	b = append(b, signatureText...)
	if !e.Source.IsValid() {
		return append(b, "UNKNOWN\r\n"...)
	}
	family := "TCP4 "
	if e.Source.Addr().Is6() {
		family = "TCP6 "
	}
	b = append(b, family...)
	b = e.Source.Addr().AppendTo(b)
	b = append(b, ' ')
	b = e.Destination.Addr().AppendTo(b)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.Source.Port()), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.Destination.Port()), 10)
	return append(b, "\r\n"...)
}
