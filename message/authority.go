package message

import "net/netip"

// ParseAuthority checks the host and port by which a client names us, and
// returns it in the one form in which it is matched and forwarded: lower case,
// without the dot that may end a host name. It is the same for Host, for the
// authority of an absolute target and for :authority.
//
// It takes a registered name of letters, digits and "-._~", an IPv4 address, or
// an IPv6 address in brackets, and a port of up to five digits (RFC 9110 §7.2,
// RFC 3986 §3.2.2). User information, percent-encoding, lists and white space
// are refused: two parsers read them differently.
func ParseAuthority(s string) (string, bool) {
	host, port, ok := splitAuthority(s)
	if !ok || host == "" || len(host) > 255 {
		return "", false
	}
	if host[0] == '[' {
		if !validBracketed(host) {
			return "", false
		}
		return LowerASCII(s), true
	}
	for i := 0; i < len(host); i++ {
		if !hostTable[host[i]] {
			return "", false
		}
	}
	if host[len(host)-1] != '.' {
		return LowerASCII(s), true
	}
	host = host[:len(host)-1]
	if host == "" || host[len(host)-1] == '.' {
		return "", false
	}
	if port == "" {
		return LowerASCII(host), true
	}
	return LowerASCII(host + ":" + port), true
}

// hostTable marks the bytes of a registered name.
var hostTable = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-._~" {
		t[c] = true
	}
	return t
}()

func splitAuthority(s string) (host, port string, ok bool) {
	for i := len(s) - 1; i >= 0; i-- {
		switch c := s[i]; {
		case c == ':':
			port = s[i+1:]
			return s[:i], port, validPort(port)
		case c < '0' || c > '9':
			return s, "", true
		}
	}
	return s, "", true
}

func validPort(port string) bool {
	if port == "" || len(port) > 5 {
		return false
	}
	n := 0
	for i := 0; i < len(port); i++ {
		n = n*10 + int(port[i]-'0')
	}
	return n <= 65535
}

func validBracketed(host string) bool {
	if host[len(host)-1] != ']' {
		return false
	}
	addr, err := netip.ParseAddr(host[1 : len(host)-1])
	return err == nil && addr.Is6() && addr.Zone() == ""
}
