package compile

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/upstream/discovery"
)

// discover gives an upstream the source of its endpoints, and those that it had before
// where the same is asked for, however it is asked: whoever changes an interval or a token
// because the source fails must not lose them. A dry build looks whether the source can be made.
func (b *build) discover(item config.Item[config.Upstream], shared *sharedUpstream) {
	d := item.Value.Discovery
	if d == nil {
		return
	}
	folder := filepath.Dir(b.doc.Main)
	if d.File != "" && b.dry {
		b.checkEndpointsFile(item, inFolder(folder, d.File))
	}
	secure, err := b.secureSource(item, shared, folder)
	for _, e := range unjoin(err) {
		b.add(item.Problem(item.Value.Name.Mark, "discovery: tls: "+e.Error()))
	}
	if err != nil || b.dry {
		return
	}
	shared.Discover(sourceOf(d, folder, secure), d.Wait.Std())
	if b.old == nil {
		return
	}
	if old, ok := b.old.upstreams[item.Value.Name.Value]; ok && askedFor(old.from.Discovery) == askedFor(d) {
		shared.Inherit(old.Upstream)
	}
}

// checkEndpointsFile warns of a file that would be refused if it was read now. That
// is no problem: the file is another one's, and may come or be mended later.
func (b *build) checkEndpointsFile(item config.Item[config.Upstream], path string) {
	file := discovery.File{Path: path, Parse: parseEndpoints, AcceptEmpty: item.Value.Discovery.Empty == "accept"}
	if _, err := file.Read(); err != nil {
		b.result.Warnings = append(b.result.Warnings, item.Problem(item.Value.Name.Mark, "discovery: "+file.String()+": "+err.Error()))
	}
}

// secureSource loads what a server that tells endpoints over https needs.
func (b *build) secureSource(item config.Item[config.Upstream], shared *sharedUpstream, folder string) (func(string) *tls.Config, error) {
	d := item.Value.Discovery
	var t *traffic.SourceTLS
	switch {
	case d.HTTP != nil && strings.HasPrefix(string(d.HTTP.URL), "https:"):
		t = &d.HTTP.TLS
	case d.Consul != nil && strings.HasPrefix(string(d.Consul.URL), "https:"):
		t = &d.Consul.TLS
	default:
		return nil, nil
	}
	spec := certificates.OriginSpec{
		Upstream:    item.Value.Name.Value,
		Authorities: inFolder(folder, t.Authorities),
		ServerName:  t.ServerName,
		Protocols:   []string{"http/1.1"},
	}
	if t.Certificate != "" {
		spec.Certificate = &certificates.Files{Certificate: inFolder(folder, t.Certificate), Key: inFolder(folder, t.Key)}
	}
	if b.dry {
		_, err := certificates.CheckOrigin(spec, certificates.Env{})
		return nil, err
	}
	origin, err := certificates.OpenOrigin(spec, certificates.Env{Logger: b.compiler.options.Logger})
	if err != nil {
		return nil, err
	}
	shared.teller = origin
	return origin.Config, nil
}

