package message

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"
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

// ClientCertificate is a client's certificate. Its texts are printable ASCII: what is not
// in them stands as a backslash and two hexadecimal digits for each byte (RFC 4514 §2.4),
// so that they fit into a header field whatever an authority has signed.
type ClientCertificate struct {
	Subject     string   // "CN=orders,O=Example" (RFC 4514)
	Issuer      string   // in the same form
	Names       []string // the subject alternative names: "DNS:a.example.com", "URI:spiffe://…", "email:…", "IP:…"
	NameList    string   // Names, joined by ","; a comma in a name is written \2C
	Serial      string   // hexadecimal, lower case
	Fingerprint string   // SHA-256 of the certificate, hexadecimal, lower case
	NotAfter    time.Time
	Verified    bool // it was issued by an authority of the listener
}

// VerifiedCertificate is the certificate of the client where an authority of the listener
// has issued it, or nil. t may be nil.
func (t *TLS) VerifiedCertificate() *ClientCertificate {
	if t == nil || t.Certificate == nil || !t.Certificate.Verified {
		return nil
	}
	return t.Certificate
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
	c := &ClientCertificate{
		Subject:     printable(leaf.Subject.String(), ""),
		Issuer:      printable(leaf.Issuer.String(), ""),
		Names:       AlternativeNames(leaf),
		Serial:      leaf.SerialNumber.Text(16),
		Fingerprint: hex.EncodeToString(sum[:]),
		NotAfter:    leaf.NotAfter,
		Verified:    len(state.VerifiedChains) > 0,
	}
	for i := range c.Names {
		c.Names[i] = printable(c.Names[i], `,\`)
	}
	c.NameList = strings.Join(c.Names, ",")
	t.Certificate = c
	return t
}

// printable writes every byte that is not printable ASCII, or that is special, as a
// backslash and two hexadecimal digits.
func printable(text, special string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if ' ' <= c && c <= '~' && strings.IndexByte(special, c) < 0 {
			b.WriteByte(c)
			continue
		}
		const digits = "0123456789ABCDEF"
		b.Write([]byte{'\\', digits[c>>4], digits[c&15]})
	}
	return b.String()
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
