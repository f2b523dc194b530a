package certificates

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/message"
)

// OriginSpec says how the gateway speaks TLS to an origin, and whom it believes to
// be the origin.
type OriginSpec struct {
	Upstream string // its name, for logs
	// Authorities is a PEM file; "" are those of the system.
	Authorities string
	// ServerName is sent, and is what the certificate must be for; "" is the host of
	// each endpoint.
	ServerName string
	// Certificate is what the gateway shows of itself, or nil.
	Certificate *Files

	// Names are subject alternative names, one of which the certificate must have
	// instead of the server name: hosts, "*.hosts" as they are written in it, or URIs
	// ("spiffe://…").
	Names []string
	// Pins are SHA-256 of public keys (SubjectPublicKeyInfo), one of which must be in
	// the chain: "sha256/" and base64, or hexadecimal.
	Pins []string
	// InsecureSkipVerify believes every certificate (that has a pin, where there are
	// pins). It is logged.
	InsecureSkipVerify bool

	Minimum   uint16   // tls.VersionTLS12 (also where it is 0) or tls.VersionTLS13
	Protocols []string // ALPN: "h2", "http/1.1"
}

// Origin is the TLS settings for connections to an origin.
type Origin struct {
	env     Env
	spec    OriginSpec
	pins    [][sha256.Size]byte
	current atomic.Pointer[originState]
	mu      sync.Mutex // held by Refresh
	warned  calendar
}

// originState is never changed.
type originState struct {
	pool   *watchedPool
	own    *watchedPair
	config *tls.Config
}

// sessions is how many sessions with origins are remembered, to be resumed.
const sessions = 64

