package certificates

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sluice-gateway/sluice/unit"
)

// ACME says which certificates are had from an authority (RFC 8555).
type ACME struct {
	// Domains are the names; each gets its own certificate. No wildcards: authorities
	// give those for a DNS record only.
	Domains []string
	// Issuers are asked in turn until one gives a certificate; none is Let's Encrypt.
	Issuers []Issuer
	// Storage keeps certificates, keys and accounts; where it is nil Folder does.
	Storage Storage
	Folder  string
	// WithoutHTTP and WithoutTLS switch a kind of challenge off: HTTP-01, which is
	// answered by Challenge, and TLS-ALPN-01, by the handshake.
	WithoutHTTP bool
	WithoutTLS  bool
	// OnDemand says which names that are not in Domains may have a certificate when a
	// client comes for one. Nil: none.
	OnDemand *OnDemand

	renewalWindow float64       // for tests: the share of its life in which it is renewed
	renewalCheck  time.Duration // for tests: how often that is looked at
}

// Issuer is an authority with an ACME directory.
type Issuer struct {
	Directory string // a URL
	Email     string // where the authority writes to
	// KeyID and MACKey are an external account (RFC 8555 §7.3.4), where the authority
	// asks for one.
	KeyID  string
	MACKey unit.Secret
	// Authorities is a PEM file with the roots for the directory's own certificate; ""
	// are those of the system.
	Authorities string
}

// DefaultDirectory is Let's Encrypt's.
const DefaultDirectory = certmagic.LetsEncryptProductionCA

// Limits of automatic certificates.
const (
	maxDomains   = 10_000
	maxOnDemand  = 10_000 // certificates in memory, the others are read again
	maxObtaining = 16     // handshakes that wait for a certificate on demand
)

// ChallengeProtocol is what an authority negotiates by ALPN to validate a name (RFC
// 8737). A listener closes such a connection after the handshake.
const ChallengeProtocol = "acme-tls/1"

// IsChallenge says that a connection was only a challenge's.
func IsChallenge(state *tls.ConnectionState) bool {
	return state.NegotiatedProtocol == ChallengeProtocol
}

// Automatic obtains certificates and renews them. It is shared by all listeners of
// a process. Its methods may be called on any goroutine.
type Automatic struct {
	env      Env
	domains  []string        // in lower case, in the order of the configuration
	ours     map[string]bool // the same
	cache    *certmagic.Cache
	config   *certmagic.Config // for domains
	onDemand *demand
	answer   *tls.Config // for TLS-ALPN-01, or nil
	http     *certmagic.ACMEIssuer
	occupied net.Listener
	folder   *Folder // that Close closes, or nil
	stop     context.CancelFunc
	ctx      context.Context
	ready    atomic.Bool
	current  atomic.Pointer[table]

	mu     sync.Mutex // guards what follows
	have   map[string]*pair
	failed map[string]error
	warned calendar
	jobs   sync.WaitGroup
}

