package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// Discovery says who tells the endpoints of an upstream. It has exactly one source.
type Discovery struct {
	DNS    *DNS          `yaml:"dns" doc:"Asks DNS, again when the time to live is over: a name, or a mapping."`
	File   string        `doc:"Reads a file with a list as in endpoints, in YAML or JSON, again when it changes; relative to the main file."`
	HTTP   *HTTPSource   `yaml:"http" doc:"Asks a server for a document in the form of Prometheus' HTTP service discovery: a URL, or a mapping."`
	Consul *Consul       `doc:"Asks Consul for the healthy instances of a service."`
	Port   int           `min:"1" max:"65535" doc:"The port of every address that DNS tells; not with SRV records, which have their own."`
	Scheme string        `enum:"http,https" default:"http" doc:"What the endpoints speak, where the source does not say it."`
	Empty  string        `enum:"keep,accept" default:"keep" doc:"What happens when the source tells no endpoint: the last list stays, or the upstream has none."`
	Wait   unit.Duration `default:"2s" max:"1m" doc:"How long a start or a reload waits for the first list; then it goes on without."`
}

// DNS is the source that asks DNS.
type DNS struct {
	Name    string               `required:"true" pattern:"^[A-Za-z0-9._-]{1,253}$" form:"a name of DNS: letters, digits, dots, hyphens and underscores, at most 253 of them" doc:"The name; without a dot at its end the search list of the system applies."`
	Port    int                  `min:"1" max:"65535" doc:"The same as port beside dns."`
	Type    string               `enum:"address,srv" default:"address" doc:"What is asked for: addresses (A and AAAA), or SRV records with ports, weights and priorities."`
	Family  string               `enum:"ipv4_first,ipv6_first,ipv4,ipv6,both" default:"ipv4_first" doc:"Which addresses count: one family, both, or the second only where there is none of the first."`
	Servers unit.List[DNSServer] `max:"8" doc:"The servers that are asked, as address or address:port; absent: those of /etc/resolv.conf."`
	TTL     DNSBounds            `yaml:"ttl" doc:"The bounds of the time between two looks, whatever DNS says."`
}

// DNSBounds are the bounds of a time to live.
type DNSBounds struct {
	Min unit.Duration `default:"1s" min:"1s" max:"1h" doc:"The shortest."`
	Max unit.Duration `default:"5m" min:"1s" max:"1d" doc:"The longest."`
}

// DNSServer is where a DNS server is: an IP address, and perhaps a port.
type DNSServer string

// Form says how it is written.
func (DNSServer) Form() unit.Form {
	return unit.Form{
		Name:    "server",
		Is:      "the address of a DNS server, such as 10.0.0.53, 10.0.0.53:5353 or [2001:db8::53]:53",
		Pattern: `^([0-9.]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}|[0-9A-Fa-f:]+)$`,
	}
}

// HTTPSource is the source that asks an HTTP server.
type HTTPSource struct {
	URL      SourceURL             `yaml:"url" required:"true" doc:"Where the document is."`
	Interval unit.Duration         `default:"30s" min:"1s" max:"1d" doc:"The time between two looks."`
	Timeout  unit.Duration         `default:"10s" min:"1ms" max:"1m" doc:"The time for one answer."`
	Headers  unit.Map[unit.Secret] `doc:"Header fields of each request, such as Authorization."`
	TLS      SourceTLS             `yaml:"tls" doc:"How an https server is spoken to, and whom to believe."`
}

// Consul is the source that asks Consul's HTTP API.
type Consul struct {
	URL        SourceURL         `yaml:"url" default:"http://127.0.0.1:8500" doc:"Where the agent or server is."`
	Service    string            `required:"true" min:"1" max:"255" doc:"The name of the service."`
	Tags       unit.List[string] `max:"20" doc:"Tags, all of which an instance must have."`
	Datacenter string            `max:"255" doc:"The datacenter that is asked; absent: the agent's own."`
	Token      unit.Secret       `doc:"The token of Consul's access control."`
	Stale      bool              `default:"true" doc:"Whether any server may answer, and not the leader only."`
	Wait       unit.Duration     `default:"1m" min:"1s" max:"10m" doc:"The longest time for which a query waits for a change."`
	Timeout    unit.Duration     `default:"10s" min:"1ms" max:"1m" doc:"The time for an answer, beyond the time for which it waits."`
	Zone       string            `default:"zone" max:"128" doc:"The key of a node's metadata that has its zone."`
	TLS        SourceTLS         `yaml:"tls" doc:"How an https agent is spoken to, and whom to believe."`
}

// SourceTLS is how a server that tells endpoints is spoken to over TLS.
type SourceTLS struct {
	Authorities string `doc:"The file of the authorities that are believed, in PEM form, relative to the main file; absent: those of the system."`
	ServerName  string `doc:"The name that the certificate must be for; absent: the URL's host."`
	Certificate string `doc:"The file of the certificate that the gateway shows."`
	Key         string `doc:"The file of its private key."`
}

// SourceURL is the URL of a server that tells endpoints.
type SourceURL string

