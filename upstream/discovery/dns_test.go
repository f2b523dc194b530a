package discovery

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answers are records by "name TYPE". "!SERVFAIL" and the like answer with a code,
// a record that begins with "+" goes to the additional section, with "-" to the
// authority section.
type answers map[string][]string

// dnsServer is a DNS server that says what a test wants.
type dnsServer struct {
	address string
	mu      sync.Mutex
	answers answers
	asked   []string
	noEDNS  bool // refuses EDNS0
	other   bool // answers another question
	late    bool // cuts every answer over UDP
}

// serveDNS starts one, on UDP and TCP.
func serveDNS(t *testing.T, a answers) *dnsServer {
	t.Helper()
	s := &dnsServer{answers: a}
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.address = pc.LocalAddr().String()
		l, err := net.Listen("tcp", s.address)
		if err != nil {
			_ = pc.Close()
			continue
		}
		for _, server := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: l, Handler: s}} {
			started := make(chan struct{})
			server.NotifyStartedFunc = func() { close(started) }
			go func() { _ = server.ActivateAndServe() }()
			<-started
			t.Cleanup(func() { _ = server.Shutdown() })
		}
		return s
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil
}

func (s *dnsServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// silentDNS is a server that never answers.
func silentDNS(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc.LocalAddr().String()
}

func (s *dnsServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	network := w.RemoteAddr().Network()
	key := strings.ToLower(q.Question[0].Name) + " " + dns.TypeToString[q.Question[0].Qtype]
	s.asked = append(s.asked, network+" "+key)
	m := new(dns.Msg)
	m.SetReply(q)
	defer func() { _ = w.WriteMsg(m) }()
	if q.IsEdns0() != nil && s.noEDNS {
		m.Rcode = dns.RcodeFormatError
		return
	}
	if s.other {
		m.Question[0].Name = "other.internal."
	}
	if s.late && network == "udp" {
		m.Truncated = true
		return
	}
	said, ok := s.answers[key]
	if !ok {
		m.Rcode = dns.RcodeNameError
		m.Ns = append(m.Ns, record1("internal. 60 SOA a. b. 1 1 1 1 17"))
	}
	for _, line := range said {
		if code, isCode := strings.CutPrefix(line, "!"); isCode {
			m.Rcode = dns.StringToRcode[code]
		} else if rr, extra := strings.CutPrefix(line, "+"); extra {
			m.Extra = append(m.Extra, record1(rr))
		} else if rr, authority := strings.CutPrefix(line, "-"); authority {
			m.Ns = append(m.Ns, record1(rr))
		} else {
			m.Answer = append(m.Answer, record1(line))
		}
	}
}

func record1(line string) dns.RR {
	rr, err := dns.NewRR(line)
	if err != nil {
		panic(err)
	}
	return rr
}

func (s *dnsServer) questions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, ", ")
}

const soa = "-internal. 60 SOA a. b. 1 1 1 1 17"

