package wires

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluice-gateway/sluice/test/rig"
)

const overUDP = `
admin: { address: "%s" }
listeners:
  - name: secure
    address: "%s"
    protocols: [http/1.1, h3]
    tls:
      certificates: [{ certificate: gate.pem, key: gate.key }]
      unknown_names: refuse
      client_certificates: { mode: require, authorities: clients.pem }
policies:
  - headers: { response: { set: { X-Subject: "{client.certificate.subject}" } } }
routes:
  - { name: hello, respond: { body: first } }
`

// quicClient is one connection over HTTP/3.
type quicClient struct {
	conn *quic.Conn
	http *http3.ClientConn
}

// dialQUIC connects, and asks once: over TLS 1.3 a client hears only then that its certificate is refused.
func dialQUIC(t *testing.T, address, name string, certificates ...tls.Certificate) (*quicClient, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	secure := &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h3"}, Certificates: certificates} // Looked at by number.
	conn, err := quic.DialAddr(ctx, address, secure, &quic.Config{HandshakeIdleTimeout: rig.Patience})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") })
	c := &quicClient{conn, new(http3.Transport).NewClientConn(conn)}
	_, err = c.ask()
	return c, err
}

// ask returns the body of an answer, and whose request the gateway takes it for.
func (c *quicClient) ask() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://gate.example.com/", nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body) + " to " + resp.Header.Get("X-Subject"), err
}

func (c *quicClient) serial() int64 {
	return c.conn.ConnectionState().TLS.PeerCertificates[0].SerialNumber.Int64()
}

// What a listener does with certificates it does over UDP as well, and a reload touches no connection.
func TestCertificatesOverHTTP3(t *testing.T) {
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
	issuer, clients, strangers, folder := newSigner(t, "issuer"), newSigner(t, "clients"), newSigner(t, "strangers"), t.TempDir()
	named := func(number int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(number), DNSNames: []string{"gate.example.com"}}
	}
	orders := func() *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: "orders"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	}
	known, unknown := clients.issue(t, orders()), strangers.issue(t, orders())
	certificate, key := pemOf(t, issuer.issue(t, named(1)))
	place(t, folder, certificate, key)
	file, text := filepath.Join(folder, "sluice.yaml"), fmt.Sprintf(overUDP, admin, secure)
	authorities := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: clients.certificate.Raw}))
	for name, text := range map[string]string{filepath.Join(folder, "clients.pem"): authorities, file: text} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, err := rig.Start(folder, file, admin, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	for what, c := range map[string]struct {
		name         string
		certificates []tls.Certificate
	}{
		"no certificate":             {"gate.example.com", nil},
		"a certificate of strangers": {"gate.example.com", []tls.Certificate{unknown}},
		"a name that nobody knows":   {"other.example.com", []tls.Certificate{known}},
	} {
		if _, err := dialQUIC(t, secure, c.name, c.certificates...); err == nil {
			t.Errorf("%s: a connection was had", what)
		}
	}
	kept, err := dialQUIC(t, secure, "gate.example.com", known)
	if err != nil {
		t.Fatal(err, g.Log())
	}
	if got, err := kept.ask(); got != "first to CN=orders" || kept.serial() != 1 {
		t.Fatalf("%q, %v, certificate %d", got, err, kept.serial())
	}
	certificate, key = pemOf(t, issuer.issue(t, named(2)))
	place(t, folder, certificate, key)
	if err := rig.Eventually(func() error {
		other, err := dialQUIC(t, secure, "gate.example.com", known)
		if err == nil && other.serial() != 2 {
			err = fmt.Errorf("certificate %d is shown", other.serial())
		}
		return err
	}); err != nil {
		t.Fatal(err, g.Log())
	}
	if err := os.WriteFile(file, []byte(strings.Replace(text, "first", "second", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := rig.Eventually(func() error {
		got, err := kept.ask()
		if err == nil && got != "second to CN=orders" {
			err = fmt.Errorf("the connection of before hears %q", got)
		}
		return err
	}); err != nil {
		t.Error(err, g.Log())
	}
}
