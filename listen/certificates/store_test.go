package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// site is a store with many certificates for the tests of selection.
func site(t testing.TB, change func(*Spec)) (*Store, *authority) {
	t.Helper()
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	spec := Spec{
		Protocols: []string{"h2", "http/1.1"},
		Files: []Files{
			root.files(t, dir, "first-rsa", leaf{names: []string{"first.example.com"}, kind: "rsa"}),
			root.files(t, dir, "first-ecdsa", leaf{names: []string{"first.example.com"}}),
			root.files(t, dir, "wild", leaf{names: []string{"*.example.com", "example.org"}}),
			root.files(t, dir, "deep", leaf{names: []string{"*.deep.example.com"}}),
			root.files(t, dir, "rsa", leaf{names: []string{"RSA.example.com"}, kind: "rsa"}),
			root.files(t, dir, "ed", leaf{names: []string{"ed.example.com"}, kind: "ed25519"}),
			root.files(t, dir, "ed-rsa", leaf{names: []string{"ed.example.com"}, kind: "rsa"}),
			root.files(t, dir, "p384", leaf{names: []string{"p384.example.com"}, kind: "p384"}),
			root.files(t, dir, "p384-rsa", leaf{names: []string{"p384.example.com"}, kind: "rsa"}),
		},
	}
	if change != nil {
		change(&spec)
	}
	return open(t, spec, Env{}), root
}

// served is the file of the certificate that a server showed.
func served(s *Store, state tls.ConnectionState) string {
	for _, w := range s.current.Load().files {
		if w.leaf.Equal(state.PeerCertificates[0]) {
			return strings.TrimSuffix(filepath.Base(w.files.Certificate), ".pem")
		}
	}
	return "none"
}

// shapes are clients of several abilities.
var shapes = map[string]*tls.Config{
	"modern":           {},
	"1.2":              {MaxVersion: tls.VersionTLS12},
	"1.2 RSA only":     {MaxVersion: tls.VersionTLS12, CipherSuites: suitesRSA},
	"1.2 ECDSA only":   {MaxVersion: tls.VersionTLS12, CipherSuites: suitesECDSA},
	"P-256 only":       {CurvePreferences: []tls.CurveID{tls.CurveP256}},
	"1.2, no P-256":    {MaxVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519}},
	"1.2, old suites":  {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
	"1.2, P-384 first": {MaxVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.CurveP384, tls.CurveP256}},
}

func client(shape, name string) *tls.Config {
	c := shapes[shape].Clone()
	c.ServerName = name
	c.InsecureSkipVerify = true // What is shown is looked at by the test.
	return c
}

func TestSelection(t *testing.T) {
	t.Parallel()
	def, _ := site(t, nil)
	strict, _ := site(t, func(s *Spec) { s.RefuseUnknown = true })
	named, _ := site(t, func(s *Spec) { s.Default = "P384.example.com" })
	for _, c := range []struct {
		store       *Store
		shape, name string
		want        string // a file, or a part of the client's error after "!"
	}{
		{def, "modern", "first.example.com", "first-ecdsa"},
		{def, "modern", "FIRST.Example.COM", "first-ecdsa"},
		{def, "1.2", "first.example.com", "first-ecdsa"},
		{def, "1.2 RSA only", "first.example.com", "first-rsa"},
		{def, "1.2 ECDSA only", "first.example.com", "first-ecdsa"},
		{def, "1.2, no P-256", "first.example.com", "first-rsa"},
		{def, "1.2, old suites", "first.example.com", "!handshake failure"},
		{def, "modern", "other.example.com", "wild"},
		{def, "modern", "a.b.example.com", "first-ecdsa"},
		{def, "modern", "x.deep.example.com", "deep"},
		{def, "modern", "deep.example.com", "wild"},
		{def, "modern", "example.com", "first-ecdsa"},
		{def, "modern", "example.org", "wild"},
		{def, "modern", "rsa.example.com", "rsa"},
		{def, "1.2 ECDSA only", "rsa.example.com", "!handshake failure"},
		{def, "modern", "ed.example.com", "ed"},
		{def, "1.2 RSA only", "ed.example.com", "ed-rsa"},
		{def, "modern", "p384.example.com", "p384"},
		{def, "1.2 RSA only", "p384.example.com", "p384-rsa"},
		{def, "modern", "", "first-ecdsa"},
		{def, "1.2 RSA only", "", "first-rsa"},
		{def, "modern", "unknown.example.net", "first-ecdsa"},
		{strict, "modern", "unknown.example.net", "!unrecognized name"},
		{strict, "1.2", "unknown.example.net", "!unrecognized name"},
		{strict, "modern", "a.b.example.com", "!unrecognized name"},
		{strict, "modern", "", "first-ecdsa"},
		{strict, "modern", "first.example.com", "first-ecdsa"},
		{named, "modern", "", "p384"},
		{named, "modern", "unknown.example.net", "p384"},
	} {
		t.Run(c.shape+" "+c.name, func(t *testing.T) {
			t.Parallel()
			s, serverErr, err := shake(c.store.Config(), client(c.shape, c.name))
			if want, refused := strings.CutPrefix(c.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("%v does not say %q", err, want)
				}
				return
			}
			if err := errors.Join(serverErr, err); err != nil {
				t.Fatal(err)
			}
			if got := served(c.store, s.client); got != c.want {
				t.Errorf("served %s, not %s", got, c.want)
			}
			if s.client.Version == tls.VersionTLS12 && !common([]uint16{s.client.CipherSuite}, suites) {
				t.Errorf("suite %s", tls.CipherSuiteName(s.client.CipherSuite))
			}
		})
	}
}

