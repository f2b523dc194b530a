package certificates

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// weakRSA is a key of 1024 bits, which crypto/rsa refuses to make. It is for tests only.
func weakRSA() *rsa.PrivateKey {
	p, _ := new(big.Int).SetString(weakP, 16)
	q, _ := new(big.Int).SetString(weakQ, 16)
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{Primes: []*big.Int{p, q}}
	key.N, key.E = new(big.Int).Mul(p, q), 65537
	key.D = new(big.Int).ModInverse(big.NewInt(65537), phi)
	return key
}

const (
	weakP = "D94A6D4810DFE625F6B744F73E44F26F493B148C8C4741EAF430213AC9AB81096B1A8E846BA5158DD9CA13CEB5E65EB0A864047BFC6D12E5CCA281F84CC2DFDF"
	weakQ = "F33F33DD330468FB4D51CF162898DD2E34E206D1AADDE599735E4D7E9F4E154DC32628566894A5BE7CF08FC0EF292AD962B68FF69C2080EA900A0199322F91A7"
)

func TestBadFiles(t *testing.T) {
	t.Parallel()
	root := newAuthority("Root", nil)
	middle := newAuthority("Middle", root)
	other := newAuthority("Other", nil)
	good, goodKey := middle.issue(leaf{names: []string{"a.example.com"}})
	issue := func(l leaf) ([]byte, []byte) {
		l.names = []string{"a.example.com"}
		c, key := middle.issue(l)
		return certPEM(c), keyPEM(key)
	}
	expired, expiredKey := issue(leaf{from: -100 * 24 * time.Hour, until: -time.Hour})
	early, earlyKey := issue(leaf{from: time.Hour})
	forClients, forClientsKey := issue(leaf{client: true})
	small, smallKey := issue(leaf{kind: "p224"})
	weak, _ := middle.issue(leaf{names: []string{"a.example.com"}, kind: "rsa1024"})
	legacyEncrypted := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{
		"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	damaged := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret bytes")})
	openssh := pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte{1}})
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(goodKey.(*ecdsa.PrivateKey)))})
	sha1 := signedWithSHA1(t)

	for _, c := range []struct {
		name      string
		cert, key []byte
		file      string // which file the problem names; "" is no problem
		want      string
	}{
		{"good", certPEM(good, middle.cert), keyPEM(goodKey), "", ""},
		{"good with the root", certPEM(good, middle.cert, root.cert), keyPEM(goodKey), "", ""},
		{"good in one file", append(keyPEM(goodKey), certPEM(good)...), append(certPEM(good), keyPEM(goodKey)...), "", ""},
		{"good in SEC 1", certPEM(good), sec1, "", ""},
		{"text", []byte("hello"), keyPEM(goodKey), "cert", "is not PEM: there is no line -----BEGIN CERTIFICATE-----"},
		{"empty", nil, keyPEM(goodKey), "cert", "is not PEM"},
		{"der", good.Raw, keyPEM(goodKey), "cert", "is DER, not PEM; convert it with: openssl x509"},
		{"exchanged", keyPEM(goodKey), certPEM(good), "cert", "has a PRIVATE KEY but no CERTIFICATE; are certificate and key exchanged?"},
		{"cut off", append(certPEM(good), certPEM(middle.cert)[:200]...), keyPEM(goodKey), "cert", "the PEM block after certificate 1 is damaged or cut off"},
		{"not a certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), keyPEM(goodKey), "cert", "certificate 1 cannot be read"},
		{"key is text", certPEM(good), []byte("hello"), "key", "is not PEM: there is no line -----BEGIN PRIVATE KEY-----"},
		{"key is a certificate", certPEM(good), certPEM(good), "key", "has a CERTIFICATE but no PRIVATE KEY"},
		{"key cut off", certPEM(good), keyPEM(goodKey)[:100], "key", "damaged or cut off"},
		{"key damaged", certPEM(good), damaged, "key", "the PRIVATE KEY cannot be read; is the file damaged?"},
		{"key encrypted", certPEM(good), encrypted, "key", "the key is encrypted"},
		{"key encrypted the old way", certPEM(good), legacyEncrypted, "key", "the key is encrypted"},
		{"key of ssh", certPEM(good), openssh, "key", `a key in the form "OPENSSH PRIVATE KEY" cannot be used`},
		{"another's key", certPEM(good), keyPEM(newKey("")), "key", "the key does not fit the certificate"},
		{"expired", expired, expiredKey, "cert", "certificate 1 (a.example.com) has expired on"},
		{"not yet", early, earlyKey, "cert", "certificate 1 (a.example.com) is not valid before"},
		{"order: leaf last", certPEM(middle.cert, good), keyPEM(goodKey), "cert", "wrong order: the key"},
		{"order: issuers", certPEM(good, root.cert, middle.cert), keyPEM(goodKey), "cert",
			"wrong order: certificate 1 (a.example.com) must be followed by its issuer, which is certificate 3 (Middle)"},
		{"broken", certPEM(good, other.cert), keyPEM(goodKey), "cert",
			"the chain is broken: certificate 1 (a.example.com) was issued by Middle, not by certificate 2 (Other)"},
		{"for clients", forClients, forClientsKey, "cert", "is not made for servers"},
		{"weak curve", small, smallKey, "cert", "weak key: ECDSA with 224 bits"},
		{"weak RSA", certPEM(weak), nil, "cert", "weak key: RSA with 1024 bits"},
		{"SHA-1", sha1, nil, "cert", "is signed with ECDSA-SHA1, which clients refuse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := Files{write(t, filepath.Join(dir, "cert.pem"), c.cert), write(t, filepath.Join(dir, "key.pem"), c.key)}
			var err error
			if c.key == nil && c.cert != nil {
				// The key cannot be written; the chain is judged alone.
				chain, parseErr := parseCertificates(f.Certificate, c.cert)
				if parseErr != nil {
					t.Fatal(parseErr)
				}
				err = checkChain(f.Certificate, chain, time.Now())
			} else {
				_, _, err = loadPair(f, forServer, time.Now())
			}
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var p *Problem
			if !errors.As(err, &p) {
				t.Fatalf("%v is not a *Problem", err)
			}
			if want := map[string]string{"cert": f.Certificate, "key": f.Key}[c.file]; p.File != want {
				t.Errorf("names the file %s, not %s", p.File, want)
			}
			if !strings.Contains(p.Reason, c.want) {
				t.Errorf("%q does not say %q", p.Reason, c.want)
			}
			if strings.Contains(p.Error(), "secret") {
				t.Error("quotes the key")
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := write(t, filepath.Join(dir, "large"), make([]byte, maxFile+1))
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no such file",
		dir:                        "is a folder",
		large:                      "is larger than 1 MiB",
		pipe:                       "is a pipe or a device", // And it is not waited for.
		os.DevNull:                 "is a pipe or a device",
	} {
		_, _, err := loadPair(Files{path, path}, forServer, time.Now())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if os.Getuid() != 0 {
		_ = os.Chmod(large, 0)
		if _, _, err := readFile(large, time.Now()); err == nil || !strings.Contains(err.Error(), "may not be read") {
			t.Error(err)
		}
	}
}

// signedWithSHA1 turns the algorithm of a certificate into one that crypto/x509
// does not sign with; nobody gets as far as to verify it.
func signedWithSHA1(t *testing.T) []byte {
	c, _ := newAuthority("Old", nil).issue(leaf{names: []string{"a.example.com"}})
	sha256 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}
	raw := string(c.Raw)
	if strings.Count(raw, string(sha256)) != 2 {
		t.Fatal("the certificate is not as expected")
	}
	// ecdsa-with-SHA1 is one byte shorter, which the lengths around it have to follow:
	// the two algorithm identifiers, the part that is signed, the whole.
	sha1 := []byte{0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01}
	old := string(append([]byte{0x30, 0x0a}, sha256...))
	raw = strings.ReplaceAll(raw, old, string(append([]byte{0x30, 0x09}, sha1...)))
	b := []byte(raw)
	shorten := func(at, by int) {
		if b[at] != 0x30 || b[at+1] != 0x82 {
			t.Fatal("the certificate is not as expected")
		}
		n := int(b[at+2])<<8 + int(b[at+3]) - by
		b[at+2], b[at+3] = byte(n>>8), byte(n)
	}
	shorten(0, 2)
	shorten(4, 1)
	parsed, err := x509.ParseCertificate(b)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM(parsed)
}

func FuzzParsePair(f *testing.F) {
	root := newAuthority("Root", nil)
	c, key := root.issue(leaf{names: []string{"a.example.com"}})
	f.Add(certPEM(c, root.cert), keyPEM(key))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\n"))
	now := time.Now()
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		p, err := parsePair(Files{"c", "k"}, cert, key, forServer, now)
		var problem *Problem
		if err != nil && !errors.As(err, &problem) {
			t.Fatalf("%v is not a *Problem", err)
		}
		if err == nil && (p.leaf == nil || len(p.certificate.Certificate) == 0) {
			t.Fatal("a pair without a certificate")
		}
	})
}
