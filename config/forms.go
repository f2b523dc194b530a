package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

func problemf(format string, arguments ...any) error { return fmt.Errorf(format, arguments...) }

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
func (Address) Form() unit.Form {
	return unit.Form{
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

// Endpoint is one origin of an upstream, written as its URL or as a mapping.
type Endpoint struct {
	URL    Origin `yaml:"url" required:"true" doc:"Its scheme, host and port, such as http://10.0.0.7:8080."`
	Weight int    `default:"1" min:"1" max:"1000" doc:"Its part of the requests, relative to the other endpoints."`
}

// Form says how an endpoint is written.
func (Endpoint) Form() unit.Form { return Origin{}.Form() }

// UnmarshalText reads the short form.
func (e *Endpoint) UnmarshalText(text []byte) error { return e.URL.UnmarshalText(text) }

// Origin is the URL of an endpoint: a scheme, a host and perhaps a port.
type Origin struct {
	text string
	host string
	port uint16
}

// String is the URL as it was written.
func (o Origin) String() string { return o.text }

// Host is a name or an IP address, without brackets.
func (o Origin) Host() string { return o.host }

// Port is 80 where none was written.
func (o Origin) Port() uint16 { return o.port }

// Address is host and port, as net.Dial takes it.
func (o Origin) Address() string { return Address{o.host, o.port}.String() }

// Form says how an endpoint's URL is written.
func (Origin) Form() unit.Form {
	return unit.Form{
		Name:    "URL",
		Is:      "a URL such as http://10.0.0.7:8080 or http://orders.internal",
		Pattern: `^http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$`,
	}
}

// UnmarshalText reads the URL.
func (o *Origin) UnmarshalText(text []byte) error {
	word := string(text)
	scheme, rest, found := strings.Cut(word, "://")
	if !found {
		return fmt.Errorf("%q is not %s", word, o.Form().Is)
	}
	switch scheme {
	case "http":
	case "https":
		return errors.New("https to origins is not there yet: write http:// and keep the way to this origin private")
	default:
		return fmt.Errorf("%q is not %s: the scheme is http", word, o.Form().Is)
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
		rest += ":80"
	}
	host, port, err := splitHostPort(rest)
	if err != nil || host == "" || port == 0 {
		return fmt.Errorf("%q is not %s", word, o.Form().Is)
	}
	o.text, o.host, o.port = word, host, port
	return nil
}

// RetryOn is what makes a request be sent again: connect_failure, or a status.
type RetryOn struct {
	ConnectFailure bool `yaml:"-"`
	Status         int  `yaml:"-"`
}

// Form says how it is written.
func (RetryOn) Form() unit.Form {
	return unit.Form{
		Name:    "condition",
		Is:      `connect_failure or a status from "500" to "599", in quotes`,
		Pattern: `^(connect_failure|5[0-9][0-9])$`,
	}
}

// UnmarshalText reads it.
func (r *RetryOn) UnmarshalText(text []byte) error {
	word := string(text)
	if word == "connect_failure" {
		r.ConnectFailure = true
		return nil
	}
	status, err := strconv.Atoi(word)
	if err != nil || len(word) != 3 || status < 500 || status > 599 {
		return fmt.Errorf("%q is not %s", word, r.Form().Is)
	}
	r.Status = status
	return nil
}

// Path is a pattern of paths, or a regular expression.
type Path struct {
	Text  string
	Regex bool
	Mark  Mark
}

// regexForm is {regex: "…"}.
type regexForm struct {
	Regex Text `required:"true" min:"1" max:"4096" doc:"A regular expression (RE2 syntax)."`
}

// pathWord is a path written as a word, for the schema.
type pathWord string

// UnmarshalText makes the type one that has a form.
func (p *pathWord) UnmarshalText(text []byte) error {
	*p = pathWord(text)
	return nil
}

// Form says how a path is written.
func (pathWord) Form() unit.Form {
	return unit.Form{Name: "path", Is: "a path such as /orders", Pattern: "^/"}
}

// markOf is where a setting stands in its entry.
func markOf(n unit.Node) Mark {
	if node, ok := n.(*Node); ok && node.t != nil {
		return Mark{node.t.line, node.t.column}
	}
	return Mark{}
}

// Alternatives are the shapes of a path.
func (*Path) Alternatives() []any { return []any{pathWord(""), regexForm{}} }

// DecodeSetting reads either shape.
func (p *Path) DecodeSetting(n unit.Node) error {
	if n.Kind() == unit.Mapping {
		var form regexForm
		err := n.Decode(&form)
		p.Text, p.Regex, p.Mark = form.Regex.Value, true, form.Regex.Mark
		return err
	}
	var word Text
	if err := n.Decode(&word); err != nil {
		return err
	}
	if !strings.HasPrefix(word.Value, "/") {
		return errors.New(`a path begins with "/"`)
	}
	p.Text, p.Mark = word.Value, word.Mark
	return nil
}

// Condition is what a header field or a query parameter must be.
type Condition struct {
	Text    string // the value, or the expression
	Regex   bool
	Present *bool // set: it must be there, or must not
	Mark    Mark
}

// conditionForm is {present: …} or {regex: …}.
type conditionForm struct {
	Present *bool `doc:"Whether it must be there."`
	Regex   *Text `min:"1" max:"4096" doc:"A regular expression (RE2 syntax) that a value must match."`
}

func (f *conditionForm) Validate() error {
	if (f.Present == nil) == (f.Regex == nil) {
		return errors.New("write either {present: true}, {present: false} or {regex: …}")
	}
	return nil
}

// Alternatives are the shapes of a condition.
func (*Condition) Alternatives() []any {
	return []any{"", struct {
		Present bool `required:"true" doc:"Whether it must be there."`
	}{}, regexForm{}}
}

// DecodeSetting reads any shape.
func (c *Condition) DecodeSetting(n unit.Node) error {
	if n.Kind() == unit.Mapping {
		var form conditionForm
		if err := n.Decode(&form); err != nil {
			return err
		}
		c.Present, c.Mark = form.Present, markOf(n)
		if form.Regex != nil {
			c.Text, c.Regex, c.Mark = form.Regex.Value, true, form.Regex.Mark
		}
		return nil
	}
	var word Text
	err := n.Decode(&word)
	c.Text, c.Mark = word.Value, word.Mark
	return err
}
