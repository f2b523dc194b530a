// Package certificates has the certificates of listeners, with which the gateway
// says who it is, and those with which it knows clients and origins.
//
// A Store belongs to a listener and lives as long: it is loaded from files that
// are watched, from Automatic (ACME) and from certificates that it makes itself. A
// handshake reads it without a lock. An Origin is the same for the connections
// that the gateway opens.
//
// Stores, origins and automatic certificates have no goroutine that looks at the
// time: whoever owns them calls Refresh every few seconds.
package certificates

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Env is what stores and origins need of the process.
type Env struct {
	Logger *slog.Logger
	Now    func() time.Time // time.Now where it is nil
}

func (e Env) filled() Env {
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	return e
}

// Spec says how a listener speaks TLS.
type Spec struct {
	// Files are certificates; several for the same names are for clients with
	// different abilities (ECDSA and RSA).
	Files []Files
	// Automatic has certificates from an authority, or is nil. It is shared by
	// listeners and is not closed by the Store.
	Automatic *Automatic
	// SelfSigned is a certificate that the Store makes itself, or nil.
	SelfSigned *SelfSigned

	// Default is the name whose certificate is for clients that send none or one
	// that is unknown; "" is the first of Files, then Automatic, then SelfSigned.
	Default string
	// RefuseUnknown ends a handshake for a name that no certificate has, with the
	// alert unrecognized_name. Clients that send no name get the default.
	RefuseUnknown bool

	Minimum   uint16   // tls.VersionTLS12 (also where it is 0) or tls.VersionTLS13
	Protocols []string // ALPN, the best first; none: no ALPN
	Clients   Clients
}

// Mode says whether clients have to show a certificate.
type Mode uint8

const (
	// Off asks for none.
	Off Mode = iota
	// Request asks; who has none may come in. One that is shown must be
	// issued by the authorities; where none are given any is taken and counts as
	// not verified.
	Request
	// Require lets in only who shows one that was issued by the authorities.
	Require
)

// Clients says which certificates of clients are asked for and believed.
type Clients struct {
	Mode        Mode
	Authorities string // a PEM file
}

// Store is the certificates and the TLS settings of one listener.
type Store struct {
	env     Env
	tickets tickets
	current atomic.Pointer[state]

	mu     sync.Mutex // guards what follows, and who may store current
	warned calendar
}

// state is all that a handshake needs. It is never changed once it is current.
type state struct {
	spec   Spec
	files  []*watchedPair // by index of spec.Files
	self   *watchedSelf
	pool   *watchedPool
	table  *table
	config *tls.Config
	quic   *tls.Config // the same for HTTP/3
}

// watchedPair is a pair and the look of its files when they were last read.
type watchedPair struct {
	files   Files
	purpose purpose
	*pair
	used    [2]look // what the pair was made of
	seen    [2]look // what was read last; it differs from used where it was bad
	problem string  // why what was seen is not used
}

// NewStore returns a store that has nothing yet; Config is nil until the first
// Commit.
func NewStore(env Env) *Store {
	s := &Store{env: env.filled()}
	s.tickets.rotate(s.env.Now())
	return s
}

// Change is what Prepare has loaded.
type Change struct {
	store *Store
	next  *state
}

// Prepare loads what the spec names. After an error, which has every *Problem
// joined, nothing has changed. A file that reads as before is kept as it is,
// even if its certificate has expired by now: a change elsewhere must not fail
// for it.
func (s *Store) Prepare(spec Spec) (*Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.current.Load()
	if before == nil {
		before = &state{}
	}
	now := s.env.Now()
	next, err := load(spec, before, now, false)
	if err != nil {
		return nil, err
	}
	s.build(next)
	return &Change{s, next}, nil
}

// Commit makes the change valid for the handshakes that begin from now on.
func (c *Change) Commit() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.publish(c.next)
}

// publish is called with mu held.
func (s *Store) publish(next *state) {
	next.config.SetSessionTicketKeys(s.tickets.keys())
	next.quic.SetSessionTicketKeys(s.tickets.keys())
	s.current.Store(next)
}

