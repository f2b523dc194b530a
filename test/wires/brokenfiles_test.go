package wires

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

const fromFiles = `
admin: { address: "%s" }
listeners:
  - { name: secure, address: "%s", tls: { certificates: [{ certificate: gate.pem, key: gate.key }] } }
routes:
  - { name: hello, respond: { body: hello } }
`

// place writes a certificate and its key over those in a folder, each as a whole.
func place(t *testing.T, folder string, certificate, key []byte) {
	t.Helper()
	for name, text := range map[string][]byte{"gate.pem": certificate, "gate.key": key} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

// pemOf is a certificate and its key in PEM form.
func pemOf(t *testing.T, c tls.Certificate) (certificate, key []byte) {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// serial is the number of the certificate that a listener shows.
func serial(address string) (int64, error) {
	c, err := tls.Dial("tcp", address, &tls.Config{ServerName: "gate.example.com", InsecureSkipVerify: true}) // Looked at by number.
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// Whatever is wrong with a renewed pair of files, what was served is served on; the log
// names the file, metrics count it, and a reload is refused as a whole.
func TestBrokenCertificateFilesChangeNothing(t *testing.T) {
	t.Parallel()
	var at [2]string
	for i := range at {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = address
	}
	admin, secure := at[0], at[1]
	issuer, folder := newSigner(t, "issuer"), t.TempDir()
	named := func(number int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "gate"}, DNSNames: []string{"gate.example.com"}}
	}
	certificate, key := pemOf(t, issuer.issue(t, named(1)))
	other, otherKey := pemOf(t, issuer.issue(t, named(2)))
	over, overKey := pemOf(t, issuer.until(t, named(3), time.Now().Add(-time.Minute)))
	place(t, folder, certificate, key)
	file := filepath.Join(folder, "sluice.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, fromFiles, admin, secure), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(folder, file, admin, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	shows := func(want int64) {
		t.Helper()
		if got, err := serial(secure); got != want {
			t.Fatalf("certificate %d is shown, %v, want %d\n%s", got, err, want, g.Log())
		}
	}
	counts := func(line string) error {
		_, body, err := rig.Get(admin, "/metrics")
		if err == nil && !strings.Contains(body, "\n"+line+"\n") {
			err = errors.New("no " + line)
		}
		return err
	}
	shows(1)
	kept, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "gate.example.com", InsecureSkipVerify: true}) // It is on this machine.
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for n, c := range []struct {
		what             string
		certificate, key []byte
		says             string
	}{
		{"a key that does not fit", other, key, "gate.key: the key does not fit the certificate"},
		{"an expired one", over, overKey, "gate.pem: certificate 1 (gate.example.com) has expired"},
		{"no PEM", []byte("nonsense\n"), otherKey, "gate.pem: is not PEM"},
	} {
		place(t, folder, c.certificate, c.key)
		told := func() error {
			for line := range strings.Lines(g.Log()) {
				if strings.Contains(line, "certificate not reloaded; the one before stays in use") && strings.Contains(line, c.says) {
					return counts(`sluice_certificate_problems{listener="secure"} 1`)
				}
			}
			return fmt.Errorf("%s: the log does not name %s", c.what, c.says)
		}
		if err := rig.Eventually(told); err != nil {
			t.Fatal(err, g.Log())
		}
		shows(1)
		if err := g.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		refused := fmt.Sprintf(`sluice_config_reloads_total{result="failure"} %d`, n+1)
		if err := rig.Eventually(func() error { return counts(refused) }); err != nil {
			t.Fatalf("%s: %v\n%s", c.what, err, g.Log())
		}
		shows(1)
	}
	place(t, folder, other, otherKey)
	renewed := func() error {
		if got, err := serial(secure); got != 2 {
			return fmt.Errorf("certificate %d is shown, %v", got, err)
		}
		return counts(`sluice_certificate_problems{listener="secure"} 0`)
	}
	if err := rig.Eventually(renewed); err != nil {
		t.Fatal(err, g.Log())
	}
	if _, err := kept.Write([]byte("GET / HTTP/1.1\r\nHost: gate.example.com\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 12)
	if n, err := kept.Read(buf); err != nil || !strings.HasPrefix("HTTP/1.1 200", string(buf[:n])) {
		t.Errorf("the connection of before: %q, %v", buf[:n], err)
	}
}

// A certificate that ends soon shows in check, in the log and as a metric.
func TestCertificateThatExpiresSoon(t *testing.T) {
	t.Parallel()
	var at [2]string
	for i := range at {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = address
	}
	folder := t.TempDir()
	certificate, key := pemOf(t, newSigner(t, "issuer").until(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "gate"}, DNSNames: []string{"gate.example.com"}, NotBefore: time.Now().Add(-87 * 24 * time.Hour),
	}, time.Now().Add(73*time.Hour)))
	place(t, folder, certificate, key)
	file := filepath.Join(folder, "sluice.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, fromFiles, at[0], at[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	const warning = "gate.pem: the certificate for gate.example.com expires in 3 days"
	out, err := exec.Command(binary, "check", "--config", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), warning) {
		t.Errorf("check: %v\n%s", err, out)
	}
	g, err := rig.Start(folder, file, at[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	if _, err := g.Logged(warning); err != nil {
		t.Error(err)
	}
	_, body, err := rig.Get(at[0], "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	left := 0.0
	for line := range strings.Lines(body) {
		if labels, value, _ := strings.Cut(strings.TrimSpace(line), "} "); strings.HasPrefix(labels, "sluice_certificate_remaining_seconds{") &&
			strings.HasSuffix(labels, `gate.pem"`) {
			if left, err = strconv.ParseFloat(value, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left < 72*3600 || left > 73*3600 {
		t.Errorf("%v seconds are left", left)
	}
}
