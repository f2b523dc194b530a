package certificates

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serials = struct {
	sync.Mutex
	n int64
}{n: 1}

func nextSerial() *big.Int {
	serials.Lock()
	defer serials.Unlock()
	serials.n++
	return big.NewInt(serials.n)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey(kind string) crypto.Signer {
	switch kind {
	case "rsa":
		return must(rsa.GenerateKey(rand.Reader, 2048))
	case "rsa1024":
		// crypto/rsa makes none; the number only has to look like a key to be judged.
		return weakRSA()
	case "p384":
		return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "p224":
		return must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	}
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// newAuthority makes a root, or one below a parent.
func newAuthority(name string, parent *authority) *authority {
	key := newKey("p256")
	template := &x509.Certificate{
		SerialNumber: nextSerial(), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour * 24 * 400), NotAfter: time.Now().Add(time.Hour * 24 * 4000),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	signer, by := template, crypto.Signer(key)
	if parent != nil {
		signer, by = parent.cert, parent.key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, signer, key.Public(), by))
	return &authority{must(x509.ParseCertificate(der)), key}
}

// leaf is a certificate to be.
type leaf struct {
	names  []string
	kind   string // of its key
	from   time.Duration
	until  time.Duration
	client bool
	change func(*x509.Certificate)
	key    crypto.Signer
}

func (a *authority) issue(l leaf) (*x509.Certificate, crypto.Signer) {
	key := l.key
	if key == nil {
		key = newKey(l.kind)
	}
	if l.until == 0 {
		l.until = 300 * 24 * time.Hour
	}
	if l.from == 0 {
		l.from = -time.Hour
	}
	usage := x509.ExtKeyUsageServerAuth
	if l.client {
		usage = x509.ExtKeyUsageClientAuth
	}
	template := &x509.Certificate{
		SerialNumber: nextSerial(), NotBefore: time.Now().Add(l.from), NotAfter: time.Now().Add(l.until),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	if len(l.names) > 0 {
		template.Subject.CommonName = l.names[0]
	}
	for _, n := range l.names {
		if strings.Contains(n, "://") {
			template.URIs = append(template.URIs, must(url.Parse(n)))
		} else if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	if l.change != nil {
		l.change(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return must(x509.ParseCertificate(der)), key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) pair(l leaf) tls.Certificate {
	c, key := a.issue(l)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

func certPEM(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

func keyPEM(key crypto.Signer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
}

// write puts a file in place at once, as tools that renew certificates do.
func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// files writes a pair into a folder.
func (a *authority) files(t testing.TB, dir, name string, l leaf) Files {
	t.Helper()
	c, key := a.issue(l)
	return Files{
		write(t, filepath.Join(dir, name+".pem"), certPEM(c)),
		write(t, filepath.Join(dir, name+".key"), keyPEM(key)),
	}
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// journal is a log that tests read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func open(t testing.TB, spec Spec, env Env) *Store {
	t.Helper()
	s := NewStore(env)
	apply(t, s, spec)
	return s
}

func apply(t testing.TB, s *Store, spec Spec) {
	t.Helper()
	c, err := s.Prepare(spec)
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
}

// shaken is what both ends know after a handshake and one byte each way.
type shaken struct {
	client, server tls.ConnectionState
}

// shake makes a connection between the two configs, one byte each way (so that
// tickets and late alerts arrive), and the two errors.
func shake(server, client *tls.Config) (s shaken, serverErr, clientErr error) {
	near, far := pipe()
	done := make(chan error, 1)
	go func() {
		c := tls.Server(far, server)
		defer func() { _ = c.Close() }()
		err := c.Handshake()
		if err == nil {
			s.server = c.ConnectionState()
			_, err = c.Write([]byte("s"))
		}
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		done <- err
	}()
	c := tls.Client(near, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		s.client = c.ConnectionState()
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	if clientErr == nil {
		_, clientErr = c.Write([]byte("c"))
	}
	if clientErr != nil {
		_ = near.Close()
	}
	serverErr = <-done
	_ = c.Close()
	return s, serverErr, clientErr
}

// pipe is a connection over the loopback address: alerts and tickets cross while
// nobody reads, which net.Pipe does not do.
func pipe() (near, far net.Conn) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() { accepted <- must(l.Accept()) }()
	near = must(net.Dial("tcp", l.Addr().String()))
	return near, <-accepted
}

func ok(t testing.TB, server, client *tls.Config) shaken {
	t.Helper()
	s, serverErr, clientErr := shake(server, client)
	if err := errors.Join(serverErr, clientErr); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return s
}

// noLeaks fails the test if goroutines of this test are left at its end.
func noLeaks(t *testing.T, tolerated ...string) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for {
			left, dump := goroutines(tolerated)
			if left <= before {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines before, %d after:\n%s", before, left, dump)
				return
			}
			runtime.Gosched()
		}
	})
}

func goroutines(tolerated []string) (int, string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	var kept []string
next:
	for _, g := range strings.Split(string(buf), "\n\n") {
		for _, word := range tolerated {
			if strings.Contains(g, word) {
				continue next
			}
		}
		n++
		kept = append(kept, g)
	}
	return n, strings.Join(kept, "\n\n")
}