func TestDNS(t *testing.T) {
	t.Parallel()
	zone := answers{
		"orders.internal. A":    {"orders.internal. 30 A 10.0.0.2", "Orders.Internal. 20 A 10.0.0.1", "evil.internal. 1 A 10.9.9.9"},
		"orders.internal. AAAA": {"orders.internal. 10 AAAA 2001:db8::1"},
		"four.internal. A":      {"four.internal. 30 A 10.0.0.4"},
		"four.internal. AAAA":   {soa},
		"six.internal. A":       {soa},
		"six.internal. AAAA":    {"six.internal. 40 AAAA 2001:db8::6"},
		"bare.internal. A":      {soa},
		"bare.internal. AAAA":   {},
		"alias.internal. A":     {"alias.internal. 9 CNAME b.internal.", "b.internal. 8 CNAME orders.internal.", "orders.internal. 30 A 10.0.0.3"},
		"far.internal. A":       {"far.internal. 9 CNAME orders.internal."},
		"loop.internal. A":      {"loop.internal. 9 CNAME loop.internal."},
		"broken.internal. A":    {"!SERVFAIL"},
		"refused.internal. A":   {"!REFUSED"},
		"half.internal. A":      {"half.internal. 30 A 10.0.0.5"},
		"half.internal. AAAA":   {"!SERVFAIL"},
		"zero.internal. A":      {"zero.internal. 30 A 0.0.0.0"},
		"soon.internal. A":      {"soon.internal. 0 A 10.0.0.6"},
		"long.internal. A":      {"long.internal. 86400 A 10.0.0.7"},
		"chaos.internal. A":     {"chaos.internal. 5 CH A 10.0.0.7"},
	}
	server := serveDNS(t, zone)
	for name, test := range map[string]struct {
		dns   DNS
		want  string
		again time.Duration
		err   string
	}{
		"addresses":           {dns: DNS{Name: "orders.internal"}, want: "10.0.0.1:80, 10.0.0.2:80", again: 20 * time.Second},
		"absolute":            {dns: DNS{Name: "orders.internal."}, want: "10.0.0.1:80, 10.0.0.2:80", again: 20 * time.Second},
		"six first":           {dns: DNS{Name: "orders.internal", Family: IPv6First}, want: "[2001:db8::1]:80", again: 10 * time.Second},
		"both":                {dns: DNS{Name: "orders.internal", Family: Both}, want: "10.0.0.1:80, 10.0.0.2:80, [2001:db8::1]:80", again: 10 * time.Second},
		"six first, has four": {dns: DNS{Name: "four.internal", Family: IPv6First}, want: "10.0.0.4:80", again: 30 * time.Second},
		"four first, has six": {dns: DNS{Name: "six.internal"}, want: "[2001:db8::6]:80", again: 40 * time.Second},
		"only four":           {dns: DNS{Name: "six.internal", Family: IPv4}, err: "it tells no endpoint at all", again: 17 * time.Second},
		"only six":            {dns: DNS{Name: "six.internal", Family: IPv6}, want: "[2001:db8::6]:80", again: 40 * time.Second},
		"https":               {dns: DNS{Name: "four.internal", Secure: true}, want: "https://10.0.0.4:80", again: 30 * time.Second},
		"no records":          {dns: DNS{Name: "bare.internal"}, err: "it tells no endpoint at all", again: 17 * time.Second},
		"no records, taken":   {dns: DNS{Name: "bare.internal", AcceptEmpty: true}, want: "", again: 17 * time.Second},
		"no name":             {dns: DNS{Name: "none.internal", AcceptEmpty: true}, err: "there is no none.internal (NXDOMAIN)", again: 17 * time.Second},
		"alias":               {dns: DNS{Name: "alias.internal"}, want: "10.0.0.3:80", again: 8 * time.Second},
		"alias elsewhere":     {dns: DNS{Name: "far.internal"}, want: "10.0.0.1:80, 10.0.0.2:80", again: 9 * time.Second},
		"aliases in a circle": {dns: DNS{Name: "loop.internal", Family: IPv4}, err: "it tells no endpoint at all"},
		"broken":              {dns: DNS{Name: "broken.internal"}, err: server.address + ": A broken.internal: it answered SERVFAIL"},
		"refused":             {dns: DNS{Name: "refused.internal"}, err: "it answered REFUSED"},
		"half is not enough":  {dns: DNS{Name: "half.internal", Family: Both}, err: "AAAA half.internal: it answered SERVFAIL"},
		"garbage":             {dns: DNS{Name: "zero.internal"}, err: `"0.0.0.0:80" is no address of an origin`},
		"another class":       {dns: DNS{Name: "chaos.internal", Family: IPv4}, err: "it tells no endpoint at all"},
		"at least":            {dns: DNS{Name: "soon.internal"}, want: "10.0.0.6:80", again: time.Second},
		"at least, set":       {dns: DNS{Name: "soon.internal", MinTTL: 3 * time.Second}, want: "10.0.0.6:80", again: 3 * time.Second},
		"at most":             {dns: DNS{Name: "long.internal"}, want: "10.0.0.7:80", again: 5 * time.Minute},
		"at most, set":        {dns: DNS{Name: "long.internal", MaxTTL: 7 * time.Second}, want: "10.0.0.7:80", again: 7 * time.Second},
		"no name of DNS":      {dns: DNS{Name: strings.Repeat("a", 64) + ".internal"}, err: "is no name of DNS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := test.dns
			d.Port, d.Servers = 80, []string{server.address}
			r, err := d.look(t.Context())
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %s", err, test.err)
				}
			} else if err != nil || text(r.list) != test.want {
				t.Errorf("%s, %v, want %s", text(r.list), err, test.want)
			}
			if test.again > 0 && (r.again < test.again || r.again > test.again+test.again/10) {
				t.Errorf("again in %v, want %v and up to a tenth more", r.again, test.again)
			}
		})
	}
}

