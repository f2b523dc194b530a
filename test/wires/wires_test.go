// Package wires asks the real binary over every wire that clients may speak: the
// same configuration, the same answers.
package wires

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// wire is one way to reach the gateway.
type wire struct {
	name   string
	scheme string
	major  int
	client *http.Client
}

// wires returns clients for each wire; plain and secure are the listeners' addresses.
func wires(plain, secure string) []wire {
	to := func(address string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
	}
	client := func(address string, set func(*http.Protocols)) *http.Client {
		protocols := new(http.Protocols)
		set(protocols)
		return &http.Client{
			Timeout: 20 * time.Second,
			Transport: &http.Transport{
				DialContext:        to(address),
				Protocols:          protocols,
				DisableCompression: true,
				TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // The certificate is self-signed.
			},
		}
	}
	return []wire{
		{"h1", "http", 1, client(plain, func(p *http.Protocols) { p.SetHTTP1(true) })},
		{"h1 over TLS", "https", 1, client(secure, func(p *http.Protocols) { p.SetHTTP1(true) })},
		{"h2", "https", 2, client(secure, func(p *http.Protocols) { p.SetHTTP2(true) })},
		{"h3", "https", 3, &http.Client{Timeout: 20 * time.Second, Transport: overQUIC(secure)}},
		{"h2c with prior knowledge", "http", 2, client(plain, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })},
	}
}

// overQUIC speaks HTTP/3 with an address.
func overQUIC(address string) http.RoundTripper {
	return &http3.Transport{
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		Dial: func(ctx context.Context, _ string, secure *tls.Config, config *quic.Config) (*quic.Conn, error) {
			config.HandshakeIdleTimeout = rig.Patience
			return quic.DialAddrEarly(ctx, address, secure, config)
		},
	}
}

const configuration = `
admin: { address: "%s" }
listeners:
  - { name: plain, address: "%s", protocols: [http/1.1, h2] }
  - { name: secure, address: "%s", protocols: [http/1.1, h2, h3], tls: { self_signed: true } }
upstreams: [{ name: origin, endpoints: ["%s"] }]
policies:
  - request_limits: { body: 4MiB }
routes:
  - name: all
    match: { host: api.example.com, path: "/**" }
    policies:
      - headers: { response: { set: { x-listener: "{listener}" } } }
    upstream: origin
`

// origin echoes what it gets.
func origin(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/stream" {
		for i := range 3 {
			fmt.Fprintf(w, "part %d\n", i)
			w.(http.Flusher).Flush()
		}
		return
	}
	if r.URL.Path == "/trailer" {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
		return
	}
	w.Header().Set("X-Seen", strings.Join([]string{r.Method, r.Host, r.URL.RequestURI(), r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Cookie")}, " "))
	w.WriteHeader(201)
	_, _ = io.Copy(w, r.Body)
}

func TestSameAnswersOverAllWires(t *testing.T) {
	t.Parallel()
	addresses := [3]string{}
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	server := httptest.NewServer(http.HandlerFunc(origin))
	defer server.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(configuration, addresses[0], addresses[1], addresses[2], server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(folder, file, addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	for _, w := range wires(addresses[1], addresses[2]) {
		t.Run(w.name, func(t *testing.T) {
			defer w.client.CloseIdleConnections()
			w.ask(t, "GET", "/a?b=c", "", 201)
			w.ask(t, "POST", "/small", "hello", 201)
			w.ask(t, "PUT", "/large", strings.Repeat("0123456789abcdef", 128<<10), 201)
			w.ask(t, "POST", "/too/large", strings.Repeat("0123456789abcdef", 320<<10), 413)
			w.ask(t, "GET", "/a/../../b", "", 201)
			w.ask(t, "GET", "/a%2Fb", "", 400)
			w.stream(t)
			w.trailer(t)
			w.stranger(t)
		})
	}
	if strings.Contains(g.Log(), `"panic"`) {
		t.Errorf("the gateway panicked: %s", g.Log())
	}
}

func (w *wire) do(t *testing.T, method, path, body string) (*http.Response, string) {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, w.scheme+"://api.example.com"+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "a=1; b=2")
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if resp.ProtoMajor != w.major {
		t.Errorf("%s %s: answered over HTTP/%d, want %d", method, path, resp.ProtoMajor, w.major)
	}
	return resp, string(got)
}

func (w *wire) ask(t *testing.T, method, path, body string, status int) {
	t.Helper()
	resp, got := w.do(t, method, path, body)
	if resp.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, resp.StatusCode, status, got)
	}
	if status != 201 {
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s %s: not a problem document: %v", method, path, resp.Header)
		}
		return
	}
	if got != body {
		t.Errorf("%s %s: %d bytes came back of %d", method, path, len(got), len(body))
	}
	normal := strings.Replace(path, "/a/../../b", "/b", 1)
	want := method + " api.example.com " + normal + " " + w.scheme + " a=1; b=2"
	if seen := resp.Header.Get("X-Seen"); seen != want {
		t.Errorf("%s %s: the origin saw %q, want %q", method, path, seen, want)
	}
}

