package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// DNS is the source that asks DNS servers for the addresses of a name, or for its
// SRV records (RFC 2782), and asks again when their time to live is over. The
// file /etc/hosts is not read.
type DNS struct {
	Name    string
	Port    int           // of every address; not with SRV
	SRV     bool          // the name has SRV records, which tell ports, weights and priorities
	Secure  bool          // the endpoints speak TLS
	Family  Family        // which addresses count
	Servers []string      // host or host:port of the servers to ask; none: those of /etc/resolv.conf
	MinTTL  time.Duration // shortest time between two looks; default 1s
	MaxTTL  time.Duration // longest; default 5m

	AcceptEmpty bool // a name without records empties the list

	resolverFile string // for tests; "" is /etc/resolv.conf
}

// Family says which addresses of a name count.
type Family uint8

const (
	IPv4First Family = iota // IPv6 addresses only where there is no IPv4 address
	IPv6First               // IPv4 addresses only where there is no IPv6 address
	IPv4
	IPv6
	Both
)

// Bounds of the time between two looks at DNS.
const (
	defaultMinTTL    = time.Second
	defaultMaxTTL    = 5 * time.Minute
	shortestNegative = 5 * time.Second // that a name or its records are not there
)

// String is what is watched.
func (d *DNS) String() string {
	if d.SRV {
		return "dns " + d.Name + " (SRV)"
	}
	return "dns " + net.JoinHostPort(d.Name, strconv.Itoa(d.Port))
}

// Watch is the method of Source.
func (d *DNS) Watch(ctx context.Context, send func([]Endpoint), fault func(error)) {
	watch(ctx, d.String(), d.look, send, fault)
}

// look resolves the name once.
func (d *DNS) look(ctx context.Context) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, perLookup)
	defer cancel()
	file := d.resolverFile
	if file == "" {
		file = resolverFile
	}
	r, names, err := newResolver(d.Servers, file, d.Name)
	if err != nil {
		return round{}, err
	}
	l := &lookup{dns: d, resolver: r, ttl: -1}
	err = l.search(ctx, names)
	again := later(d.bounded(l.ttl))
	if len(l.list) == 0 {
		again = later(d.bounded(max(l.negative, shortestNegative)))
	}
	if err != nil {
		return round{again: again}, err
	}
	if l.left > 0 && len(l.list) == 0 {
		return round{again: again}, l.note
	}
	list, note, err := complete(l.list, d.AcceptEmpty)
	if note == nil {
		note = l.note
	}
	return round{list: list, note: note, again: again}, err
}

// bounded is a time to live within the bounds.
func (d *DNS) bounded(ttl time.Duration) time.Duration {
	shortest, longest := d.MinTTL, d.MaxTTL
	if shortest <= 0 {
		shortest = defaultMinTTL
	}
	if longest <= 0 {
		longest = defaultMaxTTL
	}
	return min(max(ttl, shortest), max(shortest, longest))
}

// lookup is one look at DNS.
type lookup struct {
	dns      *DNS
	resolver *resolver
	list     []Endpoint
	ttl      time.Duration // the shortest of all that were found; -1 before the first
	negative time.Duration // the longest of what was not there
	left     int           // targets of SRV records that were left out
	note     error
}

// atMost keeps the shortest time to live.
func (l *lookup) atMost(ttl time.Duration) {
	if l.ttl < 0 || ttl < l.ttl {
		l.ttl = ttl
	}
}

// search tries full names until one has an endpoint. That a name is not there says
// nothing when another one is.
func (l *lookup) search(ctx context.Context, names []string) error {
	var gone error
	there := false
	for _, name := range names {
		err := l.resolve(ctx, name)
		switch {
		case err == nil:
			there = true
		case errors.As(err, new(*missing)):
			gone = err
		default:
			return err
		}
		if len(l.list)+l.left > 0 {
			return nil
		}
	}
	if there {
		return nil
	}
	return gone
}

// resolve finds the endpoints of one full name.
func (l *lookup) resolve(ctx context.Context, name string) error {
	if l.dns.SRV {
		return l.services(ctx, name)
	}
	ips, err := l.addresses(ctx, name, nil)
	for _, ip := range ips {
		l.list = append(l.list, Endpoint{Address: netip.AddrPortFrom(ip, uint16(l.dns.Port)).String(), Secure: l.dns.Secure, Weight: 1})
	}
	return err
}

