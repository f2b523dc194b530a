// Package listen holds the sockets on which clients arrive: it accepts
// connections, keeps their number within a limit, and lets them go when the
// gateway ends. TLS, the PROXY protocol and the hand-over of sockets join here.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
	"github.com/sluice-gateway/sluice/wire/http2"
	"github.com/sluice-gateway/sluice/wire/http3"
)

// Spec describes a listener.
type Spec struct {
	Name           string
	Address        string // host:port; an empty host is every address
	MaxConnections int    // more are answered 503 too_many_connections; 0 is no limit
	Limits         http1.Limits
	HTTP2          http2.Limits
	HTTP3          http3.Limits
	Protocols      []string           // HTTP1, HTTP2, HTTP3 (which needs TLS); none is HTTP1 alone
	TLS            *certificates.Spec // nil is none; its Protocols are those of the listener
	ACME           *certificates.ACME // certificates that TLS has from an authority, or nil
	ProxyProtocol  ProxyProtocol
	TrustedProxies []netip.Prefix // from whom a PROXY protocol header is believed
}

// Metrics is what a listener counts with; *observe.ListenerMetrics is one.
type Metrics interface {
	Opened(shard uint32)
	Closed(shard uint32)
	Refused()
	HandshakeFailed()
	ProxyProtocolRefused(reason string) // one of ProxyUntrusted and so on
}

// Set is all listeners of a process. Its methods are called by one goroutine at a
// time, the one that loads configurations; Status and Begin by any.
type Set struct {
	handler message.Handler
	metrics func(listener string) Metrics
	logger  *slog.Logger
	// Inherited is where sockets are taken from before new ones are opened.
	Inherited *Inheritance

	mu       sync.Mutex
	open     []*listener // in the order of the configuration
	leaving  []*listener // not wanted any more, but with connections
	refusals refusals

	acme atomic.Pointer[[]served]
}

// NewSet returns an empty set, whose connections are served by handler.
func NewSet(handler message.Handler, metrics func(listener string) Metrics, logger *slog.Logger) *Set {
	return &Set{handler: handler, metrics: metrics, logger: logger}
}

// Change is a new list of listeners, of which the sockets are open and nothing is
// accepted yet.
type Change struct {
	set    *Set
	next   []*listener
	fresh  []*listener
	update []Spec // by index of next; for listeners that are kept
	secure []secure
	udp    map[*socket]*packets // opened for this change, and not in use yet
	acme   []served             // what the new listeners share
}

// secure is the TLS of a listener that is about to change.
type secure struct {
	store  *certificates.Store // nil without TLS
	change *certificates.Change
}

// Prepare opens the sockets that are not open yet. After an error, which names
// every address that could not be had, nothing has changed.
func (s *Set) Prepare(specs []Spec) (*Change, error) {
	c := &Change{set: s, update: specs}
	var errs []error
	for _, spec := range specs {
		if old := s.find(spec.Name, spec.Address); old != nil {
			c.next = append(c.next, old)
			continue
		}
		l, err := s.bind(spec)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", spec.Name, err))
			continue
		}
		c.next = append(c.next, l)
		c.fresh = append(c.fresh, l)
	}
	if len(errs) == 0 {
		errs = c.openPackets()
	}
	if len(errs) == 0 {
		errs = c.loadCertificates()
	}
	if len(errs) > 0 {
		c.Rollback()
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// openPackets opens the UDP sockets that are not open yet.
func (c *Change) openPackets() (errs []error) {
	for i, l := range c.next {
		if l.socket.udp != nil || !c.update[i].has(HTTP3) {
			continue
		}
		p, err := openPackets(l.socket, &c.update[i], c.set.Inherited)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", c.update[i].Name, err))
			continue
		}
		if c.udp == nil {
			c.udp = map[*socket]*packets{}
		}
		c.udp[l.socket] = p
	}
	return errs
}

// commitPackets puts them in use, and lets go of those that are not wanted any more.
func (c *Change) commitPackets() {
	for i, l := range c.next {
		s := l.socket
		if p := c.udp[s]; p != nil {
			if err := p.start(); err != nil {
				c.set.logger.Error("h3 is not spoken", "listener", c.update[i].Name, "error", err)
				continue
			}
			c.set.replacePackets(s, p)
		} else if s.udp != nil && !c.update[i].has(HTTP3) {
			s.udp.stop()
			c.set.replacePackets(s, nil)
			l.h3.Drain()
		}
		l.announce(c.update[i].has(HTTP3))
	}
}

// replacePackets changes the UDP socket beside a socket. Begin may look at the same time.
func (s *Set) replacePackets(beside *socket, p *packets) {
	s.mu.Lock()
	defer s.mu.Unlock()
	beside.udp = p
}

// loadCertificates reads what the listeners need for TLS. A listener keeps its store, and
// with it the keys of its session tickets.
func (c *Change) loadCertificates() (errs []error) {
	for i, l := range c.next {
		spec := &c.update[i]
		if spec.TLS == nil {
			c.secure = append(c.secure, secure{})
			continue
		}
		var store *certificates.Store
		if now := l.speaks.Load(); now != nil {
			store = now.store
		}
		if store == nil {
			store = certificates.NewStore(certificates.Env{Logger: c.set.logger})
		}
		secured := spec.certificatesSpec()
		if spec.ACME != nil {
			automatic, err := c.automatic(spec.ACME)
			if err != nil {
				errs = append(errs, fmt.Errorf("listener %s: tls: %w", spec.Name, err))
				continue
			}
			secured.Automatic = automatic
		}
		change, err := store.Prepare(secured)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: tls: %w", spec.Name, err))
		}
		c.secure = append(c.secure, secure{store, change})
	}
	return errs
}

