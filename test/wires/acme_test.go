package wires

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

const automatic = `
admin: { address: "%s" }
listeners:
  - { name: plain, address: "%s" }
  - name: secure
    address: "%s"
    tls:
      acme:
        domains: [gate.example.com]
        email: ops@example.com
        directory: https://%s/dir
        authorities: directory.pem
routes:
  - { name: all, match: { path: "/**" }, redirect: { to: "https://gate.example.com/", status: 307 } }
`

// authority is pebble and a gateway that asks it.
type authority struct {
	folder, admin, plain, secure, directory string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	var at [7]string
	for i := range at {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = address
	}
	a := &authority{folder: t.TempDir(), admin: at[0], plain: at[1], secure: at[2], directory: at[3]}
	startAuthority(t, a.folder, a.plain, a.secure, a.directory, at[4], at[5], at[6])
	return a
}

// start starts the gateway with a configuration.
func (a *authority) start(t *testing.T, text string) *rig.Gateway {
	t.Helper()
	file := filepath.Join(a.folder, "sluice.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(a.folder, file, a.admin, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	return g
}

// issues waits until the gateway shows a certificate of the authority for a name.
func (a *authority) issues(t *testing.T, g *rig.Gateway, name string) {
	t.Helper()
	issuer, err := issuerAt(a.secure, name)
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); issuer, err = issuerAt(a.secure, name) {
		time.Sleep(20 * time.Millisecond) // Another process works; there is nothing to wait on.
	}
	if err != nil || !strings.Contains(issuer, "Pebble") {
		t.Errorf("%s is issued by %q, %v\n%s", name, issuer, err, g.Log())
	}
}

// A gateway obtains its certificate from an authority that validates the name over the
// gateway's own listeners, refusing a third of all good nonces; and a gateway that
// starts with the same folder has it at once.
func TestCertificateFromAuthority(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	text := fmt.Sprintf(automatic, a.admin, a.plain, a.secure, a.directory)
	g := a.start(t, text)
	a.issues(t, g, "gate.example.com")
	g.Kill()
	g = a.start(t, text)
	if issuer, err := issuerAt(a.secure, "gate.example.com"); err != nil || !strings.Contains(issuer, "Pebble") {
		t.Errorf("the second start: issued by %q, %v\n%s", issuer, err, g.Log())
	}
}

const demanding = `
admin: { address: "%s" }
listeners:
  - { name: plain, address: "%s" }
  - name: secure
    address: "%s"
    tls:
      unknown_names: refuse
      acme:
        domains: [gate.example.com]
        email: ops@example.com
        issuers:
          - directory: https://%s/dir
          - { directory: "https://%s/dir", authorities: directory.pem }
        on_demand: { domains: ["*.shops.example.com"], ask: "%s/may?token=1", certificates: 2 }
routes:
  - { name: all, match: { path: "/**" }, respond: { body: hello } }
`

// The first authority is down, so that the second gives the certificates; clients get
// further ones only for names that both rules permit, and only so many.
func TestSeveralAuthoritiesAndOnDemand(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var mu sync.Mutex
	var asked []string
	rule := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("domain")
		mu.Lock()
		asked = append(asked, name)
		mu.Unlock()
		if r.URL.Path != "/may" || r.URL.Query().Get("token") != "1" || strings.HasPrefix(name, "evil.") {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer rule.Close()
	down, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	g := a.start(t, fmt.Sprintf(demanding, a.admin, a.plain, a.secure, down, a.directory, rule.URL))
	a.issues(t, g, "gate.example.com")
	if _, err := g.Logged("could not get certificate from issuer"); err != nil {
		t.Error(err)
	}
	a.issues(t, g, "a.shops.example.com")
	a.issues(t, g, "b.shops.example.com")
	// The third is one too many, those that are there stay, and neither rule lets others pass.
	for _, name := range []string{"c.shops.example.com", "evil.shops.example.com", "shops.example.com", "other.example.com"} {
		if issuer, err := issuerAt(a.secure, name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s is shown a certificate of %q, %v", name, issuer, err)
		}
	}
	a.issues(t, g, "a.shops.example.com")
	mu.Lock()
	defer mu.Unlock()
	for _, name := range asked {
		if !strings.HasSuffix(name, ".shops.example.com") {
			t.Errorf("the service is asked for %q, which the list does not have", name)
		}
	}
	if !slices.Contains(asked, "evil.shops.example.com") {
		t.Errorf("the service was asked for %q only", asked)
	}
}

// issuerAt is who issued the certificate that a listener shows for a name.
func issuerAt(address, name string) (string, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", address, &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: true, // Who issued it is looked at below.
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	if err := leaf.VerifyHostname(name); err != nil {
		return "", errors.Join(err, errors.New("it is not for this name"))
	}
	return leaf.Issuer.CommonName, nil
}

// startAuthority runs pebble, with a resolver that knows every name as 127.0.0.1.
func startAuthority(t *testing.T, folder, plain, secure, directory, management, dns, dnsManagement string) {
	t.Helper()
	certificate, key := directoryCertificate(t, folder)
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": directory, "managementListenAddress": management,
		"certificate": certificate, "privateKey": key,
		"httpPort": portOf(t, plain), "tlsPort": portOf(t, secure),
	}})
	if err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(folder, "pebble.json")
	if err := os.WriteFile(settings, text, 0o600); err != nil {
		t.Fatal(err)
	}
	begin(t, "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", dns,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-management", dnsManagement)
	begin(t, "pebble", "-strict", "-config", settings, "-dnsserver", dns)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", directory)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// begin starts a program that ends with the test.
func begin(t *testing.T, name string, arguments ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed for this test: apt-get install pebble, or run tools/setup/test.sh", name)
	}
	c := exec.Command(name, arguments...)
	c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_VA_ALWAYS_VALID=0", "PEBBLE_WFE_NONCEREJECT=33")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// directoryCertificate makes the certificate of the authority's own server.
func directoryCertificate(t *testing.T, folder string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2), net.IPv6loopback},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(folder, "directory.pem"), filepath.Join(folder, "directory.key")
	for name, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