// TestSuits compares the quick answer with that of crypto/tls, on real hellos.
func TestSuits(t *testing.T) {
	t.Parallel()
	store, _ := site(t, nil)
	checked := 0
	config := store.Config().Clone()
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, p := range store.current.Load().pairs() {
			twin := hello.SupportsCertificate(&p.certificate) == nil
			if got := p.algorithm.suits(hello); got != twin {
				t.Errorf("%s: %v, crypto/tls says %v", filepath.Base(p.source), got, twin)
			}
			checked++
		}
		return nil, nil
	}
	for shape := range shapes {
		// Without a name, which SupportsCertificate would look at too.
		_, _, _ = shake(config, client(shape, ""))
	}
	if want := len(shapes) * 9; checked != want {
		t.Fatalf("%d comparisons, not %d", checked, want)
	}
}

func TestVersionsAndProtocols(t *testing.T) {
	t.Parallel()
	def, _ := site(t, nil)
	strict, _ := site(t, func(s *Spec) { s.Minimum = tls.VersionTLS13 })
	for _, c := range []struct {
		name   string
		store  *Store
		client *tls.Config
		want   string
	}{
		{"1.3", def, &tls.Config{}, "TLS 1.3"},
		{"1.2", def, &tls.Config{MaxVersion: tls.VersionTLS12}, "TLS 1.2"},
		{"1.1", def, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "!protocol version"},
		{"1.2 refused", strict, &tls.Config{MaxVersion: tls.VersionTLS12}, "!protocol version"},
		{"static RSA", def, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, "!handshake failure"},
		{"h2", def, &tls.Config{NextProtos: []string{"http/1.1", "h2"}}, "h2"},
		{"http/1.1", def, &tls.Config{NextProtos: []string{"http/1.1"}}, "http/1.1"},
		{"no ALPN", def, &tls.Config{}, "TLS 1.3"},
		{"unknown ALPN", def, &tls.Config{NextProtos: []string{"spdy/3"}}, "!no application protocol"},
		{"challenge", def, &tls.Config{NextProtos: []string{ChallengeProtocol}}, "!no application protocol"},
		{"post-quantum", def, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}}, "X25519MLKEM768"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.client.InsecureSkipVerify = true
			c.client.ServerName = "first.example.com"
			s, serverErr, err := shake(c.store.Config(), c.client)
			if want, refused := strings.CutPrefix(c.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("%v does not say %q", err, want)
				}
				return
			}
			if err := errors.Join(serverErr, err); err != nil {
				t.Fatal(err)
			}
			f := message.TLSOf(&s.server)
			if got := f.Version + " " + f.Protocol + " " + s.server.CurveID.String(); !strings.Contains(got, c.want) {
				t.Errorf("%s is not %s", got, c.want)
			}
			if f.ServerName != "first.example.com" || f.Suite == "" || f.Certificate != nil {
				t.Errorf("facts %+v", f)
			}
		})
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	good := root.files(t, dir, "good", leaf{names: []string{"a.example.com"}})
	bad := Files{filepath.Join(dir, "none.pem"), good.Key}
	exp := root.files(t, dir, "expired", leaf{names: []string{"b.example.com"}, from: -48 * time.Hour, until: -time.Hour})
	for _, c := range []struct {
		name string
		spec Spec
		want []string
	}{
		{"nothing", Spec{}, []string{"no certificates: name files"}},
		{"all at once", Spec{Files: []Files{bad, exp}, Clients: Clients{Authorities: filepath.Join(dir, "gone")}},
			[]string{"none.pem: there is no such file", "expired.pem: certificate 1 (b.example.com) has expired", "gone: there is no such file"}},
		{"default", Spec{Files: []Files{good}, Default: "z.example.com"}, []string{`no certificate has the name "z.example.com"`}},
		{"required", Spec{Files: []Files{good}, Clients: Clients{Mode: Require}}, []string{"no authorities are named"}},
		{"minimum", Spec{Files: []Files{good}, Minimum: tls.VersionTLS11}, []string{"minimum version must be"}},
		{"challenge", Spec{Files: []Files{good}, Protocols: []string{ChallengeProtocol}}, []string{"is for authorities only"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewStore(Env{}).Prepare(c.spec)
			_, checked := Check(c.spec, nil, time.Now())
			if err == nil || checked == nil || err.Error() != checked.Error() {
				t.Fatalf("%v; Check says %v", err, checked)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

func TestRefreshKeepsWhatIsGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
	j := &journal{}
	c := newClock()
	s := open(t, Spec{Files: []Files{f}}, Env{Logger: j.logger(), Now: c.now})
	first := s.current.Load().files[0].leaf
	now := func() *x509.Certificate {
		return ok(t, s.Config(), client("modern", "a.example.com")).client.PeerCertificates[0]
	}

	// A new certificate whose key has not come yet.
	second, key := root.issue(leaf{names: []string{"a.example.com"}})
	write(t, f.Certificate, certPEM(second))
	s.Refresh()
	s.Refresh()
	if !now().Equal(first) {
		t.Fatal("a certificate without its key is served")
	}
	if n := strings.Count(j.text(), "the one before stays in use"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, j.text())
	}
	if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], "the key does not fit") {
		t.Errorf("problems %q", p)
	}
	// The document may be applied again: not with what is on the disk now.
	if _, err := s.Prepare(Spec{Files: []Files{f}}); err == nil {
		t.Error("a pair that does not fit is prepared")
	}
	write(t, f.Key, keyPEM(key))
	s.Refresh()
	if !now().Equal(second) {
		t.Fatal("the new certificate is not served")
	}
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems %q", p)
	}
	for _, broken := range [][]byte{nil, []byte("x"), certPEM(second)[:300]} {
		write(t, f.Certificate, broken)
		s.Refresh()
		if !now().Equal(second) || len(s.Problems()) != 1 {
			t.Fatalf("after %q: %v", broken, s.Problems())
		}
	}
	if err := os.Remove(f.Certificate); err != nil {
		t.Fatal(err)
	}
	s.Refresh()
	if p := s.Problems(); !now().Equal(second) || len(p) != 1 || !strings.Contains(p[0], "there is no such file") {
		t.Fatalf("after removal: %v", p)
	}
	write(t, f.Certificate, certPEM(second))
	s.Refresh()
	if p := s.Problems(); len(p) != 0 {
		t.Fatalf("the old file is back: %v", p)
	}
}