func (w *wire) stream(t *testing.T) {
	t.Helper()
	if resp, got := w.do(t, "GET", "/stream", ""); resp.StatusCode != 200 || got != "part 0\npart 1\npart 2\n" {
		t.Errorf("a stream: %d %q", resp.StatusCode, got)
	}
}

func (w *wire) trailer(t *testing.T) {
	t.Helper()
	if resp, got := w.do(t, "GET", "/trailer", ""); got != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("a trailer: %q and %v", got, resp.Trailer)
	}
}

// stranger asks for a host that no route has.
func (w *wire) stranger(t *testing.T) {
	t.Helper()
	req, err := http.NewRequest("GET", w.scheme+"://other.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("an unknown host: status %d, want 404", resp.StatusCode)
	}
}

// origins are the ways to reach an origin.
func TestSameAnswersFromAllOrigins(t *testing.T) {
	t.Parallel()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	plain := httptest.NewUnstartedServer(http.HandlerFunc(origin))
	plain.Config.Protocols = protocols
	plain.Start()
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(origin))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()

	folder := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(folder, "origin.pem"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	var addresses [3]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(toOrigins, addresses[0], addresses[1], addresses[2], plain.URL, plain.URL, secure.URL, secure.URL, secure.URL, secure.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(folder, file, addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	for _, w := range wires(addresses[1], addresses[2]) {
		for _, upstream := range []string{"h1", "h2c", "tls", "h2"} {
			t.Run(w.name+" to "+upstream, func(t *testing.T) {
				defer w.client.CloseIdleConnections()
				w.ask(t, "GET", "/"+upstream+"/a?b=c", "", 201)
				w.ask(t, "POST", "/"+upstream+"/small", "hello", 201)
				w.ask(t, "PUT", "/"+upstream+"/large", strings.Repeat("0123456789abcdef", 128<<10), 201)
			})
		}
		for _, path := range []string{"/stranger/a", "/pinned/a"} {
			resp, body := w.do(t, "GET", path, "")
			if resp.StatusCode != 502 || !strings.Contains(body, "upstream_untrusted") || strings.Contains(body, "x509") {
				t.Errorf("%s %s: an origin that is not believed: %d %s", w.name, path, resp.StatusCode, body)
			}
		}
	}
	// Why is for operators only.
	for _, why := range []string{"signed by unknown authority", "has one of the pins"} {
		if _, err := g.Logged(why); err != nil {
			t.Error(err)
		}
	}
}

const toOrigins = `
admin: { address: "%s" }
listeners:
  - { name: plain, address: "%s", protocols: [http/1.1, h2] }
  - { name: secure, address: "%s", protocols: [http/1.1, h2, h3], tls: { self_signed: true } }
upstreams:
  - { name: h1, endpoints: ["%s"] }
  - { name: h2c, endpoints: ["%s"], protocol: h2 }
  - { name: tls, endpoints: ["%s"], tls: { authorities: origin.pem, server_name: example.com } }
  - { name: h2, endpoints: ["%s"], protocol: h2, tls: { authorities: origin.pem, server_name: example.com } }
  - { name: stranger, endpoints: ["%s"] }
  - { name: pinned, endpoints: ["%s"], tls: { authorities: origin.pem, server_name: example.com, pins: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] } }
routes:
  - { name: h1, match: { path: "/h1/**" }, upstream: h1 }
  - { name: h2c, match: { path: "/h2c/**" }, upstream: h2c }
  - { name: tls, match: { path: "/tls/**" }, upstream: tls }
  - { name: h2, match: { path: "/h2/**" }, upstream: h2 }
  - { name: stranger, match: { path: "/stranger/**" }, upstream: stranger }
  - { name: pinned, match: { path: "/pinned/**" }, upstream: pinned }
`
