package wires

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// signer issues certificates for clients.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newSigner(t *testing.T, name string) *signer {
	t.Helper()
	s := &signer{}
	made := s.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	s.certificate, s.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return s
}

// issue makes a certificate for a day; the first one of a signer is its own.
func (s *signer) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	return s.until(t, template, time.Now().Add(24*time.Hour))
}

func (s *signer) until(t *testing.T, template *x509.Certificate, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(1)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	template.NotAfter = end
	parent, signing := s.certificate, s.key
	if parent == nil {
		parent, signing = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signing)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

const toldToOrigins = `
admin: { address: "%s" }
telemetry: { access_log: { path: "%s" } }
listeners:
  - name: secure
    address: "%s"
    tls: { self_signed: true, client_certificates: { mode: request, authorities: clients.pem } }
  - name: loose
    address: "%s"
    tls: { self_signed: true, client_certificates: { mode: request } }
upstreams: [{ name: origin, endpoints: ["%s"] }]
policies:
  - headers:
      request:
        set:
          X-Client-Subject: "{client.certificate.subject}"
          X-Client-Issuer: "{client.certificate.issuer}"
          X-Client-Names: "{client.certificate.names}"
          X-Client-Serial: "{client.certificate.serial}"
          X-Client-Fingerprint: "{client.certificate.fingerprint}"
          X-Client-Not-After: "{client.certificate.not_after}"
          X-Client-TLS: "{tls.version} {tls.cipher} {tls.server_name}"
routes:
  - { name: all, match: { path: "/**" }, upstream: origin }
`

// The origin is told of the client's certificate what an authority has signed, and nothing
// that the client says itself.
func TestOriginIsToldOfTheClientCertificate(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	defer server.Close()
	var at [3]string
	for i := range at {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = address
	}
	folder := t.TempDir()
	clients, strangers := newSigner(t, "clients"), newSigner(t, "strangers")
	authorities := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: clients.certificate.Raw})
	file, accessLog := filepath.Join(folder, "sluice.yaml"), filepath.Join(folder, "access.log")
	text := fmt.Sprintf(toldToOrigins, at[0], accessLog, at[1], at[2], server.URL)
	for name, text := range map[string]string{filepath.Join(folder, "clients.pem"): string(authorities), file: text} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, err := rig.Start(folder, file, at[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	spiffe := &url.URL{Scheme: "spiffe", Host: "example.com", Path: "/orders"}
	asked := &x509.Certificate{
		SerialNumber: big.NewInt(0xbeef), Subject: pkix.Name{CommonName: "orders", Organization: []string{"Example"}},
		DNSNames: []string{"orders.example.com"}, URIs: []*url.URL{spiffe}, EmailAddresses: []string{"orders@example.com"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	known, unknown := clients.issue(t, asked), strangers.issue(t, asked)
	sum := sha256.Sum256(known.Leaf.Raw)
	fingerprint := hex.EncodeToString(sum[:])
	told := map[string]string{
		"X-Client-Subject": "CN=orders,O=Example", "X-Client-Issuer": "CN=clients", "X-Client-Serial": "beef",
		"X-Client-Names":       "DNS:orders.example.com,URI:spiffe://example.com/orders,email:orders@example.com",
		"X-Client-Fingerprint": fingerprint, "X-Client-Not-After": known.Leaf.NotAfter.UTC().Format(time.RFC3339),
	}
	nothing := map[string]string{}
	for name := range told {
		nothing[name] = ""
	}
	for _, c := range []struct {
		name, address string
		h2            bool
		certificates  []tls.Certificate
		want          map[string]string
	}{
		{"h1", at[1], false, []tls.Certificate{known}, told},
		{"h2", at[1], true, []tls.Certificate{known}, told},
		{"without a certificate", at[1], false, nil, nothing},
		{"that nobody verifies", at[2], true, []tls.Certificate{known}, nothing},
		{"of strangers", at[2], false, []tls.Certificate{unknown}, nothing},
	} {
		status := askWith(t, c.address, c.h2, c.certificates)
		if status != 200 {
			t.Errorf("%s: status %d", c.name, status)
			continue
		}
		got := <-seen
		for name, want := range c.want {
			if got.Get(name) != want || len(got.Values(name)) > 1 {
				t.Errorf("%s: %s is %q, want %q", c.name, name, got.Values(name), want)
			}
		}
		if got := got.Get("X-Client-Tls"); !strings.HasPrefix(got, "TLS 1.3 TLS_") || !strings.HasSuffix(got, " localhost") {
			t.Errorf("%s: the connection is %q", c.name, got)
		}
		for name := range got {
			if strings.Contains(name, "_") {
				t.Errorf("%s: %s reached the origin", c.name, name)
			}
		}
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if code, err := g.Wait(); err != nil || code != 0 {
		t.Error(code, err)
	}
	lines(t, accessLog, fingerprint)
}

// askWith sends a request that claims to be somebody, and returns the status.
func askWith(t *testing.T, address string, h2 bool, certificates []tls.Certificate) int {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}, // The server's is self-signed.
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	req, err := http.NewRequest("GET", "https://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client-Subject", "CN=root")
	req.Header.Add("X-Client-Subject", "CN=admin")
	req.Header["x-client-fingerprint"] = []string{"00"}
	req.Header["X_Client_Names"] = []string{"DNS:root.example.com"}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// lines checks what the access log says of the connections.
func lines(t *testing.T, accessLog, fingerprint string) {
	t.Helper()
	text, err := os.ReadFile(accessLog)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(all) != 5 {
		t.Fatalf("%d lines: %s", len(all), text)
	}
	known := 0
	for _, line := range all {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry["tls_version"] != "TLS 1.3" || entry["tls_server_name"] != "localhost" {
			t.Errorf("got %s", line)
		}
		subject, sum := entry["client_certificate_subject"], entry["client_certificate_fingerprint"]
		if subject == "CN=orders,O=Example" && sum == fingerprint {
			known++
		} else if subject != nil || sum != nil {
			t.Errorf("got %s", line)
		}
	}
	if known != 2 {
		t.Errorf("%d lines have the certificate: %s", known, text)
	}
}