// A certificate that has expired while it was served does not stop a change of
// something else.
func TestPrepareKeepsAnExpiredCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}, until: time.Hour})
	c := newClock()
	s := open(t, Spec{Files: []Files{f}}, Env{Now: c.now})
	c.add(2 * time.Hour)
	apply(t, s, Spec{Files: []Files{f}, Minimum: tls.VersionTLS13})
	if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], "has expired 60 minutes ago") {
		t.Errorf("problems %q", p)
	}
	if _, err := NewStore(Env{Now: c.now}).Prepare(Spec{Files: []Files{f}}); err == nil {
		t.Error("a new store takes an expired certificate")
	}
}

// A write that leaves size and time as they were is seen if it came soon after.
func TestRefreshSeesASecondWriteInTheSameTick(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "f"), []byte("one"))
	_, l, err := readFile(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, l.info.ModTime(), l.info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if !l.mayDiffer() {
		t.Error("the second write is not seen")
	}
	_, l, err = readFile(path, time.Now().Add(time.Hour))
	if err != nil || l.mayDiffer() {
		t.Errorf("a file that is old is read again (%v)", err)
	}
}

// Handshakes go on while files change all the time.
func TestReloadUnderLoad(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
	s := open(t, Spec{Files: []Files{f}, Protocols: []string{"h2"}}, Env{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := &tls.Config{RootCAs: root.pool(), ServerName: "a.example.com", NextProtos: []string{"h2"}}
				if _, serverErr, clientErr := shake(s.Config(), c); serverErr != nil || clientErr != nil {
					t.Errorf("handshake: %v, %v", serverErr, clientErr)
					return
				}
			}
		})
	}
	seen := map[string]bool{}
	for i := range 60 {
		c, key := root.issue(leaf{names: []string{"a.example.com"}})
		write(t, f.Key, keyPEM(key))
		s.Refresh() // The key is ahead of its certificate.
		write(t, f.Certificate, certPEM(c))
		s.Refresh()
		if i%10 == 0 {
			apply(t, s, Spec{Files: []Files{f}, Protocols: []string{"h2"}})
		}
		if !s.current.Load().files[0].leaf.Equal(c) {
			t.Fatal("not reloaded")
		}
		seen[c.SerialNumber.String()] = true
	}
	close(stop)
	wg.Wait()
	if len(seen) != 60 {
		t.Fatal(len(seen))
	}
}

