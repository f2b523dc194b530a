package compile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/upstream/discovery"
)

const discovering = `listeners:
  - { name: web, address: ":8080" }
upstreams:
  - name: orders
    timeouts: { connect: 1s }
    discovery: { SOURCE }
routes:
  - { name: all, upstream: orders }
`

// TestDiscoveryReload: an upstream that reads the same is the same, another token is
// another upstream.
func TestDiscoveryReload(t *testing.T) {
	t.Parallel()
	e := newEdited(t)
	with := func(source string) *Result { return e.must(strings.Replace(discovering, "SOURCE", source, 1)) }
	first := with("consul: { service: orders, token: one }")
	again := with("consul: { service: orders, token: one  }")
	if first.Upstreams[0] != again.Upstreams[0] {
		t.Error("an upstream that reads the same was made anew")
	}
	other := with("consul: { service: orders, token: two }")
	if other.Upstreams[0] == again.Upstreams[0] {
		t.Error("another token, the same upstream")
	}
	if words := other.Upstreams[0].Config().Discovery; strings.Contains(words, "two") {
		t.Errorf("the token is in %s", words)
	}
	header := with(`http: { url: "http://discovery.internal", headers: { Authorization: one } }`)
	if with(`http: { url: "http://discovery.internal", headers: { Authorization: two } }`).Upstreams[0] == header.Upstreams[0] {
		t.Error("another header, the same upstream")
	}
}

// TestCheckWatchesNothing: a check makes no source.
func TestCheckWatchesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	text := strings.Replace(discovering, "SOURCE", "file: endpoints.yaml", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"- http://10.0.0.1\n":    "",
		"- 10.0.0.1\n- {}\n":     `endpoints.yaml:1:3: "10.0.0.1" is not a URL such as http://10.0.0.7:8080 or https://orders.internal; ` + filepath.Dir(path) + `/endpoints.yaml:2:3: "url" is missing here`,
		"[]":                     "it tells no endpoint at all",
		"- {}\n- {}\n- {}\n- {}": "; and 1 more",
	} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "endpoints.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		doc, err := config.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		var l ledger
		r, err := newCompiler(&l).compile(doc, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, watched := r.Upstreams[0].Discovered(); watched {
			t.Error("a check has a source")
		}
		got := ""
		if len(r.Warnings) > 0 {
			got = r.Warnings[0].Message
		}
		if want == "" && got != "" || !strings.HasSuffix(got, want) {
			t.Errorf("%q: %s, want %s", content, got, want)
		}
	}
}

func TestSourceOf(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for source, want := range map[string]string{
		"dns: orders.internal, port: 8080":                     "dns orders.internal:8080",
		"dns: { name: _http._tcp.orders.internal, type: srv }": "dns _http._tcp.orders.internal (SRV)",
		"file: list.yaml": "file " + filepath.Join(folder, "list.yaml"),
		`http: "https://discovery.internal/orders?token=secret"`: "http https://discovery.internal/orders",
		"consul: { service: orders, token: secret }":             "consul orders at http://127.0.0.1:8500",
	} {
		doc := loadText(t, strings.Replace(discovering, "SOURCE", source, 1))
		d := doc.Upstreams[0].Value.Discovery
		if got := sourceOf(d, folder, nil).String(); got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
}

// TestDiscoverySettings: what is written arrives at the source.
func TestDiscoverySettings(t *testing.T) {
	t.Parallel()
	doc := loadText(t, strings.Replace(discovering, "SOURCE", `dns: { name: orders.internal., port: 8443, family: both, servers: ["10.0.0.53", "[::1]:5353"], ttl: { min: 2s, max: 3s } }, scheme: https, empty: accept`, 1))
	u := doc.Upstreams[0].Value
	source, ok := sourceOf(u.Discovery, "", nil).(*discovery.DNS)
	if !ok || !source.Secure || !source.AcceptEmpty || source.Family != discovery.Both || strings.Join(source.Servers, " ") != "10.0.0.53 [::1]:5353" ||
		source.MinTTL.String() != "2s" || source.MaxTTL.String() != "3s" {
		t.Errorf("%+v", source)
	}
	if spec := originSpec(u, ""); spec.ServerName != "orders.internal" {
		t.Errorf("certificates must be for %q", spec.ServerName)
	}
	if secured(u) == "" || secured(&config.Upstream{Discovery: &traffic.Discovery{File: "a"}}) == "" || secured(&config.Upstream{Discovery: &traffic.Discovery{Consul: &traffic.Consul{}}}) != "" {
		t.Error("whether TLS may be needed")
	}
}

func loadText(t *testing.T, text string) *config.Document {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
