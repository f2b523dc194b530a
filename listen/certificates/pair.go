package certificates

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"
)

// Files are one certificate: its chain, the server's own certificate first, and
// its key, both PEM. They may be the same file.
type Files struct {
	Certificate string
	Key         string
}

// purpose is which end of a connection a certificate is for.
type purpose uint8

const (
	forServer purpose = iota
	forClient
)

// pair is a certificate with its key, ready to be served. It is never changed.
type pair struct {
	source      string // the file, or the name, that stands in logs and metrics
	managed     bool
	certificate tls.Certificate
	leaf        *x509.Certificate
	algorithm   algorithm
}

// loadPair reads and checks a pair. The looks are valid with any error.
func loadPair(f Files, use purpose, now time.Time) (p *pair, looks [2]look, err error) {
	chain, certLook, err := readFile(f.Certificate, now)
	looks = [2]look{certLook, {path: f.Key, at: now}}
	if err != nil {
		return nil, looks, err
	}
	key, keyLook, err := readFile(f.Key, now)
	looks[1] = keyLook
	if err != nil {
		return nil, looks, err
	}
	p, err = parsePair(f, chain, key, use, now)
	return p, looks, err
}

// parsePair makes a pair of the contents of its files. Every error is a *Problem.
func parsePair(f Files, chainPEM, keyPEM []byte, use purpose, now time.Time) (*pair, error) {
	chain, err := parseCertificates(f.Certificate, chainPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(f.Key, keyPEM)
	if err != nil {
		return nil, err
	}
	if err := checkKey(f, chain, key); err != nil {
		return nil, err
	}
	if err := checkChain(f.Certificate, chain, now); err != nil {
		return nil, err
	}
	if err := checkPurpose(f.Certificate, chain[0], use); err != nil {
		return nil, err
	}
	return newPair(f.Certificate, chain, key), nil
}

func newPair(source string, chain []*x509.Certificate, key crypto.Signer) *pair {
	p := &pair{source: source, leaf: chain[0], algorithm: algorithmOf(key.Public())}
	for _, c := range chain {
		p.certificate.Certificate = append(p.certificate.Certificate, c.Raw)
	}
	p.certificate.PrivateKey, p.certificate.Leaf = key, chain[0]
	return p
}

// parseCertificates reads the certificates of a PEM file, of which there is at
// least one. Other blocks are left out.
func parseCertificates(file string, data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	other := ""
	rest := data
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			other = block.Type
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, problemf(file, "certificate %d cannot be read: %v", len(all)+1, err)
		}
		all = append(all, c)
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return nil, problemf(file, "the PEM block after certificate %d is damaged or cut off", len(all))
	}
	if len(all) > 0 {
		return all, nil
	}
	if other != "" {
		return nil, problemf(file, "has a %s but no CERTIFICATE; are certificate and key exchanged?", other)
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return nil, problemf(file, "is DER, not PEM; convert it with: openssl x509 -inform der -outform pem")
	}
	return nil, problemf(file, "is not PEM: there is no line -----BEGIN CERTIFICATE-----")
}

// parseKey reads the one private key of a PEM file.
func parseKey(file string, data []byte) (crypto.Signer, error) {
	other := ""
	rest := data
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, problemf(file, "the key is encrypted, and nobody is there to type a passphrase; "+
				"store it without one, readable by this process only: openssl pkey -in KEY -out PLAIN")
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			other = block.Type
			continue
		}
		return parseKeyBlock(file, block)
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return nil, problemf(file, "a PEM block is damaged or cut off")
	}
	if other != "" {
		return nil, problemf(file, "has a %s but no PRIVATE KEY; are certificate and key exchanged?", other)
	}
	return nil, problemf(file, "is not PEM: there is no line -----BEGIN PRIVATE KEY-----")
}

func parseKeyBlock(file string, block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, problemf(file, "a key in the form %q cannot be used; write it as PKCS #8: openssl pkey -in KEY -out KEY", block.Type)
	}
	if err != nil {
		// The error's text may quote bytes of the key.
		return nil, problemf(file, "the %s cannot be read; is the file damaged?", block.Type)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, problemf(file, "a key of this kind (%T) cannot sign; use ECDSA P-256 or RSA", key)
}

// publicKey is what all public keys of the standard library have.
type publicKey interface{ Equal(crypto.PublicKey) bool }

