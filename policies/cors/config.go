package cors

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `cors`.
type Config struct {
	Origins        unit.List[Origin] `yaml:"origins" required:"true" doc:"Whose pages may call: https://app.example.com, https://*.example.com for all hosts below one, or * for everybody."`
	Methods        unit.List[string] `yaml:"methods" default:"[GET, HEAD, POST]" doc:"Methods that those pages may use, or *."`
	Headers        unit.List[string] `yaml:"headers" default:"[Authorization, Content-Type]" doc:"Request fields that those pages may set, or *, which does not mean Authorization."`
	ExposedHeaders unit.List[string] `yaml:"exposed_headers" doc:"Fields of the answer that those pages may read beside the few that they always may, or *."`
	Credentials    bool              `yaml:"credentials" default:"false" doc:"Browsers may send cookies and other credentials along. Then nothing may be *."`
	MaxAge         unit.Duration     `yaml:"max_age" default:"10m" max:"1d" doc:"How long browsers may remember the answer to a preflight, in whole seconds."`
}

// Origin is a web origin (RFC 6454 §6.2) in the form in which browsers send it, a
// pattern of them, or "*".
type Origin struct{ text string }

const anyone = "*"

// Form says how an origin is written.
func (Origin) Form() unit.Form {
	return unit.Form{Name: "origin", Is: "an origin such as https://app.example.com, https://*.example.com or *"}
}

// String is the origin as browsers send it.
func (o Origin) String() string { return o.text }

// MarshalText is String.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.text), nil }

// UnmarshalText reads an origin and brings it into the form in which browsers send
// it: lower case, without the scheme's own port.
func (o *Origin) UnmarshalText(text []byte) error {
	s := string(text)
	if s == anyone {
		o.text = anyone
		return nil
	}
	if s == "null" {
		return errors.New(`the origin "null" is sent by every sandboxed page, whoever wrote it: name real origins, or * without credentials`)
	}
	scheme, rest, ok := strings.Cut(message.LowerASCII(s), "://")
	if !ok || !validScheme(scheme) {
		return fmt.Errorf("%q is not an origin: write scheme and host, such as https://app.example.com", s)
	}
	if i := strings.IndexAny(rest, "/?#@"); i >= 0 {
		if rest[i:] == "/" {
			return fmt.Errorf("%q is not an origin: leave out the slash at its end", s)
		}
		return fmt.Errorf("%q is not an origin: it ends behind the host and the port, leave out %q", s, rest[i:])
	}
	host, err := cleanHost(scheme, rest)
	if err != nil {
		return fmt.Errorf("%q is not an origin: %w", s, err)
	}
	o.text = scheme + "://" + host
	return nil
}

func validScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// cleanHost checks host and port and drops the port that goes without saying.
func cleanHost(scheme, authority string) (string, error) {
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host, port = authority[:i], authority[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return "", fmt.Errorf("%q is not a port", port)
		}
	}
	if err := checkHost(host); err != nil {
		return "", err
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return host, nil
	}
	return host + ":" + port, nil
}

// checkHost accepts a name, which may begin with the wildcard label, or an address.
func checkHost(host string) error {
	if literal, ok := strings.CutPrefix(host, "["); ok {
		address, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !address.Is6() || address.Zone() != "" {
			return fmt.Errorf("%q is not an IPv6 address", host)
		}
		if want := "[" + address.String() + "]"; want != host {
			return fmt.Errorf("browsers write the address as %s", want)
		}
		return nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	if wild && (!strings.Contains(name, ".") && name != "localhost" || net.ParseIP(name) != nil) {
		return fmt.Errorf("%q lets in too much: name the domain below which hosts are trusted", host)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q is not a host", host)
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			case c == '*':
				return errors.New("a wildcard stands for whole labels at the front, such as https://*.example.com")
			case c >= 0x80:
				return errors.New("browsers send the host in its ASCII form, xn--…: write it so")
			default:
				return fmt.Errorf("%q is not a host", host)
			}
		}
	}
	return nil
}

// Validate checks what goes together. Config calls it.
func (c *Config) Validate() error {
	var errs []error
	for i, o := range c.Origins {
		if o.text == anyone && len(c.Origins) > 1 {
			errs = append(errs, unit.Problem(fmt.Sprintf("origins[%d]", i), "* stands for every origin: leave out the others, or leave out *"))
		}
	}
	if len(c.Origins) == 0 {
		errs = append(errs, unit.Problem("origins", "there is no origin: nobody could call"))
	}
	for i, m := range c.Methods {
		errs = append(errs, unit.At(fmt.Sprintf("methods[%d]", i), checkMethod(m)))
	}
	for i, h := range c.Headers {
		errs = append(errs, unit.At(fmt.Sprintf("headers[%d]", i), checkField(h)))
	}
	for i, h := range c.ExposedHeaders {
		errs = append(errs, unit.At(fmt.Sprintf("exposed_headers[%d]", i), checkField(h)))
	}
	if c.MaxAge.Std()%time.Second != 0 {
		errs = append(errs, unit.Problem("max_age", fmt.Sprintf("%s is not a whole number of seconds", c.MaxAge)))
	}
	return errors.Join(append(errs, c.checkCredentials())...)
}

// checkCredentials: with credentials "*" is an ordinary word to browsers and lets
// nobody in (Fetch, "CORS protocol and credentials").
func (c *Config) checkCredentials() error {
	if !c.Credentials {
		return nil
	}
	var errs []error
	for i, o := range c.Origins {
		if o.text == anyone {
			errs = append(errs, unit.Problem(fmt.Sprintf("origins[%d]", i),
				"with credentials, * would let every page act as its reader: name the origins"))
		}
	}
	for _, l := range []struct {
		key  string
		list unit.List[string]
	}{{"methods", c.Methods}, {"headers", c.Headers}, {"exposed_headers", c.ExposedHeaders}} {
		for i, word := range l.list {
			if word == anyone {
				errs = append(errs, unit.Problem(fmt.Sprintf("%s[%d]", l.key, i),
					"with credentials, browsers do not take * for everything: name what is meant"))
			}
		}
	}
	return errors.Join(errs...)
}

// checkMethod refuses what browsers never send (Fetch, "forbidden method").
func checkMethod(m string) error {
	upper := strings.ToUpper(m)
	switch {
	case !message.ValidName(m):
		return fmt.Errorf("%q is not a method", m)
	case upper == "CONNECT" || upper == "TRACE" || upper == "TRACK":
		return fmt.Errorf("browsers let no page send %s: leave it out", upper)
	case m != upper && (upper == "PATCH" || isNormalized(upper)):
		return fmt.Errorf("methods are written in upper case: %s", upper)
	}
	return nil
}

func isNormalized(m string) bool {
	switch m {
	case "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT":
		return true
	}
	return false
}

func checkField(name string) error {
	if !message.ValidName(name) {
		return fmt.Errorf("%q is not the name of a field", name)
	}
	return nil
}