// Form says how it is written.
func (SourceURL) Form() unit.Form {
	return unit.Form{Name: "URL", Is: "a URL such as http://discovery.internal/orders", Pattern: `^https?://[^\s@#]+$`}
}

// UnmarshalText reads the short form.
func (d *DNS) UnmarshalText(text []byte) error {
	d.Name = string(text)
	return nil
}

// Form says how the short form is written.
func (DNS) Form() unit.Form {
	return unit.Form{Name: "name", Is: "a name of DNS", Pattern: "^[A-Za-z0-9._-]{1,253}$"}
}

// UnmarshalText reads the short form.
func (h *HTTPSource) UnmarshalText(text []byte) error { return h.URL.UnmarshalText(text) }

// Form says how the short form is written.
func (HTTPSource) Form() unit.Form { return SourceURL("").Form() }

// UnmarshalText reads the URL.
func (u *SourceURL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "" || strings.ContainsAny(string(text), " \t\n#") {
		return fmt.Errorf("%q is not %s", text, u.Form().Is)
	}
	if parsed.User != nil {
		return errors.New("a URL has no user and password here: send a header")
	}
	*u = SourceURL(text)
	return nil
}

// UnmarshalText reads the address.
func (s *DNSServer) UnmarshalText(text []byte) error {
	word := string(text)
	address, err := netip.ParseAddr(word)
	if err != nil {
		var both netip.AddrPort
		if both, err = netip.ParseAddrPort(word); err == nil && both.Port() == 0 {
			err = errors.New("no port")
		}
		address = both.Addr()
	}
	if err != nil || address.Zone() != "" {
		return fmt.Errorf("%q is not %s", word, s.Form().Is)
	}
	*s = DNSServer(word)
	return nil
}

// Validate is called by the decoder.
func (d *Discovery) Validate() error {
	sources := 0
	for _, given := range []bool{d.DNS != nil, d.File != "", d.HTTP != nil, d.Consul != nil} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return errors.New("discovery has exactly one source: dns, file, http or consul")
	}
	if d.DNS == nil && d.Port != 0 {
		return unit.At("port", errors.New("the port belongs to dns: other sources tell ports themselves"))
	}
	if d.File != "" && d.Scheme == "https" {
		return unit.At("scheme", errors.New("a file tells the scheme of each endpoint: leave this out"))
	}
	if d.DNS == nil {
		return nil
	}
	switch {
	case d.DNS.Type == "srv" && d.DNSPort() != 0:
		return unit.At("dns", errors.New("SRV records have ports of their own: leave the port out"))
	case d.DNS.Type == "address" && d.DNSPort() == 0:
		return unit.At("dns", errors.New("DNS tells addresses only: write the port, such as {dns: orders.internal, port: 8080}, or type: srv"))
	case d.Port != 0 && d.DNS.Port != 0:
		return unit.At("port", errors.New("the port is given twice"))
	}
	return nil
}

// DNSPort is the port of every address that DNS tells; 0 where none is given.
func (d *Discovery) DNSPort() int { return max(d.Port, d.DNS.Port) }

// Validate is called by the decoder.
func (d *DNS) Validate() error {
	if d.TTL.Min > d.TTL.Max {
		return unit.At("ttl", errors.New("min is longer than max"))
	}
	return nil
}

// Validate is called by the decoder.
func (h *HTTPSource) Validate() error {
	for _, field := range h.Headers {
		if !fieldName(field.Key) {
			return unit.At("headers", fmt.Errorf("%q is no name of a header field", field.Key))
		}
		if strings.ContainsAny(field.Value.Reveal(), "\r\n\x00") {
			return unit.At("headers", fmt.Errorf("the value of %s has a character that no header field can have", field.Key))
		}
	}
	return nil
}

// Validate is called by the decoder.
func (c *Consul) Validate() error {
	if strings.ContainsAny(string(c.URL), "?") {
		return unit.At("url", errors.New("the URL of Consul has no query: use the settings beside it"))
	}
	if strings.ContainsAny(c.Token.Reveal(), "\r\n\x00") {
		return unit.At("token", errors.New("the token has a character that no header field can have"))
	}
	return nil
}

// Validate is called by the decoder.
func (t *SourceTLS) Validate() error {
	if (t.Certificate == "") != (t.Key == "") {
		return errors.New("certificate and key belong together: write both or neither")
	}
	return nil
}

// fieldName says whether a header field can have this name (RFC 9110 §5.1).
func fieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// Words is the source in words, without secrets.
func (d *Discovery) Words() string {
	if d.Empty == "accept" {
		return d.asked() + "; a list of none counts, too"
	}
	return d.asked()
}

func (d *Discovery) asked() string {
	switch {
	case d.DNS != nil && d.DNS.Type == "srv":
		return "dns " + d.DNS.Name + " (SRV)"
	case d.DNS != nil:
		return "dns " + d.DNS.Name + ", port " + strconv.Itoa(d.DNSPort())
	case d.HTTP != nil:
		address, _, _ := strings.Cut(string(d.HTTP.URL), "?")
		return "http " + address
	case d.Consul != nil:
		return "consul " + d.Consul.Service + " at " + string(d.Consul.URL)
	}
	return "file " + d.File
}
