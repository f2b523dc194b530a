package route

import "bytes"

// NormalizeOptions are the listener's choices.
type NormalizeOptions struct {
	// KeepEncodedSlash lets %2F through, as %2F: it stays a part of its segment
	// and never separates two. A backslash is refused all the same.
	KeepEncodedSlash bool
	// MergeSlashes drops empty segments; a slash at the end stays.
	MergeSlashes bool
}

// PathError is why Normalize refused a path. Its text is made to be the detail of
// a problem: it never repeats bytes of the path.
type PathError uint8

const (
	// PathNotAbsolute: no slash at the beginning (RFC 9112 §3.2.1).
	PathNotAbsolute PathError = iota + 1
	// PathControl: a control character, raw.
	PathControl
	// PathSpace: a space, raw.
	PathSpace
	// PathNotASCII: a byte above 0x7e, raw.
	PathNotASCII
	// PathDelimiter: '#' or '?', which end a path (RFC 3986 §3.3).
	PathDelimiter
	// PathBadEscape: a percent sign without two hexadecimal digits (RFC 3986 §2.1).
	PathBadEscape
	// PathNUL: %00, at which many origins cut a path off.
	PathNUL
	// PathEncodedSlash: %2F, which some origins read as a slash and others do not.
	PathEncodedSlash
	// PathBackslash: a backslash, raw or as %5C, which some origins read as a slash.
	PathBackslash
	// PathHiddenDots: a dot segment behind a path parameter ("..;") or an encoded
	// slash ("..%2F"), which some origins resolve and others do not.
	PathHiddenDots
)

// Error says what is wrong with the path.
func (e PathError) Error() string {
	switch e {
	case PathNotAbsolute:
		return "the path does not begin with a slash"
	case PathControl:
		return "the path has a control character; it must be percent-encoded"
	case PathSpace:
		return "the path has a space; it must be written as %20"
	case PathNotASCII:
		return "the path has a byte that is not ASCII; it must be percent-encoded"
	case PathDelimiter:
		return "the path has a '#' or '?'; inside a path they must be percent-encoded"
	case PathBadEscape:
		return "the path has a percent sign that is not followed by two hexadecimal digits"
	case PathNUL:
		return "the path has an encoded NUL byte (%00)"
	case PathEncodedSlash:
		return "the path has an encoded slash (%2F), which this listener refuses"
	case PathBackslash:
		return "the path has a backslash or an encoded backslash (%5C)"
	case PathHiddenDots:
		return "the path has a dot segment joined to a path parameter or to an encoded slash"
	}
	return "the path is not valid"
}

// The classes of bytes, in the order of how often the scan has to look at them:
// slashes only matter where they are to be merged.
const (
	plain uint8 = iota
	slash
	dot
	percent
	refused
)

// pathClass tells the bytes over which a scan may run from those at which it has
// to look.
var pathClass = func() (t [256]uint8) {
	for c := range t {
		if c <= ' ' || c >= 0x7f {
			t[c] = refused
		}
	}
	t['/'], t['.'], t['%'] = slash, dot, percent
	t['\\'], t['#'], t['?'] = refused, refused, refused
	return t
}()

// unreserved marks the bytes that mean the same encoded or not (RFC 3986 §2.3).
var unreserved = func() (t [256]bool) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	t['-'], t['.'], t['_'], t['~'] = true, true, true, true
	return t
}()

// Normalize returns the one spelling of a path that is matched and forwarded. A
// wire calls it once for each request, with the part of the target before '?'.
//
// Percent-encoded unreserved characters are decoded (RFC 3986 §6.2.2.2), the
// digits of the other escapes are upper-cased (§6.2.2.1), dot segments are
// resolved, also those that were encoded (§5.2.4, §6.2.2.3); ".." at the root
// stays at the root. Empty segments stay unless they are to be merged, which is
// done before the dots are resolved. Path parameters (";v=1") are left alone. A path that
// two parsers could read differently is refused with a PathError.
//
// The result of a result is the same again. A path that is in its normal form is
// returned as it is and costs no allocation; another one costs one.
func Normalize(path string, opts NormalizeOptions) (string, error) {
	if len(path) == 0 || path[0] != '/' {
		return "", PathNotAbsolute
	}
	least := dot
	if opts.MergeSlashes {
		least = slash
	}
	for i := 1; i < len(path); i++ {
		c := path[i]
		class := pathClass[c]
		if class < least {
			continue
		}
		switch class {
		case slash:
			if path[i-1] == '/' {
				return rewrite(path, opts)
			}
		case dot:
			if path[i-1] == '/' && dotsAt(path, i) {
				return rewrite(path, opts)
			}
		case percent:
			if !settledEscape(path, i) {
				return rewrite(path, opts)
			}
			i += 2
		default:
			return "", refusal(c)
		}
	}
	return path, nil
}