// sourceOf makes the source that a discovery describes.
func sourceOf(d *traffic.Discovery, folder string, secure func(string) *tls.Config) discovery.Source {
	accept, https := d.Empty == "accept", d.Scheme == "https"
	switch {
	case d.DNS != nil:
		source := &discovery.DNS{
			Name: d.DNS.Name, Port: d.DNSPort(), SRV: d.DNS.Type == "srv", Secure: https, Family: families[d.DNS.Family],
			MinTTL: d.DNS.TTL.Min.Std(), MaxTTL: d.DNS.TTL.Max.Std(), AcceptEmpty: accept,
		}
		for _, s := range d.DNS.Servers {
			source.Servers = append(source.Servers, string(s))
		}
		return source
	case d.HTTP != nil:
		h := d.HTTP
		source := &discovery.HTTP{
			Server: discovery.Server{URL: string(h.URL), TLS: secure, Timeout: h.Timeout.Std()},
			Every:  h.Interval.Std(), Secure: https, AcceptEmpty: accept,
		}
		for _, field := range h.Headers {
			source.Headers = append(source.Headers, discovery.Header{Name: field.Key, Value: field.Value.Reveal()})
		}
		return source
	case d.Consul != nil:
		c := d.Consul
		return &discovery.Consul{
			Server:  discovery.Server{URL: string(c.URL), TLS: secure, Timeout: c.Timeout.Std()},
			Service: c.Service, Tags: c.Tags, Datacenter: c.Datacenter, Token: c.Token.Reveal(), Stale: c.Stale,
			Wait: c.Wait.Std(), ZoneMeta: c.Zone, Secure: https, AcceptEmpty: accept,
		}
	}
	return &discovery.File{Path: inFolder(folder, d.File), Parse: parseEndpoints, AcceptEmpty: accept}
}

var families = map[string]discovery.Family{
	"ipv4_first": discovery.IPv4First, "ipv6_first": discovery.IPv6First,
	"ipv4": discovery.IPv4, "ipv6": discovery.IPv6, "both": discovery.Both,
}

// maxShown is how many problems of a file of endpoints one fault names.
const maxShown = 3

// parseEndpoints reads a file of endpoints. The error is one line.
func parseEndpoints(path string, text []byte) ([]discovery.Endpoint, error) {
	endpoints, err := config.Endpoints(path, text)
	var problems config.Problems
	if errors.As(err, &problems) {
		var words []string
		for _, p := range problems[:min(len(problems), maxShown)] {
			words = append(words, fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message))
		}
		if more := len(problems) - maxShown; more > 0 {
			words = append(words, fmt.Sprintf("and %d more", more))
		}
		return nil, errors.New(strings.Join(words, "; "))
	}
	if err != nil {
		return nil, err
	}
	list := make([]discovery.Endpoint, len(endpoints))
	for i, e := range endpoints {
		list[i] = discovery.Endpoint{
			Address: hostPort(e.URL.Host(), e.URL.Port()), Secure: e.URL.Secure(),
			Weight: e.Weight, Zone: e.Zone, Priority: e.Priority,
		}
	}
	return list, nil
}

// askedFor is whose endpoints a source tells, without how it is asked.
func askedFor(d *traffic.Discovery) string {
	switch {
	case d == nil:
		return ""
	case d.DNS != nil:
		return fmt.Sprintf("dns %s %d %s %s", d.DNS.Name, d.DNSPort(), d.DNS.Type, d.Scheme)
	case d.HTTP != nil:
		return fmt.Sprintf("http %s %s", d.HTTP.URL, d.Scheme)
	case d.Consul != nil:
		return fmt.Sprintf("consul %s %s %q %s %s", d.Consul.URL, d.Consul.Service, d.Consul.Tags, d.Consul.Datacenter, d.Scheme)
	}
	return "file " + d.File
}

// discoveryWords tells two descriptions apart, secrets included, which it does not show.
func discoveryWords(d *traffic.Discovery, folder string) string {
	if d == nil {
		return ""
	}
	secrets := sha256.New()
	words := folder
	if d.DNS != nil {
		words += fmt.Sprintf(" dns %+v", *d.DNS)
	}
	if d.HTTP != nil {
		words += fmt.Sprintf(" http %+v", *d.HTTP)
		for _, field := range d.HTTP.Headers {
			fmt.Fprintf(secrets, "%q", field.Value.Reveal())
		}
	}
	if d.Consul != nil {
		words += fmt.Sprintf(" consul %+v", *d.Consul)
		fmt.Fprintf(secrets, "%q", d.Consul.Token.Reveal())
	}
	return fmt.Sprintf("%s file %q port %d scheme %s empty %s wait %s %x", words, d.File, d.Port, d.Scheme, d.Empty, d.Wait, secrets.Sum(nil))
}
