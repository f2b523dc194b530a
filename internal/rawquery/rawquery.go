// Package rawquery reads single parameters of a query without decoding the rest:
// a query is forwarded byte for byte, and most of it is nobody's business.
//
// Parameters are separated by '&' only, '+' is a space, and an escape that is
// none stands for itself.
package rawquery

import "strings"

// Value returns the value of the first parameter of this name as it stands
// in the query, still encoded. Names are compared decoded.
func Value(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if Means(key, name) {
			return value
		}
	}
	return ""
}

// Encoded says whether a name or value may mean something else than it shows.
func Encoded(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' || s[i] == '+' {
			return true
		}
	}
	return false
}

// Means compares an encoded text with a plain one without decoding it first.
func Means(encoded, plain string) bool {
	for encoded != "" {
		if plain == "" {
			return false
		}
		c, n := decodeByte(encoded)
		if c != plain[0] {
			return false
		}
		encoded, plain = encoded[n:], plain[1:]
	}
	return plain == ""
}

// AppendDecoded appends a decoded name or value.
func AppendDecoded(dst []byte, encoded string) []byte {
	for encoded != "" {
		c, n := decodeByte(encoded)
		dst = append(dst, c)
		encoded = encoded[n:]
	}
	return dst
}

// decodeByte returns the first decoded byte of a text that is not empty, and how
// many bytes it took.
func decodeByte(s string) (c byte, n int) {
	switch {
	case s[0] == '+':
		return ' ', 1
	case s[0] == '%' && len(s) > 2:
		high, low := unhex(s[1]), unhex(s[2])
		if high >= 0 && low >= 0 {
			return byte(high<<4 | low), 3
		}
	}
	return s[0], 1
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// AppendEncoded appends a name or value with all but unreserved bytes (RFC 3986
// §2.3) percent-encoded.
func AppendEncoded[T string | []byte](dst []byte, plain T) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(plain) {
		c := plain[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