// load reads all that a spec names, reusing what before has. A dry run makes no
// self-signed certificate.
func load(spec Spec, before *state, now time.Time, dry bool) (*state, error) {
	spec.Default = strings.ToLower(spec.Default)
	next := &state{spec: spec}
	errs := checkSpec(spec)
	for _, f := range spec.Files {
		w, err := openPair(f, forServer, before.files, now)
		errs = append(errs, err)
		next.files = append(next.files, w)
	}
	if spec.SelfSigned != nil && dry {
		errs = append(errs, checkSelf(*spec.SelfSigned)...)
	} else if spec.SelfSigned != nil {
		w, err := openSelf(*spec.SelfSigned, before.self, now)
		errs = append(errs, err)
		next.self = w
	}
	if spec.Clients.Authorities != "" {
		w, err := openPool(spec.Clients.Authorities, before.pool, now)
		errs = append(errs, err)
		next.pool = w
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if next.table = newTable(next.pairs(), spec.Default); !next.hasDefault() {
		return nil, fmt.Errorf("no certificate has the name %q of the default", spec.Default)
	}
	return next, nil
}

// hasDefault says whether there is, or will be, a certificate for the default name.
func (st *state) hasDefault() bool {
	name := st.spec.Default
	if name == "" || len(st.table.fallback) > 0 {
		return true
	}
	if self := st.spec.SelfSigned; self != nil && slices.Contains(self.names(), name) {
		return true
	}
	return st.spec.Automatic != nil && st.spec.Automatic.manages(name)
}

func checkSpec(spec Spec) []error {
	var errs []error
	if len(spec.Files) == 0 && spec.Automatic == nil && spec.SelfSigned == nil {
		errs = append(errs, errors.New("no certificates: name files, automatic certificates, or self_signed"))
	}
	if spec.Clients.Mode == Require && spec.Clients.Authorities == "" {
		errs = append(errs, errors.New("client certificates are required, but no authorities are named that issue them"))
	}
	if v := spec.Minimum; v != 0 && v != tls.VersionTLS12 && v != tls.VersionTLS13 {
		errs = append(errs, errors.New("the minimum version must be TLS 1.2 or TLS 1.3"))
	}
	if slices.Contains(spec.Protocols, ChallengeProtocol) {
		errs = append(errs, fmt.Errorf("the protocol %s is for authorities only and is added where it is needed", ChallengeProtocol))
	}
	return errs
}

// openPair loads a pair, or takes over that of before which has the same contents.
func openPair(f Files, use purpose, before []*watchedPair, now time.Time) (*watchedPair, error) {
	p, looks, err := loadPair(f, use, now)
	for _, old := range before {
		if old.files == f && old.purpose == use && old.used[0].sum == looks[0].sum && old.used[1].sum == looks[1].sum {
			return &watchedPair{files: f, purpose: use, pair: old.pair, used: looks, seen: looks}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &watchedPair{files: f, purpose: use, pair: p, used: looks, seen: looks}, nil
}

// pairs lists the certificates in the order in which they are the default.
func (st *state) pairs() []*pair {
	var all []*pair
	for _, w := range st.files {
		all = append(all, w.pair)
	}
	if st.self != nil {
		all = append(all, st.self.pair)
	}
	return all
}

// build makes the parts of a state that follow from the others.
func (s *Store) build(st *state) {
	st.table = newTable(st.pairs(), st.spec.Default)
	c := &tls.Config{
		// A record is a system call: as large as what is written, not as a segment.
		DynamicRecordSizingDisabled: true,
		Time:                        s.env.Now,
		GetCertificate:              s.certificate,
		MinVersion:                  tls.VersionTLS12,
		CipherSuites:                suites,
		CurvePreferences:            curves,
		NextProtos:                  slices.Clone(st.spec.Protocols),
	}
	if st.spec.Minimum != 0 {
		c.MinVersion = st.spec.Minimum
	}
	if st.spec.Automatic != nil {
		c.GetConfigForClient = st.spec.Automatic.challengeConfig
	}
	if st.pool != nil {
		c.ClientCAs = st.pool.pool
	}
	c.ClientAuth = st.spec.Clients.auth()
	st.config = c
	st.quic = c.Clone()
	st.quic.MinVersion = tls.VersionTLS13 // RFC 9001 §4.2.
	st.quic.NextProtos = []string{"h3"}
	st.quic.GetConfigForClient = nil // Authorities ask over TCP.
}

func (c Clients) auth() tls.ClientAuthType {
	switch {
	case c.Mode == Require:
		return tls.RequireAndVerifyClientCert
	case c.Mode == Request && c.Authorities != "":
		return tls.VerifyClientCertIfGiven
	case c.Mode == Request:
		return tls.RequestClientCert
	}
	return tls.NoClientCert
}

// Config is for the next connection; nobody may change it. A listener asks for it
// each time it accepts, on any goroutine: the settings of connections that exist
// do not change.
func (s *Store) Config() *tls.Config {
	if st := s.current.Load(); st != nil {
		return st.config
	}
	return nil
}

// QUICConfig is Config for connections of HTTP/3, which have TLS 1.3 within QUIC.
func (s *Store) QUICConfig() *tls.Config {
	if st := s.current.Load(); st != nil {
		return st.quic
	}
	return nil
}

// maxName is the longest name of a host (RFC 1035 §2.3.4).
const maxName = 253

// certificate finds the certificate for a handshake, in the order: the very name
// in files, the very name in automatic ones, wildcards in files, names that are
// allowed on demand, the default. Only on demand it allocates, or waits.
func (s *Store) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	st := s.current.Load()
	auto := st.spec.Automatic
	if hello.ServerName == "" || len(hello.ServerName) > maxName {
		return choose(hello, st.defaults()), nil
	}
	var room [maxName]byte
	name := lower(&room, hello.ServerName)
	if found := st.table.exact[string(name)]; found != nil {
		return choose(hello, found), nil
	}
	if auto != nil {
		if found := auto.certificates().exact[string(name)]; found != nil {
			return choose(hello, found), nil
		}
	}
	if dot := bytes.IndexByte(name, '.'); dot > 0 {
		if found := st.table.wild[string(name[dot+1:])]; found != nil {
			return choose(hello, found), nil
		}
	}
	if auto != nil && auto.onDemand != nil {
		if c := auto.demand(hello); c != nil {
			return c, nil
		}
	}
	if st.spec.RefuseUnknown {
		return nil, nil // crypto/tls makes the alert unrecognized_name of it.
	}
	return choose(hello, st.defaults()), nil
}

func (st *state) defaults() []*pair {
	if len(st.table.fallback) > 0 && (st.spec.Default != "" || len(st.files) > 0) {
		return st.table.fallback
	}
	if auto := st.spec.Automatic; auto != nil {
		t := auto.certificates()
		if st.spec.Default == "" && len(t.fallback) > 0 {
			return t.fallback
		}
		if found := t.find(st.spec.Default); found != nil {
			return found
		}
	}
	return st.table.fallback
}

// lower writes a name in lower case into room, so that nothing is allocated: the
// names that clients send are in any case.
func lower(room *[maxName]byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		room[i] = c
	}
	return room[:len(name)]
}

// Refresh looks at the files, at the age of the keys for tickets, and at the dates
// of certificates; the owner calls it every few seconds. What has changed for the
// worse is logged once, and what was there before stays in use. Connections
// notice nothing.
func (s *Store) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.current.Load()
	if st == nil {
		return
	}
	now := s.env.Now()
	next := *st
	changed := false
	next.files = slices.Clone(st.files)
	for i, w := range st.files {
		next.files[i] = w.refresh(now, s.env.Logger)
		changed = changed || next.files[i].pair != w.pair
	}
	if st.self != nil {
		next.self = st.self.refresh(now, s.env.Logger)
		changed = changed || next.self.pair != st.self.pair
	}
	if st.pool != nil {
		next.pool = st.pool.refresh(now, s.env.Logger)
		changed = changed || next.pool.pool != st.pool.pool
	}
	if s.tickets.rotate(now) {
		st.config.SetSessionTicketKeys(s.tickets.keys())
		st.quic.SetSessionTicketKeys(s.tickets.keys())
	}
	if changed {
		s.build(&next)
		s.publish(&next)
	} else {
		s.current.Store(&next) // The same config: what was seen is remembered.
	}
	s.warned.log(s.env.Logger, expiries(next.pairs()), now)
}

