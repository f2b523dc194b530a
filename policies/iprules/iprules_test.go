package iprules

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/unit"
)

func list(t testing.TB, networks ...string) unit.List[Prefix] {
	t.Helper()
	var all unit.List[Prefix]
	for _, s := range networks {
		var p Prefix
		if err := p.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func from(address string) *message.Exchange {
	x := &message.Exchange{}
	if address != "" {
		x.Client.Address = netip.MustParseAddr(address)
	}
	return x
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		allow, deny []string
		in, out     string // addresses, separated by spaces
	}{
		{"allow", []string{"10.0.0.0/8"}, nil, "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3", "9.255.255.255 11.0.0.0 0.0.0.0 255.255.255.255 :: 2001:db8::1"},
		{"deny", nil, []string{"10.0.0.0/8"}, "9.255.255.255 11.0.0.0 0.0.0.0 255.255.255.255 :: 2001:db8::1", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3"},
		{"deny within allow", []string{"10.0.0.0/8"}, []string{"10.1.0.0/16"}, "10.0.255.255 10.2.0.0", "10.1.0.0 10.1.255.255 192.0.2.1"},
		{"one address", []string{"192.0.2.7"}, nil, "192.0.2.7", "192.0.2.6 192.0.2.8"},
		{"neighbours", []string{"10.0.0.0/9", "10.128.0.0/9"}, nil, "10.127.255.255 10.128.0.0", "9.255.255.255 11.0.0.0"},
		{"given twice", []string{"10.0.0.0/8", "10.0.0.0/8", "10.3.0.0/16"}, nil, "10.3.1.1 10.4.1.1", "11.0.0.0"},
		{"the ends", []string{"0.0.0.0/32", "255.255.255.255"}, nil, "0.0.0.0 255.255.255.255", "0.0.0.1 255.255.255.254"},
		{"all of IPv4", []string{"0.0.0.0/0"}, nil, "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4", ":: ffff::"},
		{"all of IPv6", []string{"::/0"}, nil, ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1.2.3.4 ::ffff:1.2.3.4"},
		{"nobody", nil, []string{"0.0.0.0/0", "::/0"}, "", "0.0.0.0 1.2.3.4 :: ffff::"},
		{"IPv6", []string{"2001:db8::/32"}, []string{"2001:db8:ffff::/48"}, "2001:db8:: 2001:db8:fffe:ffff:ffff:ffff:ffff:ffff 2001:db8::1%eth0", "2001:db8:ffff::1 2001:db9:: 2001:db7::"},
		{"mapped", []string{"::ffff:10.0.0.0/104"}, nil, "10.9.9.9 ::ffff:10.9.9.9", "11.0.0.0"},
		{"mapped address", nil, []string{"::ffff:10.0.0.1"}, "10.0.0.2", "10.0.0.1 ::ffff:10.0.0.1"},
		{"deny over the end of allow", []string{"10.0.0.0/24", "10.0.2.0/24"}, []string{"10.0.0.128/25", "10.0.1.0/24", "10.0.2.0/25"}, "10.0.0.127 10.0.2.128", "10.0.0.128 10.0.1.5 10.0.2.127"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, err := build(&Config{Allow: list(t, c.allow...), Deny: list(t, c.deny...)}, &policy.Env{})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range strings.Fields(c.in) {
				if v := h.OnRequest(from(a)); v != message.Next {
					t.Errorf("%s is refused", a)
				}
			}
			for _, a := range strings.Fields(c.out) {
				x := from(a)
				if v := h.OnRequest(x); v != message.Reply || x.Problem() != refused {
					t.Errorf("%s comes in", a)
				}
			}
		})
	}
}

func TestNoAddressIsAFault(t *testing.T) {
	t.Parallel()
	h, err := build(&Config{Deny: list(t, "10.0.0.0/8")}, &policy.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if v := h.OnRequest(from("")); v != message.Faulted {
		t.Errorf("verdict %v", v)
	}
}

func TestBadRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow, deny []string
		want        string
	}{
		{nil, nil, "there is no rule"},
		{[]string{"10.1.0.0/16"}, []string{"10.0.0.0/8"}, "allow[0]: deny refuses all of 10.1.0.0/16"},
		{[]string{"192.0.2.0/24", "10.0.0.0/8"}, []string{"10.0.0.0/9", "10.128.0.0/9"}, "allow[1]: deny refuses all of 10.0.0.0/8"},
		{[]string{"192.0.2.7"}, []string{"192.0.2.7"}, "allow[0]: deny refuses all of 192.0.2.7"},
		{[]string{"::/0"}, []string{"::/0"}, "allow[0]: deny refuses all of ::/0"},
	} {
		_, err := build(&Config{Allow: list(t, c.allow...), Deny: list(t, c.deny...)}, &policy.Env{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("allow %v, deny %v: got %v, want %q", c.allow, c.deny, err, c.want)
		}
	}
}

func TestBadPrefixes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                   "empty",
		"example.com":        "is not an address or a network",
		"10.0.0.0/33":        "is not an address or a network",
		"10.0.0.0/":          "is not an address or a network",
		"10.0.0/8":           "is not an address or a network",
		"010.0.0.1":          "is not an address or a network",
		"10.0.0.5/8":         "write 10.0.0.0/8 for the network, or 10.0.0.5 for the one address",
		"2001:db8::1/32":     "write 2001:db8::/32 for the network, or 2001:db8::1 for the one address",
		"fe80::1%eth0":       "zone",
		"fe80::%eth0/64":     "zone",
		"::ffff:10.0.0.1/99": "has bits behind its length",
	} {
		var p Prefix
		if err := p.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// slow is the obvious twin of table: every rule is asked.
func slow(c *Config, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	in := func(networks []Prefix) bool {
		for _, n := range networks {
			if n.Contains(a) {
				return true
			}
		}
		return false
	}
	return !in(c.Deny) && (len(c.Allow) == 0 || in(c.Allow))
}

// someNetwork is drawn from a small part of the address space, so that rules
// overlap and touch.
func someNetwork(r *rand.Rand) Prefix {
	if r.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(256))})
		return Prefix{netip.PrefixFrom(a, r.IntN(17)+16).Masked()}
	}
	return Prefix{netip.PrefixFrom(someSix(r), r.IntN(33)+96).Masked()}
}

