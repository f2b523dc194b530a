package http3

import "strconv"

// Field sections are encoded with the static table alone: each section stands for itself, and no
// stream ever waits for another one (RFC 9204 §2.1.1).

// The prefixes of what a section is made of (RFC 9204 §4.5).
const (
	indexedStatic  = 0xc0 // 6 bits: index
	nameStatic     = 0x50 // 4 bits: index; then the value
	nameLiteral    = 0x20 // 3 bits: length; then the name, and the value
	neverWithIndex = 0x20 // never to be put into a table, with nameStatic
	never          = 0x10 // the same with nameLiteral
)

// appendSection starts a field section: it refers to no table that changes.
func appendSection(out []byte) []byte { return append(out, 0, 0) }

// appendField appends one field; the name may be in any case. Nothing is Huffman-coded: what
// is sent once is not worth the time.
func appendField(out []byte, name, value string) []byte {
	k := known(name)
	if k == nil {
		return appendLiteral(out, nameLiteral, name, value)
	}
	for i := range k.values {
		if k.values[i].value == value {
			return appendInt(out, indexedStatic, 6, uint64(k.values[i].index))
		}
	}
	switch {
	case k.first >= 0 && k.secret:
		out = appendInt(out, nameStatic|neverWithIndex, 4, uint64(k.first))
	case k.first >= 0:
		out = appendInt(out, nameStatic, 4, uint64(k.first))
	default:
		return appendLiteral(out, nameLiteral|never, name, value)
	}
	out = appendInt(out, 0, 7, uint64(len(value)))
	return append(out, value...)
}

// appendLiteral appends a field with its name, in lower case (RFC 9114 §4.2).
func appendLiteral(out []byte, prefix byte, name, value string) []byte {
	out = appendInt(out, prefix, 3, uint64(len(name)))
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	out = appendInt(out, 0, 7, uint64(len(value)))
	return append(out, value...)
}

// Indexes of the static table.
const (
	staticContentLength = 4
	staticDate          = 6
	staticStatus103     = 24
)

// appendStatus appends :status.
func appendStatus(out []byte, status int) []byte {
	index := 0
	switch status {
	case 103:
		index = 24
	case 200:
		index = 25
	case 304:
		index = 26
	case 404:
		index = 27
	case 503:
		index = 28
	case 100:
		index = 63
	case 204:
		index = 64
	case 206:
		index = 65
	case 302:
		index = 66
	case 400:
		index = 67
	case 403:
		index = 68
	case 421:
		index = 69
	case 425:
		index = 70
	case 500:
		index = 71
	default:
		out = appendInt(out, nameStatic, 4, staticStatus103)
		return append(out, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
	}
	return appendInt(out, indexedStatic, 6, uint64(index))
}

// appendLength appends content-length.
func appendLength(out []byte, n int64) []byte {
	out = append(out, nameStatic|staticContentLength, 0)
	at := len(out)
	out = strconv.AppendInt(out, n, 10)
	out[at-1] = byte(len(out) - at)
	return out
}

// appendInt appends an integer behind the bits of its prefix (RFC 9204 §4.1.1).
func appendInt(out []byte, prefix byte, bits uint, n uint64) []byte {
	limit := uint64(1)<<bits - 1
	if n < limit {
		return append(out, prefix|byte(n))
	}
	out = append(out, prefix|byte(limit))
	for n -= limit; n >= 128; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}
