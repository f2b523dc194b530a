package observe

import "unicode/utf8"

// plain marks the bytes that stand for themselves in a JSON string: printable
// ASCII without the quote and the backslash. DEL is escaped although JSON allows
// it, as people read logs on terminals.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259 §7). Bytes that are no UTF-8
// become U+FFFD, one each. Control characters are escaped, C1 and the line
// separators included, so that no line of a log steers a terminal or looks like two.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendText(dst, s)
	return append(dst, '"')
}

// appendText is appendString without the quotes.
func appendText(dst []byte, s string) []byte {
	if allPlain(s) {
		return append(dst, s...)
	}
	start := 0
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if r >= 0xa0 && r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, r)
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}

// allPlain says whether every byte of s stands for itself, as nearly always. It
// looks at eight bytes in one step, the last time at some that it has seen
// (BenchmarkAllPlain, a hundred bytes: 53 ns → 21 ns).
func allPlain(s string) bool {
	if len(s) < 8 {
		for i := 0; i < len(s); i++ {
			if !plain[s[i]] {
				return false
			}
		}
		return true
	}
	odd := oddBytes(load(s, len(s)-8))
	for i := 0; i+8 < len(s); i += 8 {
		odd |= oddBytes(load(s, i))
	}
	return odd == 0
}

// load returns the eight bytes of s at i; the compiler makes one load of it.
func load(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// oddBytes is 0 if all eight bytes of w are plain. Of those that are not, the
// lowest one sets its high bit in one of the terms: it is set already, or it
// borrows when the first plain byte is taken off, or DEL carries, or what equals a
// quote or a backslash becomes 0 and borrows. A plain byte borrows and carries only
// behind one that is not plain.
func oddBytes(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (w | (w - ones*' ') | (w + ones) | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & highs
}

// appendEscape appends a character that cannot stand for itself.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