func someSix(r *rand.Rand) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 7: byte(r.IntN(2) * 255), 8: byte(r.IntN(2) * 255), 14: byte(r.IntN(4)), 15: byte(r.IntN(256))})
}

func someAddress(r *rand.Rand) netip.Addr {
	switch r.IntN(8) {
	case 0:
		return netip.AddrFrom4([4]byte{byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))})
	case 1, 2, 3:
		return netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(256))})
	case 4:
		return netip.AddrFrom16(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(256))}).As16())
	}
	return someSix(r)
}

func compare(t *testing.T, seed1, seed2 uint64) {
	r := rand.New(rand.NewPCG(seed1, seed2))
	c := &Config{}
	for range r.IntN(12) {
		c.Allow = append(c.Allow, someNetwork(r))
	}
	for range r.IntN(12) {
		c.Deny = append(c.Deny, someNetwork(r))
	}
	fast, err := compile(c)
	if err != nil {
		return // rules that can never apply, or none
	}
	ask := func(a netip.Addr) {
		if got, want := fast.has(a), slow(c, a); a.IsValid() && got != want {
			t.Fatalf("%s: got %v, want %v\nallow %v\ndeny %v", a, got, want, c.Allow, c.Deny)
		}
	}
	for _, n := range append(c.Allow, c.Deny...) {
		s := spanOf(n.Prefix)
		for _, a := range []netip.Addr{s.first, s.last, s.first.Prev(), s.last.Next()} {
			if a.IsValid() {
				ask(a)
			}
		}
	}
	for range 200 {
		ask(someAddress(r))
	}
}

func TestAgainstLinearScan(t *testing.T) {
	t.Parallel()
	for i := range uint64(2000) {
		compare(t, i, 7)
	}
}

func FuzzAgainstLinearScan(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(compare)
}

func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::1", "::ffff:1.2.3.4/128", "fe80::%1/64", "1.2.3.4/08"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var p, again Prefix
		if p.UnmarshalText([]byte(s)) != nil {
			return
		}
		text, _ := p.MarshalText()
		if err := again.UnmarshalText(text); err != nil || again != p {
			t.Errorf("%q became %s, which became %s (%v)", s, p, again, err)
		}
	})
}

func many(n int) *Config {
	r := rand.New(rand.NewPCG(1, 1))
	c := &Config{}
	for range n {
		a := netip.AddrFrom4([4]byte{byte(r.IntN(223) + 1), byte(r.IntN(256)), byte(r.IntN(256)), 0})
		c.Deny = append(c.Deny, Prefix{netip.PrefixFrom(a, 24)})
	}
	return c
}

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestAllocations(t *testing.T) {
	h, err := build(many(5000), &policy.Env{})
	if err != nil {
		t.Fatal(err)
	}
	four, six := from("192.0.2.1"), from("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { h.OnRequest(four); h.OnRequest(six) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTenThousandNetworks(b *testing.B) {
	h, err := build(many(10_000), &policy.Env{})
	if err != nil {
		b.Fatal(err)
	}
	x := from("100.64.3.9")
	b.ReportAllocs()
	for b.Loop() {
		h.OnRequest(x)
	}
}