// OpenOrigin loads the files of a spec. The error has every problem joined.
func OpenOrigin(spec OriginSpec, env Env) (*Origin, error) {
	o := &Origin{env: env.filled(), spec: spec}
	now := o.env.Now()
	st := &originState{}
	errs := checkOrigin(spec)
	pins, err := parsePins(spec.Pins)
	errs = append(errs, err)
	o.pins = pins
	if spec.Authorities != "" {
		st.pool, err = openPool(spec.Authorities, nil, now)
		errs = append(errs, err)
	}
	if spec.Certificate != nil {
		st.own, err = openPair(*spec.Certificate, forClient, nil, now)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if spec.InsecureSkipVerify {
		o.env.Logger.Warn("certificates of an origin are not verified: whoever is in between can read and change everything",
			"upstream", spec.Upstream, "pins", len(pins))
	}
	o.publish(st)
	return o, nil
}

// CheckOrigin is OpenOrigin for a configuration that is looked at but not applied.
func CheckOrigin(spec OriginSpec, env Env) (warnings []string, err error) {
	env = env.filled()
	quiet := Env{Now: env.Now}
	o, err := OpenOrigin(spec, quiet)
	if err != nil {
		return nil, err
	}
	if spec.InsecureSkipVerify {
		warnings = append(warnings, "the origin's certificate is not verified")
	}
	for _, e := range o.Expiries() {
		if e.Urgency(env.Now()) != Calm {
			warnings = append(warnings, e.String(env.Now()))
		}
	}
	return warnings, nil
}

func checkOrigin(spec OriginSpec) []error {
	var errs []error
	if v := spec.Minimum; v != 0 && v != tls.VersionTLS12 && v != tls.VersionTLS13 {
		errs = append(errs, errors.New("the minimum version must be TLS 1.2 or TLS 1.3"))
	}
	if spec.InsecureSkipVerify && spec.Authorities != "" {
		errs = append(errs, errors.New("authorities are named, but nothing is verified with them: remove one of the two settings"))
	}
	if spec.InsecureSkipVerify && len(spec.Names) > 0 {
		errs = append(errs, errors.New("names are given, but nothing is verified: remove one of the two settings"))
	}
	return errs
}

func parsePins(pins []string) ([][sha256.Size]byte, error) {
	var all [][sha256.Size]byte
	var errs []error
	for _, pin := range pins {
		var sum []byte
		var err error
		if text, ok := strings.CutPrefix(pin, "sha256/"); ok {
			sum, err = base64.StdEncoding.DecodeString(text)
		} else {
			sum, err = hex.DecodeString(strings.ReplaceAll(pin, ":", ""))
		}
		if err != nil || len(sum) != sha256.Size {
			errs = append(errs, fmt.Errorf(`the pin %q is not a SHA-256: write "sha256/" and 44 characters of base64, or 64 hexadecimal digits`, pin))
			continue
		}
		all = append(all, [sha256.Size]byte(sum))
	}
	return all, errors.Join(errs...)
}

// publish makes the config that follows from the files. Sessions that were begun
// with other authorities or another certificate are not resumed.
func (o *Origin) publish(st *originState) {
	c := &tls.Config{
		Time:               o.env.Now,
		ServerName:         o.spec.ServerName,
		MinVersion:         tls.VersionTLS12,
		CipherSuites:       suites,
		CurvePreferences:   append(slices.Clone(curves), tls.CurveP384),
		NextProtos:         slices.Clone(o.spec.Protocols),
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if o.spec.Minimum != 0 {
		c.MinVersion = o.spec.Minimum
	}
	if st.pool != nil {
		c.RootCAs = st.pool.pool
	}
	if st.own != nil {
		// Not Certificates: there crypto/tls silently shows nothing to an origin whose
		// list of authorities lacks ours, and the origin's refusal says nothing.
		own := &st.own.certificate
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	if o.spec.InsecureSkipVerify || len(o.spec.Names) > 0 {
		// What crypto/tls would verify is wider or other than what is asked for:
		// VerifyConnection does it all.
		c.InsecureSkipVerify = true
	}
	pool := c.RootCAs
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := o.verify(&cs, pool); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		return nil
	}
	st.config = c
	o.current.Store(st)
}

// verify runs at the end of each handshake, also where a session was resumed. Whatever it
// finds is an origin that is not believed, as what crypto/tls finds itself.
func (o *Origin) verify(cs *tls.ConnectionState, pool *x509.CertPool) error {
	if o.spec.InsecureSkipVerify {
		return o.verifyPins([][]*x509.Certificate{cs.PeerCertificates[:1]})
	}
	chains := cs.VerifiedChains
	if len(o.spec.Names) > 0 {
		var err error
		if chains, err = o.verifyNames(cs, pool); err != nil {
			return err
		}
	}
	return o.verifyPins(chains)
}

// verifyNames verifies the chain, and one of the names in place of the host.
func (o *Origin) verifyNames(cs *tls.ConnectionState, pool *x509.CertPool) ([][]*x509.Certificate, error) {
	options := x509.VerifyOptions{Roots: pool, CurrentTime: o.env.Now(), Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	leaf := cs.PeerCertificates[0]
	chains, err := leaf.Verify(options)
	if err != nil {
		return nil, err
	}
	for _, name := range o.spec.Names {
		if hasName(leaf, name) {
			return chains, nil
		}
	}
	return nil, fmt.Errorf("certificates: the origin's certificate has none of the names %s; it has %s",
		strings.Join(o.spec.Names, ", "), strings.Join(message.AlternativeNames(leaf), ", "))
}

func hasName(leaf *x509.Certificate, name string) bool {
	if strings.Contains(name, "://") {
		for _, u := range leaf.URIs {
			if u.String() == name {
				return true
			}
		}
		return false
	}
	if strings.HasPrefix(name, "*.") {
		return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
	}
	return leaf.VerifyHostname(name) == nil
}

func (o *Origin) verifyPins(chains [][]*x509.Certificate) error {
	if len(o.pins) == 0 {
		return nil
	}
	for _, chain := range chains {
		for _, c := range chain {
			if slices.Contains(o.pins, sha256.Sum256(c.RawSubjectPublicKeyInfo)) {
				return nil
			}
		}
	}
	return errors.New("certificates: no public key in the origin's chain has one of the pins")
}

// Config is for the next connection to an endpoint on host, without its port. Where
// the spec has a server name all hosts share one config.
func (o *Origin) Config(host string) *tls.Config {
	c := o.current.Load().config
	if o.spec.ServerName != "" {
		return c
	}
	c = c.Clone()
	c.ServerName = strings.Trim(host, "[]")
	return c
}

// Insecure says that certificates are believed without verification.
func (o *Origin) Insecure() bool { return o.spec.InsecureSkipVerify }

// Refresh looks at the files, like that of Store. Connections stay as they are.
func (o *Origin) Refresh() {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.current.Load()
	now := o.env.Now()
	next := *st
	changed := false
	if st.pool != nil {
		next.pool = st.pool.refresh(now, o.env.Logger)
		changed = next.pool.pool != st.pool.pool
	}
	if st.own != nil {
		next.own = st.own.refresh(now, o.env.Logger)
		changed = changed || next.own.pair != st.own.pair
	}
	if changed {
		o.publish(&next)
	} else {
		o.current.Store(&next)
	}
	o.warned.log(o.env.Logger, o.Expiries(), now)
}

// Expiries lists the gateway's own certificate, if there is one.
func (o *Origin) Expiries() []Expiry {
	if st := o.current.Load(); st.own != nil {
		return expiries([]*pair{st.own.pair})
	}
	return nil
}

// Problems lists why files that have changed are not in use, and that the gateway's own
// certificate has expired.
func (o *Origin) Problems() []string {
	st := o.current.Load()
	var own []*watchedPair
	if st.own != nil {
		own = append(own, st.own)
	}
	return problems(own, st.pool, o.Expiries(), o.env.Now())
}
