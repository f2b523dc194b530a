package message

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
)

// TLS is what is known of a client's TLS connection. A wire makes it once, after
// the handshake; it is never changed.
type TLS struct {
	Version    string // "TLS 1.3"
	Suite      string // "TLS_AES_128_GCM_SHA256"
	ServerName string // what the client asked for, or ""
	Protocol   string // by ALPN, or ""
	Resumed    bool
	// Certificate is what the client has shown, or nil.
	Certificate *ClientCertificate
}

// ClientCertificate is a client's certificate.
type ClientCertificate struct {
	Subject     string   // "CN=orders,O=Example" (RFC 2253)
	Issuer      string   // in the same form
	Names       []string // the subject alternative names: "DNS:a.example.com", "URI:spiffe://…", "email:…", "IP:…"
	Serial      string   // hexadecimal, lower case
	Fingerprint string   // SHA-256 of the certificate, hexadecimal, lower case
	Verified    bool     // it was issued by an authority of the listener
}

// TLSOf is what is known of a connection whose handshake is complete.
func TLSOf(state *tls.ConnectionState) *TLS {
	t := &TLS{
		Version:    tls.VersionName(state.Version),
		Suite:      tls.CipherSuiteName(state.CipherSuite),
		ServerName: state.ServerName,
		Protocol:   state.NegotiatedProtocol,
		Resumed:    state.DidResume,
	}
	if len(state.PeerCertificates) == 0 {
		return t
	}
	leaf := state.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	t.Certificate = &ClientCertificate{
		Subject:     leaf.Subject.String(),
		Issuer:      leaf.Issuer.String(),
		Names:       AlternativeNames(leaf),
		Serial:      leaf.SerialNumber.Text(16),
		Fingerprint: hex.EncodeToString(sum[:]),
		Verified:    len(state.VerifiedChains) > 0,
	}
	return t
}

// AlternativeNames are the subject alternative names of a certificate, with their kinds:
// "DNS:a.example.com", "URI:spiffe://…", "email:…", "IP:…".
func AlternativeNames(c *x509.Certificate) []string {
	var all []string
	for _, n := range c.DNSNames {
		all = append(all, "DNS:"+n)
	}
	for _, u := range c.URIs {
		all = append(all, "URI:"+u.String())
	}
	for _, a := range c.EmailAddresses {
		all = append(all, "email:"+a)
	}
	for _, ip := range c.IPAddresses {
		all = append(all, "IP:"+ip.String())
	}
	return all
}
