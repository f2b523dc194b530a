package route

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"api.example.com":               "api.example.com",
		"API.Example.COM.":              "api.example.com",
		"*.Example.com":                 "*.example.com",
		"localhost":                     "localhost",
		"my_service":                    "my_service",
		"10.0.0.1":                      "10.0.0.1",
		"[::1]":                         "[::1]",
		"::1":                           "[::1]",
		"[2001:DB8:0:0::1]":             "[2001:db8::1]",
		"xn--bcher-kva.example.com":     "xn--bcher-kva.example.com",
		strings.Repeat("a.", 126) + "a": strings.Repeat("a.", 126) + "a",
	} {
		if got, err := ParseHost(in); err != nil || got != want {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseHostErrors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                               "is empty",
		"*":                              "leave host out",
		".":                              "empty label",
		"a..b":                           "empty label",
		".example.com":                   "empty label",
		"a.*.com":                        "a star may only stand",
		"*a.com":                         "a star may only stand",
		"*.*.com":                        "a star may only stand",
		"*.10.0.0.1":                     "nothing below an IP address",
		"api.example.com:8080":           `has a port: write "api.example.com"`,
		"https://api.example.com":        "is a URL",
		"api.example.com/v1":             "has a slash",
		"bücher.example.com":             "punycode",
		"a b":                            "may not stand in a host name",
		"[::1":                           "no closing bracket",
		"[::1]:80":                       `write "[::1]"`,
		"[fe80::1%eth0]":                 "zone",
		"[10.0.0.1]":                     "not an IPv6 address",
		"1:2:3":                          "not an IPv6 address",
		strings.Repeat("a", 64) + ".com": "at most 63",
		strings.Repeat("a.", 127) + "a":  "at most 253",
	} {
		if got, err := ParseHost(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseHost(%q) = %q, %v; want %s", in, got, err, want)
		}
	}
}

func TestHostMatches(t *testing.T) {
	t.Parallel()
	hosts := []string{"api.example.com", "*.example.com", "*.b.example.com", "[2001:db8::1]", "10.0.0.1", "*.com"}
	var rules []Rule
	for _, h := range hosts {
		rules = append(rules, Rule{Hosts: []string{h}})
	}
	table, _, err := Build(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	for authority, want := range map[string]string{
		"api.example.com":      "api.example.com",
		"api.example.com:8080": "api.example.com",
		"API.example.com.":     "api.example.com",
		"api.example.com.:443": "api.example.com",
		"x.example.com":        "*.example.com",
		"b.example.com":        "*.example.com",
		"a.b.example.com":      "*.b.example.com",
		"z.a.b.EXAMPLE.com:1":  "*.b.example.com",
		"example.com":          "*.com",
		"com":                  "",
		".com":                 "",
		"xexample.com":         "*.com",
		"[2001:db8::1]":        "[2001:db8::1]",
		"[2001:db8::1]:80":     "[2001:db8::1]",
		"[2001:DB8:0:0::1]:80": "[2001:db8::1]",
		"[2001:db8::2]":        "",
		"[junk]":               "",
		"10.0.0.1:80":          "10.0.0.1",
		"example.org":          "",
		"":                     "",
		":80":                  "",
		".":                    "",
		strings.Repeat("a.", 500) + "example.com": "*.example.com",
		strings.Repeat("a", 5000):                 "",
	} {
		got := ""
		if i, ok := table.Match(&message.Request{Path: "/", Authority: authority}, "", nil); ok {
			got = hosts[i]
		}
		if got != want {
			t.Errorf("%.60q matched %q; want %q", authority, got, want)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"API.example.com.", "*.example.com", "[::1]", "bücher.example", "a:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, err := ParseHost(text)
		if err != nil {
			return
		}
		if again, err := ParseHost(host); err != nil || again != host {
			t.Fatalf("ParseHost(%q) = %q, and of that %q, %v", text, host, again, err)
		}
	})
}
