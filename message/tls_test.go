package message

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTLSOf(t *testing.T) {
	t.Parallel()
	leaf := &x509.Certificate{
		Raw: []byte("certificate"), SerialNumber: big.NewInt(0xbeef), NotAfter: time.Unix(2e9, 0),
		Subject:        pkix.Name{CommonName: "orders, west", Organization: []string{"Example"}},
		Issuer:         pkix.Name{CommonName: "clients"},
		DNSNames:       []string{"a.example.com", "b.example.com,DNS:root.example.com"},
		URIs:           []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/orders"}},
		EmailAddresses: []string{"ops@example.com"},
		IPAddresses:    []net.IP{net.IPv4(192, 0, 2, 1)},
	}
	state := &tls.ConnectionState{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, ServerName: "api.example.com", NegotiatedProtocol: "h2",
		PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}},
	}
	want := &TLS{
		Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", ServerName: "api.example.com", Protocol: "h2",
		Certificate: &ClientCertificate{
			Subject: `CN=orders\, west,O=Example`, Issuer: "CN=clients", Serial: "beef",
			Names: []string{"DNS:a.example.com", `DNS:b.example.com\2CDNS:root.example.com`, "URI:spiffe://example.com/orders",
				"email:ops@example.com", "IP:192.0.2.1"},
			NameList: `DNS:a.example.com,DNS:b.example.com\2CDNS:root.example.com,URI:spiffe://example.com/orders,` +
				`email:ops@example.com,IP:192.0.2.1`,
			NotAfter: leaf.NotAfter, Verified: true,
		},
	}
	got := TLSOf(state)
	if len(got.Certificate.Fingerprint) != 64 {
		t.Errorf("fingerprint %q", got.Certificate.Fingerprint)
	}
	want.Certificate.Fingerprint = got.Certificate.Fingerprint
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\n%+v\nwant\n%+v\n%+v", got, got.Certificate, want, want.Certificate)
	}
	if got.VerifiedCertificate() != got.Certificate {
		t.Error("the certificate is verified")
	}
	state.VerifiedChains = nil
	if TLSOf(state).VerifiedCertificate() != nil || (*TLS)(nil).VerifiedCertificate() != nil || (&TLS{}).VerifiedCertificate() != nil {
		t.Error("a certificate is vouched for by nobody")
	}
}

// Whatever an authority has signed, the texts fit into a header field.
func TestTextsOfCertificatesArePrintable(t *testing.T) {
	t.Parallel()
	evil := "a\r\nX-Consumer-Name: root\x00\x7f é"
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: evil}, Issuer: pkix.Name{CommonName: evil},
		DNSNames: []string{evil}, EmailAddresses: []string{evil}, URIs: []*url.URL{{Opaque: evil}},
	}
	c := TLSOf(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}).Certificate
	for _, text := range append(c.Names, c.Subject, c.Issuer, c.NameList) {
		if !ValidValue(text) || strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) {
			t.Errorf("%q", text)
		}
	}
	if want := `CN=a\0D\0AX-Consumer-Name: root\00\7F \C3\A9`; c.Subject != want {
		t.Errorf("got %s, want %s", c.Subject, want)
	}
}
