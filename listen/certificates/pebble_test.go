package certificates

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pebble is Debian's ACME authority for tests, run for one test.
type pebble struct {
	directory string
	roots     string // a PEM file, for the directory's own certificate
	issued    *x509.CertPool
	httpPort  int
	tlsPort   int
	journal   *journal // what it prints
}

// ports gives each test of this process other ports, below those that the kernel
// takes for outgoing connections.
var ports = func() *atomic.Int32 {
	n := &atomic.Int32{}
	n.Store(int32(os.Getpid() % 1000 * 6))
	return n
}()

// freePort is a port that was free for TCP and UDP a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 14_000 + int(ports.Add(1)%6_000)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", address)
		syscall.ForkLock.RLock() // A child that is being started would keep it open.
		_ = l.Close()
		syscall.ForkLock.RUnlock()
		if err == nil {
			_ = u.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// startPebble runs pebble with real validation, a resolver that knows every name as
// 127.0.0.1, and a third of all good nonces refused. The test is parallel to others;
// each has domains of its own, because certmagic finds challenges by domain.
func startPebble(t *testing.T) *pebble {
	t.Helper()
	t.Parallel()
	for _, command := range []string{"pebble", "pebble-challtestsrv"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Fatalf("%s is needed for this test: apt-get install pebble (or run tools/setup/test.sh)", command)
		}
	}
	dir := t.TempDir()
	root := newAuthority("Root of the directory", nil)
	own := root.files(t, dir, "directory", leaf{names: []string{"localhost", "127.0.0.1"}})
	p := &pebble{httpPort: freePort(t), tlsPort: freePort(t), journal: &journal{}}
	p.roots = write(t, filepath.Join(dir, "roots.pem"), certPEM(root.cert))
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	listen, management, dns, dnsManagement := at(freePort(t)), at(freePort(t)), at(freePort(t)), at(freePort(t))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": own.Certificate, "privateKey": own.Key,
		"httpPort": p.httpPort, "tlsPort": p.tlsPort,
	}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, p.journal, nil, "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", dns,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-management", dnsManagement)
	run(t, p.journal, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_VA_ALWAYS_VALID=0", "PEBBLE_WFE_NONCEREJECT=33"},
		"pebble", "-strict", "-config", write(t, filepath.Join(dir, "pebble.json"), config), "-dnsserver", dns)
	p.directory = "https://" + listen + "/dir"

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: root.pool()}, DisableKeepAlives: true}}
	var pem []byte
	eventually(t, func() bool {
		answer, err := client.Get("https://" + management + "/roots/0")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		pem, err = io.ReadAll(answer.Body)
		return err == nil && answer.StatusCode == http.StatusOK
	}, p.journal)
	p.issued = x509.NewCertPool()
	if !p.issued.AppendCertsFromPEM(pem) {
		t.Fatalf("no root: %s", pem)
	}
	return p
}

// run starts a command that ends with the test.
func run(t *testing.T, out io.Writer, env []string, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
}

// eventually waits for another process.
func eventually(t *testing.T, done func() bool, logs ...*journal) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			for _, j := range logs {
				t.Log(j.text())
			}
			t.Fatal("it did not happen")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *pebble) issuer() Issuer {
	return Issuer{Directory: p.directory, Email: "ops@example.com", Authorities: p.roots}
}

// serveHTTP answers on the port of HTTP-01 as a listener of the gateway does.
func (p *pebble) serveHTTP(t *testing.T, challenge func(host, path string) (string, bool)) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.httpPort)))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := challenge(r.Host, r.URL.Path); ok {
			_, _ = io.WriteString(w, text)
			return
		}
		http.NotFound(w, r)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// serveTLS accepts on the port of TLS-ALPN-01 as a listener of the gateway does.
func (p *pebble) serveTLS(t *testing.T, s *Store) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.tlsPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = nc.Close() }()
				c := tls.Server(nc, s.Config())
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := c.HandshakeContext(ctx); err != nil {
					return
				}
				if state := c.ConnectionState(); IsChallenge(&state) {
					return
				}
				_, _ = io.Copy(c, bytes.NewReader([]byte("hello")))
			}()
		}
	}()
}

// automatic opens one with the folder and closes it with the test.
func automatic(t *testing.T, spec ACME, j *journal) *Automatic {
	t.Helper()
	if spec.Folder == "" {
		spec.Folder = t.TempDir()
	}
	a, err := OpenAutomatic(spec, Env{Logger: j.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// shown is the certificate that a store serves for a name, verified by pebble's root.
func (p *pebble) shown(t *testing.T, s *Store, name string) *x509.Certificate {
	t.Helper()
	return ok(t, s.Config(), &tls.Config{RootCAs: p.issued, ServerName: name}).client.PeerCertificates[0]
}

func (p *pebble) String() string { return fmt.Sprintf("pebble at %s", p.directory) }