// OpenAutomatic loads the certificates that the storage has, and begins to obtain
// the others in the background. Close ends that.
func OpenAutomatic(spec ACME, env Env) (*Automatic, error) {
	if err := CheckACME(spec); err != nil {
		return nil, err
	}
	a := &Automatic{env: env.filled(), ours: map[string]bool{}, have: map[string]*pair{}, failed: map[string]error{}}
	for _, d := range spec.Domains {
		if d = strings.ToLower(d); !a.ours[d] {
			a.domains, a.ours[d] = append(a.domains, d), true
		}
	}
	a.current.Store(newTable(nil, ""))
	storage := spec.Storage
	if storage == nil {
		folder, err := OpenFolder(spec.Folder)
		if err != nil {
			return nil, err
		}
		storage, a.folder = folder, folder
	}
	if err := a.occupy(); err != nil {
		return nil, errors.Join(err, a.closeFolder())
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	if err := a.configure(spec, storage); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.load()
	a.jobs.Go(func() {
		// What the storage had is looked at once: it may have expired meanwhile.
		_ = a.cache.RenewManagedCertificates(a.ctx)
		_ = a.config.ManageAsync(a.ctx, a.domains) // Its errors are events.
	})
	return a, nil
}

// Same says whether two specs ask for the same, so that what is open for one serves the
// other. Those with a Storage of their own are never the same.
func (spec *ACME) Same(other *ACME) bool {
	sameDemand := spec.OnDemand == other.OnDemand ||
		spec.OnDemand != nil && other.OnDemand != nil && spec.OnDemand.same(other.OnDemand)
	return sameDemand && spec.Storage == nil && other.Storage == nil &&
		slices.Equal(spec.Domains, other.Domains) && slices.EqualFunc(spec.Issuers, other.Issuers, Issuer.same) &&
		spec.Folder == other.Folder && spec.WithoutHTTP == other.WithoutHTTP && spec.WithoutTLS == other.WithoutTLS &&
		spec.renewalWindow == other.renewalWindow && spec.renewalCheck == other.renewalCheck
}

func (i Issuer) same(other Issuer) bool {
	sameKey := i.MACKey.IsSet() == other.MACKey.IsSet() && i.MACKey.Reveal() == other.MACKey.Reveal()
	i.MACKey = other.MACKey
	return sameKey && i == other
}

// CheckACME finds what is wrong with a spec without opening anything but the files of
// authorities.
func CheckACME(spec ACME) error {
	var errs []error
	if len(spec.Domains) == 0 && spec.OnDemand == nil {
		errs = append(errs, errors.New("acme: no domains are named"))
	}
	if len(spec.Domains) > maxDomains {
		errs = append(errs, fmt.Errorf("acme: %d domains are named; at most %d are managed", len(spec.Domains), maxDomains))
	}
	for _, d := range spec.Domains {
		errs = append(errs, checkDomain(d))
	}
	if spec.Storage == nil && spec.Folder == "" {
		errs = append(errs, errors.New("acme: no folder is named that keeps certificates and accounts over a restart"))
	}
	if spec.WithoutHTTP && spec.WithoutTLS {
		errs = append(errs, errors.New("acme: both kinds of challenge are switched off, so no authority can validate a name"))
	}
	if spec.OnDemand != nil {
		errs = append(errs, spec.OnDemand.check()...)
	}
	for _, i := range spec.Issuers {
		_, err := directoryRoots(i)
		errs = append(errs, err)
		if !strings.HasPrefix(i.Directory, "https://") {
			errs = append(errs, fmt.Errorf("acme: the directory %q of an issuer is not a https:// URL", i.Directory))
		}
		if _, err := base64.RawURLEncoding.DecodeString(i.MACKey.Reveal()); err != nil {
			errs = append(errs, fmt.Errorf("acme: the MAC key of the external account of %s is not in the URL form of base64, without padding (RFC 8555 §7.3.4)", i.Directory))
		}
		if (i.KeyID == "") == i.MACKey.IsSet() {
			errs = append(errs, fmt.Errorf("acme: the external account of %s needs both a key id and a MAC key", i.Directory))
		}
	}
	return errors.Join(errs...)
}

func checkDomain(d string) error {
	switch {
	case strings.HasPrefix(d, "*."):
		return fmt.Errorf("acme: %q: authorities give wildcard certificates for a DNS record only, which is not supported; "+
			"name the hosts, or use on_demand", d)
	case net.ParseIP(d) != nil:
		return fmt.Errorf("acme: %q is an address; certificates are obtained for names", d)
	case !certmagic.SubjectQualifiesForCert(d) || len(d) > maxName || strings.ContainsAny(d, ":/ ") || strings.Contains(d, ".."):
		return fmt.Errorf("acme: %q is not the name of a host", d)
	}
	for _, c := range d {
		if c > 127 {
			return fmt.Errorf("acme: %q has characters outside of ASCII; write it in its xn-- form", d)
		}
	}
	return nil
}

// occupy takes a port of the loopback address. certmagic opens a server of its own
// for challenges unless the port it is told of is taken; ours are answered by the
// listeners, and no port may be opened that nobody has configured.
func (a *Automatic) occupy() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("certificates: taking a loopback port: %w", err)
	}
	a.occupied = l
	a.jobs.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	return nil
}

