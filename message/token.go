package message

// tokenTable marks the bytes of a token (RFC 9110 §5.6.2).
var tokenTable = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// IsToken says whether c may stand in a field name or a method.
func IsToken(c byte) bool { return tokenTable[c] }

// ValidName says whether s is a field name: a token (RFC 9110 §5.1).
func ValidName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenTable[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// ValidValue says whether s may stand as a field value: no control but HTAB
// (RFC 9110 §5.5). White space at the ends is the caller's affair.
func ValidValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// CleanValue returns s with every byte that may not stand in a value replaced
// by a space. It allocates only where there is one.
func CleanValue(s string) string {
	if ValidValue(s) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

// EqualFold compares without regard to ASCII case, and only that: header names
// and hosts are ASCII, and Unicode folding would make other names equal.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x != y && lower(x) != lower(y) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// LowerASCII returns s in lower case; it allocates only where something changes.
func LowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lower(b[i])
			}
			return string(b)
		}
	}
	return s
}

// HasToken says whether a comma-separated list has a member, without regard to
// case (RFC 9110 §5.6.1).
func HasToken(list, token string) bool {
	for len(list) > 0 {
		var item string
		item, list = NextListItem(list)
		if EqualFold(item, token) {
			return true
		}
	}
	return false
}

// NextListItem cuts the first member off a comma-separated list and trims it.
func NextListItem(list string) (item, rest string) {
	end := len(list)
	for i := 0; i < len(list); i++ {
		if list[i] == ',' {
			end = i
			rest = list[i+1:]
			break
		}
	}
	return TrimOWS(list[:end]), rest
}

// TrimOWS removes optional white space from both ends (RFC 9110 §5.6.3).
func TrimOWS(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// ParseLength reads a Content-Length: digits and nothing else, up to 2^63-1 (RFC 9110
// §8.6). No sign, no list, no white space: it is the same for every wire.
func ParseLength(s string) (int64, bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return int64(n), n < 1<<63
}
