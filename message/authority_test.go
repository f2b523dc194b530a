package message

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// RFC 3986 §3.2.2 allows more; what is refused here is what two parsers read
// differently.
func TestParseAuthority(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.Com": "example.com", "example.com.": "example.com", "example.com.:80": "example.com:80",
		"example.com:80": "example.com:80", "example.com:0": "example.com:0", "example.com:65535": "example.com:65535",
		"a": "a", "a-b_c~d.e": "a-b_c~d.e", "localhost:8080": "localhost:8080", "127.0.0.1": "127.0.0.1", "127.0.0.1:1": "127.0.0.1:1", "123": "123",
		"[::1]": "[::1]", "[::1]:80": "[::1]:80", "[2001:DB8::1]": "[2001:db8::1]", "[::ffff:192.0.2.1]": "[::ffff:192.0.2.1]",
		strings.Repeat("a", 255): strings.Repeat("a", 255),
		// Refused.
		"": "", ".": "", "..": "", "a..": "", ":80": "", "a:": "", "a:b": "", "a:80:80": "", "a:+80": "", "a:65536": "", "a:000080": "", "a:99999": "", "a: 80": "",
		"me@a": "", "a/b": "", "a?b": "", "a#b": "", "a b": "", "a,b": "", "a%2e": "", "a\x00": "", "\u00e4": "", "a\\b": "", "a;b": "", "a!b": "", "*.a": "", "http://a": "",
		"[": "", "[]": "", "[::1": "", "::1": "", "::1]": "", "[::1]a": "", "[::1]80": "", "[::1]:": "", "[a]": "", "[example.com]": "", "[::::]": "", "[1:2]": "",
		"[1.2.3.4]": "", "[....]": "", "[fe80::1%25eth0]": "", "[fe80::1%eth0]": "", "[v1.a]": "", "[[::1]]": "", "a[::1]": "", "[12345::]": "",
		strings.Repeat("a", 256): "",
	} {
		got, ok := ParseAuthority(in)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; wanted %q", in, got, ok, want)
		}
	}
}

// Whatever is accepted net/url accepts, with the same host and port.
func FuzzParseAuthority(f *testing.F) {
	for _, seed := range []string{"example.com:80", "[::1]:80", "A.b.", "a:b@c", "[::ffff:1.2.3.4]", "1.2.3.4:5", "a%41", "[fe80::1%25a]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseAuthority(s)
		if !ok {
			return
		}
		u, err := url.Parse("http://" + got + "/")
		if err != nil || u.Host != got || u.User != nil || u.Path != "/" {
			t.Fatalf("%q became %q, of which net/url makes %v, %v", s, got, u, err)
		}
		again, ok := ParseAuthority(got)
		if !ok || again != got {
			t.Fatalf("%q became %q, and that %q", s, got, again)
		}
		host := (&Request{Authority: got}).Host()
		if strings.Trim(host, "[]") != u.Hostname() {
			t.Fatalf("the host of %q is %q, net/url says %q", got, host, u.Hostname())
		}
		if strings.HasPrefix(host, "[") {
			if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestHostOfRequest(t *testing.T) {
	t.Parallel()
	for authority, want := range map[string]string{"a": "a", "a:80": "a", "[::1]": "[::1]", "[::1]:80": "[::1]", "": "", "1.2.3.4:5": "1.2.3.4"} {
		if got := (&Request{Authority: authority}).Host(); got != want {
			t.Errorf("%q: %q", authority, got)
		}
	}
}