// configure makes certmagic's parts. None of its package-level defaults is changed.
func (a *Automatic) configure(spec ACME, storage Storage) error {
	logger := newZap(a.env.Logger)
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   a.configFor,
		RenewCheckInterval: spec.renewalCheck,
		Capacity:           maxDomains + maxOnDemand,
		Logger:             logger,
	})
	template := certmagic.Config{
		RenewalWindowRatio: spec.renewalWindow,
		OnEvent:            a.event,
		ShouldEmitFunc:     func(event string) bool { return event != "tls_get_certificate" },
		KeySource:          certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
		Storage:            storage,
		Logger:             logger,
		// Asking a responder would make handshakes and start-up wait for it. That a
		// certificate is revoked is known from its renewal information (ARI).
		OCSP: certmagic.OCSPConfig{DisableStapling: true},
	}
	var err error
	if a.config, err = a.newConfig(template, spec); err != nil {
		return err
	}
	a.http = a.config.Issuers[0].(*certmagic.ACMEIssuer)
	if !spec.WithoutTLS {
		a.answer = &tls.Config{
			MinVersion:             tls.VersionTLS12,
			NextProtos:             []string{ChallengeProtocol},
			GetCertificate:         a.config.GetCertificate,
			SessionTicketsDisabled: true,
		}
	}
	if spec.OnDemand == nil {
		return nil
	}
	if a.onDemand, err = newDemand(*spec.OnDemand); err != nil {
		return err
	}
	template.OnDemand = &certmagic.OnDemandConfig{DecisionFunc: a.onDemand.decide}
	a.onDemand.config, err = a.newConfig(template, spec)
	return err
}

func (a *Automatic) newConfig(template certmagic.Config, spec ACME) (*certmagic.Config, error) {
	c := certmagic.New(a.cache, template)
	c.Issuers = nil
	issuers := spec.Issuers
	if len(issuers) == 0 {
		issuers = []Issuer{{Directory: DefaultDirectory}}
	}
	port := a.occupied.Addr().(*net.TCPAddr).Port
	for _, i := range issuers {
		roots, err := directoryRoots(i)
		if err != nil {
			return nil, err
		}
		made := certmagic.ACMEIssuer{
			CA:                      i.Directory,
			Email:                   i.Email,
			Agreed:                  true,
			DisableHTTPChallenge:    spec.WithoutHTTP,
			DisableTLSALPNChallenge: spec.WithoutTLS,
			ListenHost:              "127.0.0.1",
			AltHTTPPort:             port,
			AltTLSALPNPort:          port,
			TrustedRoots:            roots,
			Logger:                  c.Logger,
		}
		if i.KeyID != "" {
			made.ExternalAccount = &acme.EAB{KeyID: i.KeyID, MACKey: i.MACKey.Reveal()}
		}
		c.Issuers = append(c.Issuers, certmagic.NewACMEIssuer(c, made))
	}
	return c, nil
}

func directoryRoots(i Issuer) (*x509.CertPool, error) {
	if i.Authorities == "" {
		return nil, nil
	}
	pool, _, err := loadPool(i.Authorities, time.Now())
	return pool, err
}

// configFor tells certmagic's maintenance how a certificate is to be renewed.
func (a *Automatic) configFor(c certmagic.Certificate) (*certmagic.Config, error) {
	if a.onDemand != nil && len(c.Names) > 0 && !a.manages(c.Names[0]) {
		return a.onDemand.config, nil
	}
	return a.config, nil
}

