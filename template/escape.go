package template

import "unicode/utf8"

// Escape says how values are written into the text around them, so that no
// value can end the place in which it stands.
type Escape uint8

const (
	// AsIs writes values as they are: header fields, keys, logs.
	AsIs Escape = iota
	// Path percent-encodes all but unreserved bytes (RFC 3986 §2.3), so that a value
	// stays inside its segment. request.path and path.NAME are parts of a path
	// already and are written as they are.
	Path
	// Query does the same for a part of a query; only request.query is written as
	// it is.
	Query
	// JSON writes values as the inside of a JSON string (RFC 8259 §7).
	JSON
	// HTML writes values as text or quoted attributes of HTML.
	HTML
)

// exempt says whether values of v are in the form of this place already.
func (e Escape) exempt(v variable) bool {
	switch e {
	case Path:
		return v == requestPath || v == pathParam
	case Query:
		return v == requestQuery
	}
	return e == AsIs
}

// changes says whether the value has to be rewritten.
func (e Escape) changes(v variable, value string) bool {
	if e.exempt(v) {
		return false
	}
	for i := 0; i < len(value); i++ {
		if e.special(value[i]) {
			return true
		}
	}
	return false
}

// special says whether a byte may need an escape.
func (e Escape) special(c byte) bool {
	switch e {
	case Path, Query:
		return !unreserved(c)
	case JSON:
		return c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c >= utf8.RuneSelf
	case HTML:
		return c == '&' || c == '<' || c == '>' || c == '"' || c == '\''
	}
	return false
}

// append appends an escaped value.
func (e Escape) append(dst []byte, v variable, value string) []byte {
	if !e.changes(v, value) {
		return append(dst, value...)
	}
	switch e {
	case JSON:
		return appendJSON(dst, value)
	case HTML:
		return appendHTML(dst, value)
	}
	for i := 0; i < len(value); i++ {
		dst = appendPercent(dst, value[i])
	}
	return dst
}

// appendEscapedBytes is append for a value that was decoded into scratch room.
func appendEscapedBytes(dst, value []byte, e Escape, v variable) []byte {
	if e.exempt(v) {
		return append(dst, value...)
	}
	// The value is copied only where a rune may span bytes.
	if e == JSON {
		return appendJSON(dst, string(value))
	}
	for _, c := range value {
		switch {
		case !e.special(c):
			dst = append(dst, c)
		case e == HTML:
			dst = appendEntity(dst, c)
		default:
			dst = appendPercent(dst, c)
		}
	}
	return dst
}

const hexDigits = "0123456789ABCDEF"

func appendPercent(dst []byte, c byte) []byte {
	if unreserved(c) {
		return append(dst, c)
	}
	return append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// appendJSON writes the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD,
// because the answer must be UTF-8 (RFC 8259 §8.1); '<', '>' and '&' are written
// as escapes, so that no sniffing browser sees a tag.
func appendJSON(dst []byte, value string) []byte {
	for i := 0; i < len(value); {
		c := value[i]
		if c < utf8.RuneSelf {
			i++
			if !JSON.special(c) {
				dst = append(dst, c)
				continue
			}
			if c == '"' || c == '\\' {
				dst = append(dst, '\\', c)
				continue
			}
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		r, size := utf8.DecodeRuneInString(value[i:])
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return dst
}

func appendHTML(dst []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		dst = appendEntity(dst, value[i])
	}
	return dst
}

func appendEntity(dst []byte, c byte) []byte {
	switch c {
	case '&':
		return append(dst, "&amp;"...)
	case '<':
		return append(dst, "&lt;"...)
	case '>':
		return append(dst, "&gt;"...)
	case '"':
		return append(dst, "&#34;"...)
	case '\'':
		return append(dst, "&#39;"...)
	}
	return append(dst, c)
}
