package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// resolver asks DNS servers, one after the other until one answers.
type resolver struct {
	servers []string // host:port
	timeout time.Duration
}

// Times and sizes of DNS.
const (
	perQuery  = 2 * time.Second  // for one server to answer
	perLookup = 20 * time.Second // for all queries of one look together
	udpSize   = 1232             // bytes of an answer over UDP: fits all usual paths unfragmented
)

// records is what DNS says to one question.
type records struct {
	answer []dns.RR // those of the name that was asked for, or that it is an alias of
	extra  []dns.RR // of the additional section
	ttl    time.Duration
	empty  bool // the name is there, but no such record
}

// missing says that a name does not exist. It is not worth asking another server.
type missing struct {
	name string
	ttl  time.Duration
}

func (m *missing) Error() string { return "there is no " + m.name + " (NXDOMAIN)" }

// resolverFile is where the system says which servers to ask.
const resolverFile = "/etc/resolv.conf"

// newResolver takes the servers that are configured, or those of the system, and
// tells under which full names a name is to be looked for. It is called for each look,
// because the system's file may change.
func newResolver(servers []string, file, name string) (*resolver, []string, error) {
	r := &resolver{timeout: perQuery}
	if len(servers) > 0 {
		for _, s := range servers {
			r.servers = append(r.servers, withPort(s))
		}
		return r, []string{dns.Fqdn(name)}, nil
	}
	system, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range system.Servers {
		if _, err := netip.ParseAddr(s); err == nil && len(r.servers) < maxServers {
			r.servers = append(r.servers, net.JoinHostPort(s, "53"))
		}
	}
	if len(r.servers) == 0 {
		return nil, nil, fmt.Errorf("%s names no server", file)
	}
	names := system.NameList(name)
	return r, names[:min(len(names), maxSearch)], nil
}

// withPort adds the port of DNS where none is written.
func withPort(server string) string {
	if _, err := netip.ParseAddr(server); err == nil {
		return net.JoinHostPort(server, "53")
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		return net.JoinHostPort(server, "53")
	}
	return server
}

// lookup finds the records of one type of a full name, through aliases.
func (r *resolver) lookup(ctx context.Context, name string, kind uint16) (*records, error) {
	found := &records{ttl: -1}
	for range maxChain {
		message, err := r.ask(ctx, name, kind)
		if err != nil {
			return nil, err
		}
		end := found.follow(message, name, kind)
		negative := negativeTTL(message)
		switch {
		case message.Rcode == dns.RcodeNameError:
			return nil, &missing{strings.TrimSuffix(end, "."), negative}
		case len(found.answer) > 0:
			return found, nil
		case strings.EqualFold(end, name):
			found.empty = true
			found.atMost(negative)
			return found, nil
		}
		name = end // An alias whose records the server did not add.
	}
	return nil, fmt.Errorf("more than %d aliases lead on from %s", maxChain, strings.TrimSuffix(name, "."))
}

// follow takes the records of a message that answer the question, from alias to
// alias, and returns the name at the end. What is said of other names is not
// believed.
func (found *records) follow(m *dns.Msg, name string, kind uint16) (end string) {
	for range maxChain {
		alias := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			if h.Rrtype == kind {
				found.answer = append(found.answer, rr)
				found.atMost(seconds(h.Ttl))
			} else if c, ok := rr.(*dns.CNAME); ok {
				alias = c.Target
				found.atMost(seconds(h.Ttl))
			}
		}
		if len(found.answer) > 0 {
			found.extra = m.Extra
			return name
		}
		if alias == "" {
			return name
		}
		name = alias
	}
	return name
}

func (found *records) atMost(ttl time.Duration) {
	if found.ttl < 0 || ttl < found.ttl {
		found.ttl = ttl
	}
}

// seconds is a TTL; RFC 2181 §8: with the highest bit set it is zero.
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// negativeTTL is how long nothing may be taken for an answer: RFC 2308 §5.
func negativeTTL(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return seconds(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return 0
}

// ask sends one question, to each server at most twice. A name that does not exist
// is an answer.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	if _, ok := dns.IsDomainName(name); !ok {
		return nil, fmt.Errorf("%s is no name of DNS", quote(name))
	}
	var last error
	for range 2 {
		for _, server := range r.servers {
			m, err := r.exchange(ctx, server, name, kind)
			if err == nil {
				return m, nil
			}
			if ctx.Err() != nil {
				if last == nil {
					last = fmt.Errorf("%s: %w", server, errTimeout)
				}
				return nil, last
			}
			last = fmt.Errorf("%s: %s %s: %w", server, dns.TypeToString[kind], strings.TrimSuffix(name, "."), plain(err))
		}
	}
	return nil, last
}

// exchange asks one server over UDP, and over TCP where the answer is too long. One
// that does not know EDNS is asked without it (RFC 6891 §7).
func (r *resolver) exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	q.SetEdns0(udpSize, false)
	m, err := r.over(ctx, "udp", server, q)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		q.Extra = nil
		m, err = r.over(ctx, "udp", server, q)
	}
	if err == nil && m.Truncated {
		m, err = r.over(ctx, "tcp", server, q)
	}
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, errors.New(rcode(m.Rcode))
	}
	return m, nil
}

// over sends one message and waits for its answer.
func (r *resolver) over(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	q.Id = dns.Id()
	client := dns.Client{Net: network, Timeout: r.timeout}
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	m, _, err := client.ExchangeWithConn(q, conn)
	_ = conn.Close()
	switch {
	case timeout(err) || ctx.Err() != nil:
		return nil, errTimeout
	case m != nil && m.Truncated && network == "udp":
		return m, nil // What could be read of it does not matter.
	case err != nil:
		return nil, err
	}
	if m.Truncated {
		return nil, errors.New("its answer is cut off")
	}
	if !m.Response || len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Qtype != q.Question[0].Qtype {
		return nil, errors.New("it answered another question")
	}
	return m, nil
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return "it answered " + name
	}
	return fmt.Sprintf("it answered with code %d", code)
}