// An established connection keeps working whatever is reloaded.
func TestReloadLeavesConnectionsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
	s := open(t, Spec{Files: []Files{f}}, Env{})
	near, far := pipe()
	server, c := tls.Server(far, s.Config()), tls.Client(near, client("modern", "a.example.com"))
	defer func() { _, _ = server.Close(), c.Close() }()
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	fresh := root.files(t, dir, "a", leaf{names: []string{"b.example.com"}})
	s.Refresh()
	apply(t, s, Spec{Files: []Files{fresh}, Minimum: tls.VersionTLS13, RefuseUnknown: true})
	go func() { _, err := server.Write([]byte("hello")); done <- err }()
	buf := make([]byte, 5)
	if _, err := c.Read(buf); err != nil || string(buf) != "hello" || <-done != nil {
		t.Fatalf("%q, %v", buf, err)
	}
}

func hello(name string, versions ...uint16) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, SupportedVersions: versions, SignatureSchemes: schemesRSA12,
		CipherSuites: suites, SupportedCurves: curves,
	}
}

func TestLookUpDoesNotAllocate(t *testing.T) {
	s, _ := site(t, nil)
	for _, name := range []string{"first.example.com", "FIRST.example.com", "x.deep.example.com", "unknown.example.net", ""} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			h := hello(name, version)
			if n := testing.AllocsPerRun(100, func() {
				if c, err := s.certificate(h); c == nil || err != nil {
					t.Fatal("no certificate")
				}
			}); n != 0 {
				t.Errorf("%q: %v allocations", name, n)
			}
		}
	}
}

func TestNamesThatAreTooLong(t *testing.T) {
	t.Parallel()
	s, _ := site(t, nil)
	c, err := s.certificate(hello(strings.Repeat("a.", 200)+"example.com", tls.VersionTLS13))
	if c == nil || err != nil {
		t.Fatal("no default for it")
	}
}

func TestConfigBeforeTheFirstCommit(t *testing.T) {
	t.Parallel()
	s := NewStore(Env{})
	s.Refresh()
	if s.Config() != nil || s.Problems() != nil || s.Expiries() != nil {
		t.Error("something is there")
	}
}

func BenchmarkCertificate(b *testing.B) {
	s, _ := site(b, nil)
	h := hello("x.deep.example.com", tls.VersionTLS13)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.certificate(h)
	}
}

// BenchmarkFullHandshake is the server's and the client's work together.
func BenchmarkFullHandshake(b *testing.B) {
	for _, c := range []struct {
		name   string
		client *tls.Config
	}{
		{"ECDSA-P256-TLS13", &tls.Config{}},
		{"ECDSA-P256-TLS13-X25519", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}},
		{"ECDSA-P256-TLS12", &tls.Config{MaxVersion: tls.VersionTLS12}},
	} {
		b.Run(c.name, func(b *testing.B) {
			root := newAuthority("Root", nil)
			f := root.files(b, b.TempDir(), "a", leaf{names: []string{"a.example.com"}})
			s := open(b, Spec{Files: []Files{f}}, Env{})
			c.client.InsecureSkipVerify, c.client.ServerName = true, "a.example.com"
			near, far := pipe()
			_, _ = near.Close(), far.Close()
			b.ReportAllocs()
			for b.Loop() {
				near, far := pipe()
				done := make(chan error, 1)
				go func() { done <- tls.Server(far, s.Config()).HandshakeContext(context.Background()) }()
				if err := errors.Join(tls.Client(near, c.client).Handshake(), <-done); err != nil {
					b.Fatal(err)
				}
				_, _ = near.Close(), far.Close()
			}
		})
	}
}