// manages says whether a name in lower case is among the domains.
func (a *Automatic) manages(name string) bool { return a.ours[name] }

// load reads what the storage has, so that a certificate that was there before a
// restart or a reload is there after it from the first handshake on.
func (a *Automatic) load() {
	for _, d := range a.domains {
		if _, err := a.config.CacheManagedCertificate(a.ctx, d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.env.Logger.Error("certificate of the storage cannot be used", "domain", d, "error", err)
		}
	}
	a.ready.Store(true)
	a.publish()
}

// event is called by certmagic, on its goroutines. An error would stop it.
func (a *Automatic) event(_ context.Context, event string, data map[string]any) error {
	domain, _ := data["identifier"].(string)
	switch event {
	case "cached_managed_cert":
		if a.ready.Load() {
			a.publish()
		}
	case "cert_obtained":
		a.env.Logger.Info("certificate obtained", "domain", domain, "issuer", data["issuer"], "renewal", data["renewal"])
		a.mu.Lock()
		delete(a.failed, domain)
		a.mu.Unlock()
	case "cert_failed":
		err, _ := data["error"].(error)
		a.env.Logger.Error("certificate not obtained; it is tried again", "domain", domain, "issuers", data["issuers"],
			"renewal", data["renewal"], "error", err)
		if a.manages(domain) {
			a.mu.Lock()
			a.failed[domain] = err
			a.mu.Unlock()
		}
	}
	return nil
}

// publish makes the table of what the cache has for the domains.
func (a *Automatic) publish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed := false
	var list []*pair
	for _, d := range a.domains {
		newest := newestOf(a.cache.AllMatchingCertificates(d))
		if newest == nil {
			continue
		}
		p := a.have[d]
		if p == nil || !bytes.Equal(p.leaf.Raw, newest.Leaf.Raw) {
			p = &pair{source: d, managed: true, certificate: newest.Certificate, leaf: newest.Leaf, algorithm: algorithmOf(newest.Leaf.PublicKey)}
			a.have[d] = p
			changed = true
		}
		list = append(list, p)
	}
	if changed {
		a.current.Store(newTable(list, ""))
	}
}

func newestOf(list []certmagic.Certificate) *certmagic.Certificate {
	var newest *certmagic.Certificate
	for i := range list {
		if c := &list[i]; c.Leaf != nil && (newest == nil || c.Leaf.NotAfter.After(newest.Leaf.NotAfter)) {
			newest = c
		}
	}
	return newest
}

// certificates is what there is now.
func (a *Automatic) certificates() *table { return a.current.Load() }

// Refresh takes over what was renewed, and logs what is not renewed in time. The
// owner calls it every few seconds.
func (a *Automatic) Refresh() {
	a.publish()
	all := a.Expiries()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.warned.log(a.env.Logger, all, a.env.Now())
}

// Expiries lists the certificates of the domains.
func (a *Automatic) Expiries() []Expiry {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*pair
	for _, d := range a.domains {
		if p := a.have[d]; p != nil {
			list = append(list, p)
		}
	}
	return expiries(list)
}

// Problems lists the domains without a certificate or whose renewal fails.
func (a *Automatic) Problems() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, d := range a.domains {
		switch err := a.failed[d]; {
		case err != nil:
			all = append(all, fmt.Sprintf("%s: certificate not obtained: %v", d, err))
		case a.have[d] == nil:
			all = append(all, d+": has no certificate yet")
		}
	}
	return all
}

// Close ends what runs in the background. Certificates that were taken stay usable.
func (a *Automatic) Close() error {
	a.stop()
	if a.cache != nil {
		a.cache.Stop()
	}
	err := a.occupied.Close()
	a.jobs.Wait()
	if a.onDemand != nil {
		a.onDemand.end()
	}
	return errors.Join(err, a.closeFolder())
}

func (a *Automatic) closeFolder() error {
	if a.folder == nil {
		return nil
	}
	return a.folder.Close()
}
