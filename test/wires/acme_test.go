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
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// A gateway obtains its certificate from an authority that validates the name over the
// gateway's own listeners, refusing a third of all good nonces; and a gateway that
// starts with the same folder has it at once.
func TestCertificateFromAuthority(t *testing.T) {
	t.Parallel()
	var at [7]string
	for i := range at {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = address
	}
	admin, plain, secure, directory := at[0], at[1], at[2], at[3]
	folder := t.TempDir()
	startAuthority(t, folder, plain, secure, directory, at[4], at[5], at[6])
	file := filepath.Join(folder, "sluice.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, automatic, admin, plain, secure, directory), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{"first", "second"} {
		g, err := rig.Start(folder, file, admin, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Ready(); err != nil {
			t.Fatal(err, g.Log())
		}
		issuer, err := issuerAt(secure)
		for deadline := time.Now().Add(time.Minute); run == "first" && err != nil && time.Now().Before(deadline); issuer, err = issuerAt(secure) {
			time.Sleep(20 * time.Millisecond) // Another process works; there is nothing to wait on.
		}
		if err != nil || !strings.Contains(issuer, "Pebble") {
			t.Errorf("%s start: issued by %q, %v\n%s", run, issuer, err, g.Log())
		}
		g.Kill()
	}
}

// issuerAt is who issued the certificate that a listener shows.
func issuerAt(address string) (string, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, &tls.Config{
		ServerName:         "gate.example.com",
		InsecureSkipVerify: true, // Who issued it is looked at below.
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	if err := leaf.VerifyHostname("gate.example.com"); err != nil {
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
