package route

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// maxHost is the length of the longest DNS name (RFC 1035 §2.3.4); no IPv6
// literal is longer.
const maxHost = 253

// ParseHost reads a host of a rule and returns the form in which it is compared:
// lower case, without a dot at the end, IPv6 addresses in brackets and in their
// shortest spelling (RFC 5952).
//
//	api.example.com   this host, on any port
//	*.example.com     one label or more before .example.com: a.example.com and
//	                  a.b.example.com, not example.com
//	10.0.0.1, [::1]   addresses
func ParseHost(text string) (string, error) {
	host := message.LowerASCII(text)
	switch {
	case host == "":
		return "", fmt.Errorf("host is empty: leave it out to match any host")
	case host == "*":
		return "", fmt.Errorf("host \"*\" is no pattern: leave host out to match any host")
	case strings.Contains(host, "://"):
		return "", fmt.Errorf("host %q is a URL: write only its host", text)
	case host[0] == '[' || strings.Count(host, ":") > 1:
		return parseIPv6(text, host)
	case strings.Contains(host, ":"):
		return "", fmt.Errorf("host %q has a port: write %q, which matches on any port, and bind the route to a listener instead", text, host[:strings.IndexByte(host, ':')])
	case strings.Contains(host, "/"):
		return "", fmt.Errorf("host %q has a slash: write only the host, and the path as path", text)
	}
	host = strings.TrimSuffix(host, ".")
	name, wildcard := strings.CutPrefix(host, "*.")
	if len(host) > maxHost {
		return "", fmt.Errorf("host %q… has %d bytes: at most %d are allowed", host[:32], len(host), maxHost)
	}
	if strings.Contains(name, "*") {
		return "", fmt.Errorf("host %q: a star may only stand for all labels at the beginning, as in *.example.com", text)
	}
	for rest, more := name, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		if err := checkLabel(text, label); err != nil {
			return "", err
		}
	}
	if wildcard {
		if _, err := netip.ParseAddr(name); err == nil {
			return "", fmt.Errorf("host %q: there is nothing below an IP address", text)
		}
	}
	return host, nil
}

func checkLabel(text, label string) error {
	if label == "" {
		return fmt.Errorf("host %q has an empty label", text)
	}
	if len(label) > 63 {
		return fmt.Errorf("host %q: the label %q… has %d bytes: at most 63 are allowed", text, label[:16], len(label))
	}
	for i := 0; i < len(label); i++ {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c >= 0x80:
			return fmt.Errorf("host %q is not ASCII: write the name as clients send it, in punycode (xn--…, RFC 5891)", text)
		default:
			return fmt.Errorf("host %q: %q may not stand in a host name", text, string(rune(c)))
		}
	}
	return nil
}

func parseIPv6(text, host string) (string, error) {
	inner := host
	if host[0] == '[' {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", fmt.Errorf("host %q has no closing bracket", text)
		}
		if end != len(host)-1 {
			return "", fmt.Errorf("host %q goes on behind the bracket: write %q, which matches on any port", text, host[:end+1])
		}
		inner = host[1:end]
	}
	address, err := netip.ParseAddr(inner)
	if err != nil || !address.Is6() || address.Zone() != "" {
		return "", fmt.Errorf("host %q is not an IPv6 address, or it has a zone", text)
	}
	return "[" + address.String() + "]", nil
}

// requestHost is the host of a request in the form that ParseHost returns, but for
// the case of its letters. It allocates only for an IPv6 address that is not
// written in its shortest form, which no client library does.
func requestHost(r *message.Request) string {
	host := r.Authority
	if strings.IndexByte(host, ':') >= 0 {
		host = r.Host()
	}
	if n := len(host); n > 0 && host[n-1] == '.' {
		return host[:n-1]
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		return canonicalIPv6(host)
	}
	return host
}

func canonicalIPv6(host string) string {
	address, err := netip.ParseAddr(host[1 : len(host)-1])
	if err != nil {
		return host
	}
	var room [64]byte
	if short := address.AppendTo(room[:0]); string(short) == host[1:len(host)-1] {
		return host
	}
	return "[" + address.String() + "]"
}