// Refresh looks whether files of certificates have changed, and rotates the keys of
// session tickets. It is called every few seconds, by any one goroutine.
func (s *Set) Refresh() {
	for _, store := range s.stores() {
		store.Refresh()
	}
	s.eachAutomatic((*certificates.Automatic).Refresh)
}

// Certificates emits, for metrics, the seconds that each certificate is valid yet.
func (s *Set) Certificates(emit func(listener, source string, seconds float64)) {
	for name, store := range s.stores() {
		store.Measure(func(source string, seconds float64) { emit(name, source, seconds) })
	}
	s.eachAutomatic(func(a *certificates.Automatic) {
		for _, e := range a.Expiries() {
			emit("", e.Source, e.Left(time.Now()).Seconds())
		}
	})
}

// CertificateProblems emits, for metrics, how many certificates of a listener need
// somebody; those from authorities stand under no listener.
func (s *Set) CertificateProblems(emit func(listener string, number int)) {
	for name, store := range s.stores() {
		emit(name, len(store.Problems()))
	}
	automatics, failing := s.automatics(), 0
	for _, a := range automatics {
		failing += len(a.Problems())
	}
	if len(automatics) > 0 {
		emit("", failing)
	}
}

func (s *Set) stores() map[string]*certificates.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*certificates.Store{}
	for _, l := range s.open {
		if now := l.speaks.Load(); now != nil && now.store != nil {
			all[l.spec.Name] = now.store
		}
	}
	return all
}

// find returns the listener that has this socket and name.
func (s *Set) find(name, address string) *listener {
	for _, l := range s.open {
		if l.spec.Address == address && l.spec.Name == name {
			return l
		}
	}
	return nil
}

// InUse is the certificates of a listener, nil where it has none.
func (s *Set) InUse(name, address string) *certificates.Store {
	if l := s.find(name, address); l != nil {
		return l.speaks.Load().store
	}
	return nil
}

func (s *Set) bind(spec Spec) (*listener, error) {
	// A listener that only has a new name takes over the socket of the old one.
	for _, l := range s.open {
		if l.spec.Address == spec.Address && !strings.HasSuffix(spec.Address, ":0") { // 0 is any free port.
			return newListener(s, spec, l.socket), nil
		}
	}
	l, kept := s.Inherited.Take(spec.Name, spec.Address)
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", spec.Address); err != nil {
			return nil, err
		}
	}
	opened := newSocket(l, s.logger)
	opened.kept.Store(kept)
	return newListener(s, spec, opened), nil
}

// Commit starts the new listeners, changes the limits of those that are kept, and
// lets those go that are not wanted any more: their connections end when their
// present exchange is over.
func (c *Change) Commit() {
	s := c.set
	for i, l := range c.next {
		if c.secure[i].change != nil {
			c.secure[i].change.Commit()
		}
		l.adopt(c.update[i], c.secure[i].store)
	}
	for _, l := range c.fresh {
		if l.socket.owner.Swap(l) == nil {
			go l.socket.accept()
		}
	}
	c.commitPackets()
	c.adoptAutomatic()
	var gone []*listener
	s.mu.Lock()
	for _, l := range s.open {
		if !slices.Contains(c.next, l) {
			gone = append(gone, l)
		}
	}
	s.open = c.next
	s.leaving = slices.DeleteFunc(s.leaving, func(l *listener) bool { return l.connections() == 0 })
	s.leaving = append(s.leaving, gone...)
	s.mu.Unlock()
	for _, l := range gone {
		l.stop()
	}
}

// Rollback closes what Prepare has opened.
func (c *Change) Rollback() {
	c.dropAutomatic()
	for _, p := range c.udp {
		p.stop()
	}
	for _, l := range c.fresh {
		if l.socket.owner.Load() == nil {
			_ = l.socket.Close()
		}
	}
}

// Status is what a listener is doing.
type Status struct {
	Name        string
	Address     string // that it is bound to
	Connections int
}

// Status lists the listeners.
func (s *Set) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for _, l := range s.open {
		all = append(all, Status{l.spec.Name, l.socket.Addr().String(), l.connections()})
	}
	return all
}

// drainLook is how often a drain looks whether everybody has left.
const drainLook = 10 * time.Millisecond

// Shutdown stops accepting, ends each connection when its exchange is over, and
// waits for that until ctx is done; then it cuts what is left and returns the number of
// connections that it cut.
func (s *Set) Shutdown(ctx context.Context) (cut int) {
	s.mu.Lock()
	stopping := s.open
	open := append(s.leaving, s.open...)
	s.leaving = nil
	s.mu.Unlock()
	for _, l := range stopping {
		l.stop()
	}
	defer s.closeAutomatic()
	ticker := time.NewTicker(drainLook)
	defer ticker.Stop()
	for {
		left := 0
		for _, l := range open {
			left += l.connections()
		}
		if left == 0 {
			s.shut(open)
			return 0
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, l := range open {
				l.hurry(time.Now())
				l.server.Close()
				l.h2.Close()
				l.h3.Close()
			}
			s.shut(open)
			return left
		}
	}
}

// shut closes the UDP sockets of listeners that have no connections any more.
func (s *Set) shut(all []*listener) {
	for _, l := range all {
		if l.socket.udp != nil {
			l.socket.udp.shut()
		}
	}
}