func TestDNSServices(t *testing.T) {
	t.Parallel()
	zone := answers{
		"_http._tcp.orders.internal. SRV": {
			"_http._tcp.orders.internal. 30 SRV 10 60 8080 a.internal.", "_http._tcp.orders.internal. 30 SRV 10 20 8081 b.internal.",
			"_http._tcp.orders.internal. 30 SRV 20 0 8082 a.internal.", "+a.internal. 25 A 10.0.0.1", "+c.internal. 1 A 10.0.0.9",
		},
		"b.internal. A":          {"b.internal. 12 A 10.0.0.2", "b.internal. 12 A 10.0.0.3"},
		"partly.internal. SRV":   {"partly.internal. 30 SRV 0 1 80 b.internal.", "partly.internal. 30 SRV 0 1 80 gone.internal."},
		"gone.internal. SRV":     {"gone.internal. 30 SRV 0 1 80 gone.internal."},
		"slow.internal. SRV":     {"slow.internal. 30 SRV 0 1 80 b.internal.", "slow.internal. 30 SRV 0 1 80 broken.internal."},
		"broken.internal. A":     {"!SERVFAIL"},
		"closed.internal. SRV":   {"closed.internal. 30 SRV 0 0 0 ."},
		"portless.internal. SRV": {"portless.internal. 30 SRV 0 0 0 b.internal."},
		"heavy.internal. SRV":    {"heavy.internal. 30 SRV 0 65535 80 a.internal.", "heavy.internal. 30 SRV 0 656 81 a.internal.", "+a.internal. 25 A 10.0.0.1"},
	}
	server := serveDNS(t, zone)
	for name, test := range map[string]struct {
		want, note, err string
		again           time.Duration
	}{
		"_http._tcp.orders.internal": {want: "10.0.0.1:8080 weight=60 priority=10, 10.0.0.1:8082 priority=20, 10.0.0.2:8081 weight=20 priority=10, 10.0.0.3:8081 weight=20 priority=10", again: 12 * time.Second},
		"partly.internal":            {want: "10.0.0.2:80, 10.0.0.3:80", note: "the target gone.internal has no address: it is left out", again: 12 * time.Second},
		"gone.internal":              {err: "the target gone.internal has no address", again: 17 * time.Second},
		"slow.internal":              {err: "A broken.internal: it answered SERVFAIL"},
		"closed.internal":            {err: "it tells no endpoint at all"},
		"portless.internal":          {err: "is not a host and a port"},
		"heavy.internal":             {want: "10.0.0.1:80 weight=1000, 10.0.0.1:81 weight=10"},
		"none.internal":              {err: "there is no none.internal (NXDOMAIN)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := DNS{Name: name, SRV: true, Servers: []string{server.address}}
			r, err := d.look(t.Context())
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %s", err, test.err)
				}
			} else if err != nil || text(r.list) != test.want {
				t.Errorf("%s, %v, want %s", text(r.list), err, test.want)
			}
			if got := fmt.Sprint(r.note); r.note != nil && got != test.note || r.note == nil && test.note != "" {
				t.Errorf("note %s, want %s", got, test.note)
			}
			if test.again > 0 && (r.again < test.again || r.again > test.again+test.again/10) {
				t.Errorf("again in %v, want %v", r.again, test.again)
			}
		})
	}
}

// TestDNSServers: the next server is asked when one does not answer well.
func TestDNSServers(t *testing.T) {
	t.Parallel()
	well := serveDNS(t, answers{"orders.internal. A": {"orders.internal. 30 A 10.0.0.1"}})
	ill := serveDNS(t, answers{"orders.internal. A": {"!SERVFAIL"}})
	liar := serveDNS(t, answers{"orders.internal. A": {"orders.internal. 30 A 10.6.6.6"}})
	liar.set(func() { liar.other = true })
	old := serveDNS(t, well.answers)
	old.set(func() { old.noEDNS = true })
	cut := serveDNS(t, well.answers)
	cut.set(func() { cut.late = true })
	for name, servers := range map[string][]string{
		"broken": {ill.address, well.address}, "lies": {liar.address, well.address},
		"without EDNS": {old.address}, "cut over UDP": {cut.address},
	} {
		d := DNS{Name: "orders.internal", Port: 80, Servers: servers}
		if r, err := d.look(t.Context()); err != nil || text(r.list) != "10.0.0.1:80" {
			t.Errorf("%s: %s, %v", name, text(r.list), err)
		}
	}
	if got, want := cut.questions(), "udp orders.internal. A, tcp orders.internal. A"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	d := DNS{Name: "orders.internal", Port: 80, Servers: []string{liar.address}}
	if _, err := d.look(t.Context()); err == nil || !strings.Contains(err.Error(), "it answered another question") {
		t.Errorf("a liar alone: %v", err)
	}
}