// refresh returns w, or what has to stand in its place.
func (w *watchedPair) refresh(now time.Time, logger *slog.Logger) *watchedPair {
	// A file that was bad is read again each time: it may not have been valid yet, or
	// the key that fits may come later.
	if w.problem == "" && !w.seen[0].mayDiffer() && !w.seen[1].mayDiffer() {
		return w
	}
	p, looks, err := loadPair(w.files, w.purpose, now)
	next := *w
	next.seen, next.problem = looks, ""
	switch {
	case looks[0].info != nil && looks[1].info != nil && looks[0].sum == w.used[0].sum && looks[1].sum == w.used[1].sum:
		next.used = looks
	case err != nil:
		next.problem = err.Error()
		if next.problem != w.problem {
			logger.Error("certificate not reloaded; the one before stays in use", "error", err)
		}
	default:
		next.pair, next.used = p, looks
		logger.Info("certificate reloaded", "file", w.files.Certificate, "names", p.leaf.DNSNames, "not_after", p.leaf.NotAfter)
	}
	return &next
}

// Problems lists why files that have changed are not in use, and certificates that
// have expired; nothing is wrong where it is empty.
func (s *Store) Problems() []string {
	st := s.current.Load()
	if st == nil {
		return nil
	}
	return problems(st.files, st.pool, expiries(st.pairs()), s.env.Now())
}

