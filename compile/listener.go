package compile

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/route"
	"github.com/sluice-gateway/sluice/unit"
	"github.com/sluice-gateway/sluice/wire/http1"
	"github.com/sluice-gateway/sluice/wire/http2"
	"github.com/sluice-gateway/sluice/wire/http3"
)

func itoa(n int) string { return strconv.Itoa(n) }

func listenSpec(l *config.Listener, folder string) listen.Spec {
	return listen.Spec{
		ProxyProtocol:  proxyProtocols[l.ProxyProtocol],
		TrustedProxies: prefixes(l.TrustedProxies),
		Name:           l.Name.Value,
		Address:        l.Address.String(),
		MaxConnections: l.Limits.Connections,
		Protocols:      protocols(l),
		TLS:            listenTLS(l.TLS, folder),
		ACME:           listenACME(l.TLS, folder),
		HTTP2:          http2Limits(l),
		HTTP3:          http3Limits(l),
		Limits: http1.Limits{
			RequestLine:     int(l.Limits.RequestLine.Bytes()),
			HeaderBytes:     int(l.Limits.HeaderBytes.Bytes()),
			HeaderFields:    l.Limits.HeaderFields,
			TrailerBytes:    int(l.Limits.TrailerBytes.Bytes()),
			ChunkExtension:  int(l.Limits.ChunkExtension.Bytes()),
			Requests:        l.Limits.RequestsPerConnection,
			MinimumBodyRate: l.MinimumBodyRate.Bytes(),
			HeadTimeout:     l.Timeouts.Head.Std(),
			IdleTimeout:     l.Timeouts.Idle.Std(),
			BodyTimeout:     l.Timeouts.Body.Std(),
			WriteTimeout:    l.Timeouts.Write.Std(),
		},
	}
}

// listenTLS makes the listener's TLS; files are relative to the main file.
func listenTLS(t *config.ListenerTLS, folder string) *certificates.Spec {
	if t == nil {
		return nil
	}
	in := func(name string) string { return inFolder(folder, name) }
	spec := &certificates.Spec{
		RefuseUnknown: t.UnknownNames == "refuse",
		Minimum:       tls.VersionTLS12,
		Clients:       certificates.Clients{Authorities: in(t.ClientCertificates.Authorities)},
	}
	if t.Minimum == "1.3" {
		spec.Minimum = tls.VersionTLS13
	}
	switch t.ClientCertificates.Mode {
	case "request":
		spec.Clients.Mode = certificates.Request
	case "require":
		spec.Clients.Mode = certificates.Require
	}
	for _, c := range t.Certificates {
		spec.Files = append(spec.Files, certificates.Files{Certificate: in(c.Certificate), Key: in(c.Key)})
	}
	if t.SelfSigned {
		spec.SelfSigned = &certificates.SelfSigned{}
	}
	return spec
}

// listenACME makes what a listener has from an authority; files and the folder are
// relative to the main file.
func listenACME(t *config.ListenerTLS, folder string) *certificates.ACME {
	if t == nil || t.ACME == nil {
		return nil
	}
	a := t.ACME
	spec := &certificates.ACME{
		Domains:     a.Domains,
		Folder:      inFolder(folder, a.Storage),
		WithoutHTTP: !slices.Contains(a.Challenges, "http-01"),
		WithoutTLS:  !slices.Contains(a.Challenges, "tls-alpn-01"),
	}
	issuers := a.Issuers
	if len(issuers) == 0 {
		directory := a.Directory
		if directory == "" {
			directory = certificates.DefaultDirectory
		}
		issuers = []config.ACMEIssuer{{Directory: directory, Authorities: a.Authorities, ExternalAccount: a.ExternalAccount}}
	}
	for _, i := range issuers {
		issuer := certificates.Issuer{Directory: i.Directory, Email: i.Email, Authorities: inFolder(folder, i.Authorities)}
		if issuer.Email == "" {
			issuer.Email = a.Email
		}
		if i.ExternalAccount != nil {
			issuer.KeyID, issuer.MACKey = i.ExternalAccount.KeyID, i.ExternalAccount.MACKey
		}
		spec.Issuers = append(spec.Issuers, issuer)
	}
	if o := a.OnDemand; o != nil {
		spec.OnDemand = &certificates.OnDemand{Domains: o.Domains, Ask: o.Ask, Certificates: o.Certificates, Per: o.Per.Std()}
	}
	return spec
}