// TestDNSSilence: a server that does not answer is given up after its time.
func TestDNSSilence(t *testing.T) {
	t.Parallel()
	silent := silentDNS(t)
	well := serveDNS(t, answers{"orders.internal. A": {"orders.internal. 30 A 10.0.0.1"}})
	r := &resolver{servers: []string{silent, well.address}, timeout: 3 * time.Second} // The second server has no more.
	if found, err := r.lookup(t.Context(), "orders.internal.", dns.TypeA); err != nil || len(found.answer) != 1 {
		t.Errorf("the second server: %v, %v", found, err)
	}
	r.servers = r.servers[:1]
	if _, err := r.lookup(t.Context(), "orders.internal.", dns.TypeA); err == nil || err.Error() != silent+": A orders.internal: no answer in time" {
		t.Errorf("silence: %v", err)
	}
}

// TestResolverFile: the servers and the search list of the system.
func TestResolverFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	file := "nameserver 10.0.0.53\nnameserver resolver.example.com\nnameserver ::1\nsearch prod.internal internal\noptions ndots:2\n" + strings.Repeat("nameserver 10.0.0.54\n", 20)
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	r, names, err := newResolver(nil, path, "orders")
	if err != nil || len(r.servers) != maxServers || r.servers[0] != "10.0.0.53:53" || r.servers[1] != "[::1]:53" {
		t.Errorf("%v, %v", r, err)
	}
	if got := strings.Join(names, " "); got != "orders.prod.internal. orders.internal. orders." {
		t.Errorf("names %s", got)
	}
	if _, names, _ = newResolver([]string{"10.0.0.1", "::1", "[::2]:5353", "dns.internal", "dns.internal:54"}, path, "orders"); strings.Join(names, " ") != "orders." {
		t.Errorf("names %v", names)
	}
	r, _, _ = newResolver([]string{"10.0.0.1", "::1", "[::2]:5353", "dns.internal", "dns.internal:54"}, path, "orders")
	if got := strings.Join(r.servers, " "); got != "10.0.0.1:53 [::1]:53 [::2]:5353 dns.internal:53 dns.internal:54" {
		t.Errorf("servers %s", got)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := DNS{Name: "orders", Port: 80, resolverFile: path}
	if _, err := d.look(t.Context()); err == nil || err.Error() != path+" names no server" {
		t.Errorf("no server: %v", err)
	}
}

// TestDNSSearch: a short name is tried with each suffix.
func TestDNSSearch(t *testing.T) {
	t.Parallel()
	server := serveDNS(t, answers{"orders.internal. A": {"orders.internal. 30 A 10.0.0.1"}, "orders.prod.internal. A": {}, "bare.internal. A": {}, "bare.internal. AAAA": {}})
	r := &resolver{servers: []string{server.address}, timeout: perQuery}
	for _, test := range []struct{ names, want, err string }{
		{"orders.test.internal. orders.prod.internal. orders.internal.", "10.0.0.1:80", ""},
		{"none.internal. none.", "", "there is no none (NXDOMAIN)"},
		{"bare.internal. bare.", "", ""}, // It is there, though it has no record.
	} {
		d := &DNS{Port: 80, Family: IPv4}
		l := &lookup{dns: d, resolver: r, ttl: -1}
		err := l.search(t.Context(), strings.Fields(test.names))
		if got := fmt.Sprint(err); text(l.list) != test.want || err != nil && got != test.err || err == nil && test.err != "" {
			t.Errorf("%s: %s, %v", test.names, text(l.list), err)
		}
	}
}

// FuzzDNS: whatever a server says, the list is refused or can be dialled.
func FuzzDNS(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("orders.internal.", dns.TypeA)
	m.Response = true
	m.Answer = append(m.Answer, record1("orders.internal. 5 CNAME b.internal."), record1("b.internal. 5 A 10.0.0.1"))
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, uint16(dns.TypeA))
	f.Fuzz(func(t *testing.T, packet []byte, kind uint16) {
		m := new(dns.Msg)
		if m.Unpack(packet) != nil {
			return
		}
		found := &records{ttl: -1}
		end := found.follow(m, "orders.internal.", kind)
		if end == "" || found.ttl < -1 || negativeTTL(m) < 0 {
			t.Errorf("end %q, ttl %v", end, found.ttl)
		}
		for _, ip := range addressesOf(found.answer) {
			if !ip.IsValid() {
				t.Errorf("%v", found.answer)
			}
		}
	})
}
