package rewrite

import "strings"

// fault is why a path cannot be forwarded.
type fault uint8

const (
	fine fault = iota
	notAbsolute
	tooLong
	badByte
	badEscape
	notNormal
	dotSegment
	encodedNUL
	backslash
	encodedSlash
	emptyValue
	faults
)

// String completes a message; it never repeats bytes of the path.
func (f fault) String() string {
	return [...]string{
		fine:         "the path is fine",
		notAbsolute:  "the path does not begin with a slash",
		tooLong:      "the path is longer than 8000 bytes",
		badByte:      "the path has a byte that must be percent-encoded",
		badEscape:    "the path has a percent sign that is not followed by two hexadecimal digits",
		notNormal:    "the path has an escape that is not in its normal form: upper-case digits, letters and digits not encoded",
		dotSegment:   "the path has a dot segment",
		encodedNUL:   "the path has an encoded NUL byte",
		backslash:    "the path has a backslash or an encoded backslash",
		encodedSlash: "the path has an encoded slash",
		emptyValue:   "a value that the path is made of is empty",
	}[f]
}

// faultOf says why a path is not one that the gateway leaves as it is when it
// arrives; route.Normalize is its twin on arrival. An encoded slash is reported only
// where there is no other fault.
func faultOf(path string) fault {
	if path == "" || path[0] != '/' {
		return notAbsolute
	}
	if len(path) > MaxPath {
		return tooLong
	}
	slashes := fine
	segment := 1
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if hidesDots(path[segment:i]) {
				return dotSegment
			}
			segment = i + 1
			continue
		}
		switch c := path[i]; {
		case c == '\\':
			return backslash
		case c <= ' ' || c >= 0x7f || c == '?' || c == '#':
			return badByte
		case c == '%':
			switch f := escapeFault(path[i:]); f {
			case fine:
			case encodedSlash:
				slashes = f
			default:
				return f
			}
			i += 2
		}
	}
	return slashes
}

// escapeFault looks at the escape at the beginning of s.
func escapeFault(s string) fault {
	if len(s) < 3 {
		return badEscape
	}
	high, low := unhex(s[1]), unhex(s[2])
	if high < 0 || low < 0 {
		return badEscape
	}
	switch c := byte(high<<4 | low); {
	case c == 0:
		return encodedNUL
	case c == '\\':
		return backslash
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
		return notNormal
	case s[1] >= 'a' || s[2] >= 'a':
		return notNormal
	case c == '/':
		return encodedSlash
	}
	return fine
}

// hidesDots says whether a segment is a dot segment, or one for an origin that
// decodes encoded slashes or cuts parameters off.
func hidesDots(segment string) bool {
	for more := true; more; {
		var part string
		part, segment, more = strings.Cut(segment, "%2F")
		name, _, _ := strings.Cut(part, ";")
		if name == "." || name == ".." {
			return true
		}
	}
	return false
}

func hasEncodedSlash(path string) bool { return strings.Contains(path, "%2F") }

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
