package unit

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Address is where to listen: "host:port" or ":port". The host is an IP address or
// a name of this machine.
type Address struct {
	Host string `yaml:"-"`
	Port uint16 `yaml:"-"`
}

// String is the form that net.Listen takes.
func (a Address) String() string {
	if strings.Contains(a.Host, ":") {
		return "[" + a.Host + "]:" + strconv.Itoa(int(a.Port))
	}
	return a.Host + ":" + strconv.Itoa(int(a.Port))
}

// Form says how an address is written.
func (Address) Form() Form {
	return Form{
		Name:    "address",
		Is:      "an address such as :8080, 127.0.0.1:8080 or [::1]:8080",
		Pattern: `^([A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`,
	}
}

// UnmarshalText reads an address.
func (a *Address) UnmarshalText(text []byte) error {
	host, port, err := splitHostPort(string(text))
	if err != nil {
		return fmt.Errorf("%q is not %s", text, a.Form().Is)
	}
	a.Host, a.Port = host, port
	return nil
}

var errAddress = errors.New("not a host and a port")

// splitHostPort takes "host:port" apart. An IPv6 address stands in brackets.
func splitHostPort(s string) (string, uint16, error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return "", 0, errAddress
	}
	host := s[:colon]
	digits := s[colon+1:]
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) > 5 || digits[0] == '+' {
		return "", 0, errAddress
	}
	if strings.HasPrefix(host, "[") {
		address, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !address.Is6() || address.Zone() != "" || !strings.HasSuffix(host, "]") {
			return "", 0, errAddress
		}
		return host[1 : len(host)-1], uint16(port), nil
	}
	if !hostName(host) && host != "" {
		return "", 0, errAddress
	}
	return host, uint16(port), nil
}

// hostName says whether s can be a name in DNS or an IPv4 address.
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '_' {
				return false
			}
		}
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	return true
}

// Origin is the URL of an endpoint: a scheme, a host and perhaps a port.
type Origin struct {
	text   string
	host   string
	port   uint16
	secure bool
}

// String is the URL as it was written.
func (o Origin) String() string { return o.text }

// Host is a name or an IP address, without brackets.
func (o Origin) Host() string { return o.host }

// Port is 80, or 443 with TLS, where none was written.
func (o Origin) Port() uint16 { return o.port }

// Secure says whether TLS is spoken.
func (o Origin) Secure() bool { return o.secure }

// Address is host and port, as net.Dial takes it.
func (o Origin) Address() string { return Address{o.host, o.port}.String() }

// Form says how an endpoint's URL is written.
func (Origin) Form() Form {
	return Form{
		Name:    "URL",
		Is:      "a URL such as http://10.0.0.7:8080 or https://orders.internal",
		Pattern: `^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$`,
	}
}

// UnmarshalText reads the URL.
func (o *Origin) UnmarshalText(text []byte) error {
	word := string(text)
	scheme, rest, found := strings.Cut(word, "://")
	if !found {
		return fmt.Errorf("%q is not %s", word, o.Form().Is)
	}
	if scheme != "http" && scheme != "https" {
		return fmt.Errorf("%q is not %s: the scheme is http or https", word, o.Form().Is)
	}
	parsed, err := url.Parse(word)
	if err != nil {
		return fmt.Errorf("%q is not %s", word, o.Form().Is)
	}
	if parsed.User != nil || parsed.RawQuery != "" || strings.ContainsAny(word, "?#") {
		return errors.New("the URL of an endpoint has a scheme, a host and a port only: no user, query or fragment")
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.Contains(rest, "/") {
		return errors.New("the URL of an endpoint has no path: what is sent is the path of the request; the rewrite policy changes it")
	}
	if strings.HasSuffix(rest, "]") || !strings.Contains(rest, ":") {
		rest += map[string]string{"http": ":80", "https": ":443"}[scheme]
	}
	host, port, err := splitHostPort(rest)
	if err != nil || host == "" || port == 0 {
		return fmt.Errorf("%q is not %s", word, o.Form().Is)
	}
	o.text, o.host, o.port, o.secure = word, host, port, scheme == "https"
	return nil
}