// problems is what is wrong with files and with certificates.
func problems(files []*watchedPair, pool *watchedPool, all []Expiry, now time.Time) (wrong []string) {
	for _, w := range files {
		if w.problem != "" {
			wrong = append(wrong, w.problem)
		}
	}
	if pool != nil && pool.problem != "" {
		wrong = append(wrong, pool.problem)
	}
	for _, e := range all {
		if e.Left(now) < 0 {
			wrong = append(wrong, e.String(now))
		}
	}
	return wrong
}

// watchedPool is a pool of authorities from a file.
type watchedPool struct {
	pool    *x509.CertPool
	used    look
	seen    look
	problem string
}

func openPool(path string, before *watchedPool, now time.Time) (*watchedPool, error) {
	pool, l, err := loadPool(path, now)
	if before != nil && before.used.path == path && before.used.sum == l.sum && l.info != nil {
		return &watchedPool{pool: before.pool, used: l, seen: l}, nil
	}
	if err != nil {
		return nil, err
	}
	return &watchedPool{pool: pool, used: l, seen: l}, nil
}

// loadPool reads authorities. Those that have expired are left out unless all
// have: bundles keep them for long.
func loadPool(path string, now time.Time) (*x509.CertPool, look, error) {
	data, l, err := readFile(path, now)
	if err != nil {
		return nil, l, err
	}
	all, err := parseCertificates(path, data)
	if err != nil {
		return nil, l, err
	}
	pool := x509.NewCertPool()
	var bad error
	valid := 0
	for i, c := range all {
		if err := checkDates(path, i, c, now); err != nil {
			bad = err
			continue
		}
		pool.AddCert(c)
		valid++
	}
	if valid == 0 {
		return nil, l, bad
	}
	return pool, l, nil
}

func (w *watchedPool) refresh(now time.Time, logger *slog.Logger) *watchedPool {
	if w.problem == "" && !w.seen.mayDiffer() {
		return w
	}
	pool, l, err := loadPool(w.used.path, now)
	next := *w
	next.seen, next.problem = l, ""
	switch {
	case l.info != nil && l.sum == w.used.sum:
		next.used = l
	case err != nil:
		next.problem = err.Error()
		if next.problem != w.problem {
			logger.Error("authorities not reloaded; those before stay in use", "error", err)
		}
	default:
		next.pool, next.used = pool, l
		logger.Info("authorities reloaded", "file", l.path)
	}
	return &next
}