// checkKey sees that the key is that of the first certificate.
func checkKey(f Files, chain []*x509.Certificate, key crypto.Signer) error {
	own := key.Public().(publicKey)
	if own.Equal(chain[0].PublicKey) {
		return nil
	}
	for i, c := range chain[1:] {
		if own.Equal(c.PublicKey) {
			return problemf(f.Certificate, "wrong order: the key %s belongs to certificate %d (%s); it must be the first, its issuers after it",
				f.Key, i+2, subject(c))
		}
	}
	return problemf(f.Key, "the key does not fit the certificate %s (%s)", f.Certificate, subject(chain[0]))
}

// checkChain sees that all certificates are strong, valid now, and that each was
// issued by the one after it.
func checkChain(file string, chain []*x509.Certificate, now time.Time) error {
	for i, c := range chain {
		if err := checkStrength(file, i, c); err != nil {
			return err
		}
		if err := checkDates(file, i, c, now); err != nil {
			return err
		}
	}
	for i := 0; i+1 < len(chain); i++ {
		child, parent := chain[i], chain[i+1]
		if issued(parent, child) {
			continue
		}
		for j, other := range chain {
			if j != i && issued(other, child) {
				return problemf(file, "wrong order: certificate %d (%s) must be followed by its issuer, which is certificate %d (%s)",
					i+1, subject(child), j+1, subject(other))
			}
		}
		return problemf(file, "the chain is broken: certificate %d (%s) was issued by %s, not by certificate %d (%s)",
			i+1, subject(child), issuer(child), i+2, subject(parent))
	}
	return nil
}

func issued(parent, child *x509.Certificate) bool {
	return bytes.Equal(child.RawIssuer, parent.RawSubject) && child.CheckSignatureFrom(parent) == nil
}

// checkStrength refuses what clients refuse, so that it shows here and not there.
func checkStrength(file string, i int, c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 {
			return problemf(file, "certificate %d (%s) has a weak key: RSA with %d bits; at least 2048 are needed, ECDSA P-256 is better",
				i+1, subject(c), bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Params().BitSize; bits < 256 {
			return problemf(file, "certificate %d (%s) has a weak key: ECDSA with %d bits; use P-256", i+1, subject(c), bits)
		}
	case ed25519.PublicKey:
	default:
		return problemf(file, "certificate %d (%s) has a key of a kind that cannot be used; use ECDSA P-256 or RSA", i+1, subject(c))
	}
	if bytes.Equal(c.RawSubject, c.RawIssuer) {
		return nil // Nobody looks at the signature of a root.
	}
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		return problemf(file, "certificate %d (%s) is signed with %s, which clients refuse; have it issued with SHA-256",
			i+1, subject(c), c.SignatureAlgorithm)
	}
	return nil
}

// dateForm is how days are written for people.
const dateForm = "2006-01-02 15:04 MST"

func checkDates(file string, i int, c *x509.Certificate, now time.Time) error {
	if now.After(c.NotAfter) {
		return problemf(file, "certificate %d (%s) has expired on %s; renew it", i+1, subject(c), c.NotAfter.UTC().Format(dateForm))
	}
	if now.Before(c.NotBefore) {
		return problemf(file, "certificate %d (%s) is not valid before %s; is this machine's clock right?",
			i+1, subject(c), c.NotBefore.UTC().Format(dateForm))
	}
	return nil
}

// checkPurpose refuses a certificate that says that it is for something else.
func checkPurpose(file string, leaf *x509.Certificate, use purpose) error {
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		return nil
	}
	want, words := x509.ExtKeyUsageServerAuth, "servers"
	if use == forClient {
		want, words = x509.ExtKeyUsageClientAuth, "clients"
	}
	for _, usage := range leaf.ExtKeyUsage {
		if usage == want || usage == x509.ExtKeyUsageAny {
			return nil
		}
	}
	return problemf(file, "the certificate (%s) is not made for %s: its extended key usage does not say so", subject(leaf), words)
}

// subject names a certificate in messages.
func subject(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	if s := c.Subject.String(); s != "" {
		return s
	}
	return "without a name"
}

func issuer(c *x509.Certificate) string {
	if c.Issuer.CommonName != "" {
		return c.Issuer.CommonName
	}
	return c.Issuer.String()
}
