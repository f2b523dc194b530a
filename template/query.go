package template

import "strings"

// queryValue returns the value of the first parameter of this name as it stands
// in the query, still encoded. Parameters are separated by '&' only; names are compared decoded.
func queryValue(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if decodesTo(key, name) {
			return value
		}
	}
	return ""
}

// isEncoded says whether a query value means something else than it shows.
func isEncoded(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' || s[i] == '+' {
			return true
		}
	}
	return false
}

// decodesTo compares an encoded text with a plain one without decoding it first.
func decodesTo(encoded, plain string) bool {
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

// appendDecoded decodes a query value: '+' is a space; an escape that is none stands
// for itself, because the query is forwarded as it came and refusing is not the
// business of whoever reads one value of it.
func appendDecoded(dst []byte, encoded string) []byte {
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