// services finds the targets of SRV records and their addresses. A target that
// does not exist is left out; one that cannot be resolved now makes the whole look
// fail, so that nobody loses endpoints because a server was slow.
func (l *lookup) services(ctx context.Context, name string) error {
	found, err := l.find(ctx, name, dns.TypeSRV)
	if err != nil {
		return err
	}
	srvs, told := make([]*dns.SRV, 0, len(found.answer)), make([]Endpoint, 0, len(found.answer))
	for _, rr := range found.answer {
		if srv, ok := rr.(*dns.SRV); ok && srv.Target != "." { // RFC 2782: "." says that the service is not there.
			srvs, told = append(srvs, srv), append(told, Endpoint{Weight: int(srv.Weight), Priority: int(srv.Priority)})
		}
	}
	scale(told)
	known := map[string][]netip.Addr{}
	for i, srv := range srvs {
		ips, asked := known[srv.Target]
		if !asked {
			if len(known) >= maxTargets {
				return fmt.Errorf("it names more than %d targets", maxTargets)
			}
			if ips, err = l.target(ctx, srv.Target, found.extra); err != nil {
				return err
			}
			known[srv.Target] = ips
		}
		for _, ip := range ips {
			e := told[i]
			e.Address, e.Secure = netip.AddrPortFrom(ip, srv.Port).String(), l.dns.Secure
			l.list = append(l.list, e)
		}
	}
	return nil
}

// target resolves the target of an SRV record, and notes one that has no address.
func (l *lookup) target(ctx context.Context, name string, extra []dns.RR) ([]netip.Addr, error) {
	ips, err := l.addresses(ctx, name, extra)
	if err != nil && !errors.As(err, new(*missing)) {
		return nil, err
	}
	if len(ips) == 0 {
		l.left++
		if l.note == nil {
			l.note = fmt.Errorf("the target %s has no address: it is left out", strings.TrimSuffix(name, "."))
		}
	}
	return ips, nil
}

// addresses finds the addresses of a name, of the families that count. Those of the
// additional section are taken where they are there.
func (l *lookup) addresses(ctx context.Context, name string, extra []dns.RR) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, kind := range families[l.dns.Family] {
		if len(ips) > 0 && l.dns.Family != Both {
			break // The second choice is not needed.
		}
		found := l.additional(name, kind, extra)
		if len(found) == 0 {
			answer, err := l.find(ctx, name, kind)
			if err != nil {
				return nil, err
			}
			found = addressesOf(answer.answer)
		}
		ips = append(ips, found...)
	}
	return ips, nil
}

var families = map[Family][]uint16{
	IPv4First: {dns.TypeA, dns.TypeAAAA},
	IPv6First: {dns.TypeAAAA, dns.TypeA},
	IPv4:      {dns.TypeA},
	IPv6:      {dns.TypeAAAA},
	Both:      {dns.TypeA, dns.TypeAAAA},
}

// find asks for records and keeps their time to live.
func (l *lookup) find(ctx context.Context, name string, kind uint16) (*records, error) {
	found, err := l.resolver.lookup(ctx, name, kind)
	var gone *missing
	if errors.As(err, &gone) {
		l.negative = max(l.negative, gone.ttl)
	}
	if err != nil {
		return nil, err
	}
	if found.empty {
		l.negative = max(l.negative, found.ttl)
	} else {
		l.atMost(found.ttl)
	}
	return found, nil
}

// additional takes the addresses of a name out of an additional section.
func (l *lookup) additional(name string, kind uint16, extra []dns.RR) []netip.Addr {
	var of []dns.RR
	for _, rr := range extra {
		if h := rr.Header(); h.Rrtype == kind && h.Class == dns.ClassINET && strings.EqualFold(h.Name, name) {
			of = append(of, rr)
			l.atMost(seconds(h.Ttl))
		}
	}
	return addressesOf(of)
}

// addressesOf takes the addresses out of A and AAAA records.
func addressesOf(rrs []dns.RR) []netip.Addr {
	ips := make([]netip.Addr, 0, len(rrs))
	for _, rr := range rrs {
		var ip net.IP
		switch v := rr.(type) {
		case *dns.A:
			ip = v.A
		case *dns.AAAA:
			ip = v.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			ips = append(ips, a.Unmap())
		}
	}
	return ips
}