// dotsAt says whether the segment that begins with the dot at i is a dot segment,
// or begins with one and goes on with a parameter.
func dotsAt(path string, i int) bool {
	i++
	if i < len(path) && path[i] == '.' {
		i++
	}
	return i == len(path) || path[i] == '/' || path[i] == ';'
}

// settledEscape says whether the escape at i needs neither a change nor a second
// look.
func settledEscape(path string, i int) bool {
	if i+2 >= len(path) || 'a' <= path[i+1] && path[i+1] <= 'f' || 'a' <= path[i+2] && path[i+2] <= 'f' {
		return false
	}
	high, low := unhex(path[i+1]), unhex(path[i+2])
	if high > 15 || low > 15 {
		return false
	}
	c := high<<4 | low
	return !unreserved[c] && c != 0 && c != '/' && c != '\\'
}

func refusal(c byte) PathError {
	switch {
	case c == ' ':
		return PathSpace
	case c < ' ' || c == 0x7f:
		return PathControl
	case c > 0x7f:
		return PathNotASCII
	case c == '\\':
		return PathBackslash
	}
	return PathDelimiter
}

// unhex is the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// rewrite does the work for paths over which the scan stumbled: first the
// escapes, then the segments, so that an encoded dot counts as a dot.
func rewrite(path string, opts NormalizeOptions) (string, error) {
	var room [512]byte
	out := room[:0]
	for i := 0; i < len(path); i++ {
		c := path[i]
		if pathClass[c] == refused {
			return "", refusal(c)
		}
		if c != '%' {
			out = append(out, c)
			continue
		}
		if i+2 >= len(path) {
			return "", PathBadEscape
		}
		high, low := unhex(path[i+1]), unhex(path[i+2])
		if high > 15 || low > 15 {
			return "", PathBadEscape
		}
		i += 2
		switch decoded := high<<4 | low; {
		case unreserved[decoded]:
			out = append(out, decoded)
		case decoded == 0:
			return "", PathNUL
		case decoded == '\\':
			return "", PathBackslash
		case decoded == '/' && !opts.KeepEncodedSlash:
			return "", PathEncodedSlash
		default:
			const digits = "0123456789ABCDEF"
			out = append(out, '%', digits[high], digits[low])
		}
	}
	out, err := resolveDots(out, opts.MergeSlashes)
	if err != nil {
		return "", err
	}
	if string(out) == path {
		return path, nil
	}
	return string(out), nil
}

// resolveDots does in place what RFC 3986 §5.2.4 describes with two buffers.
func resolveDots(path []byte, merge bool) ([]byte, error) {
	written := 0
	for read := 0; read < len(path); {
		end := read + 1
		for end < len(path) && path[end] != '/' {
			end++
		}
		segment, last := path[read+1:end], end == len(path)
		switch {
		case isDots(segment):
			if len(segment) == 2 {
				written = max(0, bytes.LastIndexByte(path[:written], '/'))
			}
			if last {
				path[written] = '/'
				written++
			}
		case hidesDots(segment):
			return nil, PathHiddenDots
		case merge && len(segment) == 0 && !last:
		default:
			written += copy(path[written:], path[read:end])
		}
		read = end
	}
	return path[:written], nil
}

func isDots(segment []byte) bool {
	return len(segment) == 1 && segment[0] == '.' || len(segment) == 2 && segment[0] == '.' && segment[1] == '.'
}

// hidesDots says whether a segment, itself no dot segment, becomes one or several
// for an origin that decodes %2F or cuts parameters off.
func hidesDots(segment []byte) bool {
	for more := true; more; {
		var part []byte
		part, segment, more = bytes.Cut(segment, []byte("%2F"))
		name, _, _ := bytes.Cut(part, []byte(";"))
		if isDots(name) {
			return true
		}
	}
	return false
}
