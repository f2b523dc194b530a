package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/config"
)

// TestExpiredCertificateStopsNoChange: one that has expired while it is served does not keep
// everything else as it is; elsewhere it is a problem.
func TestExpiredCertificateStopsNoChange(t *testing.T) {
	t.Parallel()
	g := newGateway(slog.New(slog.DiscardHandler))
	defer g.shutdown()
	folder := t.TempDir()
	file := filepath.Join(folder, "sluice.yaml")
	apply := func(listener string, status int) error {
		text := fmt.Sprintf("listeners: [{ name: %s, address: \"127.0.0.1:0\", tls: { certificates: [{ certificate: a.pem, key: a.key }] } }]\n"+
			"routes: [{ name: b, respond: { status: %d } }]\n", listener, status)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		doc, err := config.Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g.apply(doc, nil)
	}
	var end time.Time
	err := error(nil)
	for life := 2 * time.Second; life < time.Hour; life *= 2 {
		end = lastsUntil(t, folder, time.Now().Add(life))
		if err = apply("web", 200); err == nil {
			break // Else the machine stood still until it had expired.
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(end.Add(time.Second)))
	if err := apply("web", 204); err != nil {
		t.Errorf("a change of a route is refused: %v", err)
	}
	if err := apply("new", 204); err == nil || !strings.Contains(err.Error(), "sluice.yaml:1:21: tls: "+folder+"/a.pem: certificate 1 (gate.example.com) has expired") {
		t.Errorf("a new listener takes it: %v", err)
	}
}

// TestCertificatesInMetrics: each is there once, those that are shown to origins too, and what
// is wrong with them is counted.
func TestCertificatesInMetrics(t *testing.T) {
	t.Parallel()
	g := newGateway(slog.New(slog.DiscardHandler))
	defer g.shutdown()
	folder := t.TempDir()
	lastsUntil(t, folder, time.Now().Add(time.Hour))
	file := filepath.Join(folder, "sluice.yaml")
	const pair = "certificate: a.pem, key: a.key"
	text := "listeners: [{ name: web, address: \"127.0.0.1:0\", tls: { certificates: [{ " + pair + " }, { " + pair + " }] } }]\n" +
		"upstreams:\n  - { name: one, endpoints: [\"https://127.0.0.1:1\"], tls: { " + pair + " } }\n" +
		"  - { name: two, endpoints: [\"https://127.0.0.1:2\"], tls: { " + pair + " } }\n" +
		"routes: [{ name: b, upstream: one }, { name: c, match: { path: /c }, upstream: two }]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(file, nil)
	if err == nil {
		err = g.apply(doc, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	shown := func(want string) {
		t.Helper()
		var b strings.Builder
		if err := g.registry.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("%q is there %d times:\n%s", want, strings.Count(b.String(), want), b.String())
		}
	}
	source := fmt.Sprintf("source=%q} ", filepath.Join(folder, "a.pem"))
	shown(`sluice_certificate_remaining_seconds{listener="web",` + source)
	shown(`sluice_certificate_remaining_seconds{listener="",` + source)
	shown(`sluice_certificate_problems{listener=""} 0` + "\n")
	if err := os.WriteFile(filepath.Join(folder, "a.key"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.applied.Load().Refresh()
	shown(`sluice_certificate_problems{listener=""} 2` + "\n")
}

// lastsUntil writes a certificate and its key into a folder, and returns when it really ends:
// certificates have whole seconds.
func lastsUntil(t *testing.T, folder string, end time.Time) time.Time {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"gate.example.com"}, NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"a.pem": {Type: "CERTIFICATE", Bytes: der}, "a.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return end.Truncate(time.Second)
}