// inFolder is a file that is named relative to a folder.
func inFolder(folder, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(folder, name)
}

// protocols are what a listener speaks where nothing is said: both over TLS, where a
// client chooses, and HTTP/1.1 alone over plain TCP.
func protocols(l *config.Listener) []string {
	if len(l.Protocols) > 0 {
		return l.Protocols
	}
	if l.TLS != nil {
		return []string{listen.HTTP2, listen.HTTP1}
	}
	return []string{listen.HTTP1}
}

// checkCertificates loads the files of the listener's TLS: problems stand at its
// name, and certificates that expire soon are warnings.
func (b *build) checkCertificates(item config.Item[config.Listener], spec *certificates.Spec, acme *certificates.ACME) {
	looked := *spec
	if acme != nil && looked.SelfSigned == nil {
		looked.SelfSigned = &certificates.SelfSigned{} // In the place of those that come later; Check makes none.
	}
	var inUse *certificates.Store
	if b.compiler.options.InUse != nil {
		inUse = b.compiler.options.InUse(item.Value.Name.Value, item.Value.Address.String())
	}
	warnings, err := certificates.Check(looked, inUse, time.Now())
	if acme != nil {
		err = errors.Join(err, certificates.CheckACME(*acme))
	}
	for _, e := range unjoin(err) {
		b.add(item.Problem(item.Value.Name.Mark, "tls: "+e.Error()))
	}
	for _, w := range warnings {
		b.result.Warnings = append(b.result.Warnings, item.Problem(item.Value.Name.Mark, "tls: "+w))
	}
}

// unjoin takes apart what errors.Join has put together, at any depth.
func unjoin(err error) (all []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		all = append(all, unjoin(e)...)
	}
	return all
}

// http2Limits are the listener's limits as far as HTTP/2 shares them; what only it has
// keeps its defaults.
func http2Limits(l *config.Listener) http2.Limits {
	return http2.Limits{
		Target:          int(l.Limits.RequestLine.Bytes()),
		HeaderBytes:     int(l.Limits.HeaderBytes.Bytes()),
		HeaderFields:    l.Limits.HeaderFields,
		TrailerBytes:    int(l.Limits.TrailerBytes.Bytes()),
		Requests:        l.Limits.RequestsPerConnection,
		MinimumBodyRate: l.MinimumBodyRate.Bytes(),
		HeadTimeout:     l.Timeouts.Head.Std(),
		IdleTimeout:     l.Timeouts.Idle.Std(),
		BodyTimeout:     l.Timeouts.Body.Std(),
		WriteTimeout:    l.Timeouts.Write.Std(),
	}
}

// http3Limits are the same for HTTP/3.
func http3Limits(l *config.Listener) http3.Limits {
	return http3.Limits{
		Target:          int(l.Limits.RequestLine.Bytes()),
		HeaderBytes:     int(l.Limits.HeaderBytes.Bytes()),
		HeaderFields:    l.Limits.HeaderFields,
		TrailerBytes:    int(l.Limits.TrailerBytes.Bytes()),
		Requests:        l.Limits.RequestsPerConnection,
		MinimumBodyRate: l.MinimumBodyRate.Bytes(),
		HeadTimeout:     l.Timeouts.Head.Std(),
		IdleTimeout:     l.Timeouts.Idle.Std(),
		BodyTimeout:     l.Timeouts.Body.Std(),
		WriteTimeout:    l.Timeouts.Write.Std(),
	}
}

func engineListener(l *config.Listener) engine.Listener {
	return engine.Listener{
		Name: l.Name.Value,
		Normalize: route.NormalizeOptions{
			KeepEncodedSlash: l.EncodedSlash == "keep",
			MergeSlashes:     l.MergeSlashes,
		},
		KeepUnderscores: l.Underscores == "keep",
		TrustedProxies:  prefixes(l.TrustedProxies),
	}
}

var proxyProtocols = map[string]listen.ProxyProtocol{
	"off":     listen.ProxyOff,
	"accept":  listen.ProxyAccept,
	"require": listen.ProxyRequire,
}

func prefixes(networks []unit.Network) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(networks))
	for _, network := range networks {
		all = append(all, network.Prefix)
	}
	return all
}
