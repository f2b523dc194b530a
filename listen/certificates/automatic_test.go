package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/unit"
)

func TestHTTPChallenge(t *testing.T) {
	p, j := startPebble(t), &journal{}
	a := automatic(t, ACME{Domains: []string{"A.http.example.com", "b.http.example.com"}, Issuers: []Issuer{p.issuer()}, WithoutTLS: true}, j)
	var asked atomic.Int32
	p.serveHTTP(t, func(host, path string) (string, bool) {
		asked.Add(1)
		return a.Challenge(host, path)
	})
	s := open(t, Spec{Automatic: a}, Env{})
	eventually(t, func() bool { return len(a.Problems()) == 0 }, j, p.journal)
	for _, name := range []string{"a.http.example.com", "b.http.example.com"} {
		if c := p.shown(t, s, name); len(c.DNSNames) != 1 || c.DNSNames[0] != name {
			t.Errorf("%s is served %v", name, c.DNSNames)
		}
	}
	if asked.Load() < 2 {
		t.Errorf("%d challenges", asked.Load())
	}
	if !strings.Contains(p.journal.text(), "nonce") {
		t.Error("no nonce was refused")
	}
	for _, c := range [][2]string{
		{"a.http.example.com", challengePath + "unknown"},
		{"other.example.com", challengePath + "token"},
		{"a.http.example.com", challengePath},
		{"a.http.example.com", challengePath + "../x"},
		{"a.http.example.com", challengePath + strings.Repeat("a", maxToken+1)},
		{"a.http.example.com", "/"},
	} {
		if text, ok := a.Challenge(c[0], c[1]); ok {
			t.Errorf("%v: %q", c, text)
		}
	}
	if e := a.Expiries(); len(e) != 2 || e[0].Source != "a.http.example.com" || !e[0].Managed {
		t.Errorf("%+v", e)
	}
	// No certificate of ours for a client that names nobody else's: the first.
	if c := p.shown(t, s, "a.http.example.com"); !ok(t, s.Config(), client("modern", "")).client.PeerCertificates[0].Equal(c) {
		t.Error("the default is not the first domain's")
	}
}

func TestTLSChallenge(t *testing.T) {
	p, j := startPebble(t), &journal{}
	a := automatic(t, ACME{Domains: []string{"a.alpn.example.com"}, Issuers: []Issuer{p.issuer()}, WithoutHTTP: true}, j)
	s := open(t, Spec{Automatic: a, Protocols: []string{"h2", "http/1.1"}, RefuseUnknown: true, Minimum: tls.VersionTLS13}, Env{})
	p.serveTLS(t, s)
	eventually(t, func() bool { return len(a.Problems()) == 0 }, j, p.journal)
	p.shown(t, s, "a.alpn.example.com")
	// Others cannot negotiate the protocol of challenges, or be shown our certificate by it.
	c := client("modern", "a.alpn.example.com")
	for _, protocols := range [][]string{{ChallengeProtocol}, {ChallengeProtocol, "spdy/3"}} {
		if c.NextProtos = protocols; true {
			if _, _, err := shake(s.Config(), c); err == nil {
				t.Errorf("%q is negotiated", protocols)
			}
		}
	}
	c.NextProtos = []string{ChallengeProtocol, "h2"}
	if got := ok(t, s.Config(), c).client.NegotiatedProtocol; got != "h2" {
		t.Errorf("negotiated %q", got)
	}
	if _, ok := a.Challenge("a.alpn.example.com", challengePath+"x"); ok {
		t.Error("HTTP-01 is answered although it is off")
	}
}

func TestFallBackBetweenIssuers(t *testing.T) {
	p, j := startPebble(t), &journal{}
	// An authority that is down: it answers each call with a fault.
	var asked atomic.Int32
	down := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "down", http.StatusBadRequest)
	}))
	defer down.Close()
	roots := write(t, t.TempDir()+"/down.pem", certPEM(down.Certificate()))
	a := automatic(t, ACME{
		Domains:    []string{"a.fallback.example.com"},
		Issuers:    []Issuer{{Directory: down.URL + "/dir", Authorities: roots}, p.issuer()},
		WithoutTLS: true,
	}, j)
	p.serveHTTP(t, a.Challenge)
	s := open(t, Spec{Automatic: a}, Env{})
	eventually(t, func() bool { return len(a.Problems()) == 0 }, j, p.journal)
	p.shown(t, s, "a.fallback.example.com")
	if asked.Load() == 0 {
		t.Error("the first issuer was not asked")
	}
	if !strings.Contains(j.text(), "could not get certificate from issuer") || strings.Contains(j.text(), `msg=".`) {
		t.Error("the failure is not in the log, or without its beginning:", j.text())
	}
}

// Two instances share a folder: one obtains, both serve.
func TestInstancesShareAFolder(t *testing.T) {
	p, j := startPebble(t), &journal{}
	spec := ACME{Domains: []string{"a.shared.example.com"}, Issuers: []Issuer{p.issuer()}, WithoutTLS: true, Folder: t.TempDir()}
	one, two := automatic(t, spec, j), automatic(t, spec, j)
	p.serveHTTP(t, two.Challenge)
	eventually(t, func() bool { return len(one.Problems())+len(two.Problems()) == 0 }, j, p.journal)
	a, b := open(t, Spec{Automatic: one}, Env{}), open(t, Spec{Automatic: two}, Env{})
	if x, y := p.shown(t, a, "a.shared.example.com"), p.shown(t, b, "a.shared.example.com"); !x.Equal(y) {
		t.Error("they serve different certificates")
	}
	if n := strings.Count(j.text(), "msg=\"certificate obtained\""); n != 1 {
		t.Errorf("obtained %d times", n)
	}
	// A third has it from its first moment on, without asking anybody.
	third := automatic(t, ACME{Domains: spec.Domains, Issuers: spec.Issuers, Folder: spec.Folder}, j)
	if p := third.Problems(); len(p) != 0 {
		t.Error(p)
	}
}

const (
	obtainFolder    = "SLUICE_TEST_OBTAIN_FOLDER"
	obtainDirectory = "SLUICE_TEST_OBTAIN_DIRECTORY"
	obtainRoots     = "SLUICE_TEST_OBTAIN_ROOTS"
)

// obtainWorker is an instance that obtains a certificate and hears no challenge.
func obtainWorker() error {
	a, err := OpenAutomatic(ACME{
		Domains: []string{"a.process.example.com"}, Folder: os.Getenv(obtainFolder), WithoutTLS: true,
		Issuers: []Issuer{{Directory: os.Getenv(obtainDirectory), Authorities: os.Getenv(obtainRoots)}},
	}, Env{})
	if err != nil {
		return err
	}
	for range 6000 {
		if len(a.Problems()) == 0 {
			return a.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("no certificate: " + strings.Join(a.Problems(), "; "))
}

// The challenge of one process is answered by another, through the storage.
func TestChallengeOfAnotherProcess(t *testing.T) {
	p, j := startPebble(t), &journal{}
	folder := t.TempDir()
	// This instance asks nobody: its own issuer has the same directory but is told of
	// the domain by clients only.
	here := automatic(t, ACME{
		Folder: folder, Issuers: []Issuer{p.issuer()}, WithoutTLS: true,
		OnDemand: &OnDemand{allow: func(context.Context, string) error { return nil }},
	}, j)
	var answered atomic.Int32
	p.serveHTTP(t, func(host, path string) (string, bool) {
		text, ok := here.Challenge(host, path)
		if ok {
			answered.Add(1)
		}
		return text, ok
	})
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), obtainFolder+"="+folder, obtainDirectory+"="+p.directory, obtainRoots+"="+p.roots)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, p.journal.text())
	}
	if answered.Load() == 0 {
		t.Error("nobody asked")
	}
}

func TestOnDemand(t *testing.T) {
	p, j := startPebble(t), &journal{}
	var asked atomic.Int32
	rule := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Query().Get("domain") != "shop.example.com" || r.URL.Query().Get("key") != "1" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer rule.Close()
	a := automatic(t, ACME{Issuers: []Issuer{p.issuer()}, WithoutTLS: true, OnDemand: &OnDemand{Ask: rule.URL + "/may?key=1"}}, j)
	p.serveHTTP(t, a.Challenge)
	s := open(t, Spec{Automatic: a, RefuseUnknown: true}, Env{})

	var wg sync.WaitGroup
	for range 4 { // At once: one order.
		wg.Go(func() {
			if _, serverErr, err := shake(s.Config(), &tls.Config{RootCAs: p.issued, ServerName: "Shop.example.com"}); err != nil {
				t.Errorf("%v, %v", serverErr, err)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(j.text(), "msg=\"certificate obtained\""); n != 1 {
		t.Errorf("obtained %d times:\n%s", n, j.text())
	}
	for range 3 {
		if _, _, err := shake(s.Config(), client("modern", "evil.example.com")); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("a refused name: %v", err)
		}
	}
	before := asked.Load()
	for _, name := range []string{"", "evil.example.com", "1.2.3.4"} {
		_, _, _ = shake(s.Config(), client("modern", name))
		if _, ok := a.Challenge(name, challengePath+"x"); ok {
			t.Error("a challenge for a refused name")
		}
	}
	if asked.Load() != before {
		t.Error("a refusal is not remembered")
	}
	if strings.Contains(p.journal.text(), "evil.example.com") {
		t.Error("the authority was asked for a refused name")
	}
}

// A client that gives up does not lose what was begun for it.
func TestOnDemandOutlivesTheHandshake(t *testing.T) {
	p, j := startPebble(t), &journal{}
	begun, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	a := automatic(t, ACME{Issuers: []Issuer{p.issuer()}, WithoutTLS: true, OnDemand: &OnDemand{
		allow: func(context.Context, string) error {
			once.Do(func() { close(begun); <-proceed })
			return nil
		}}}, j)
	p.serveHTTP(t, a.Challenge)
	s := open(t, Spec{Automatic: a, RefuseUnknown: true}, Env{})
	near, far := pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tls.Server(far, s.Config()).HandshakeContext(ctx) }()
	go func() { _ = tls.Client(near, client("modern", "a.outlives.example.com")).Handshake() }()
	<-begun
	cancel()
	if err := <-done; err == nil {
		t.Fatal("a handshake without a certificate")
	}
	_, _ = near.Close(), far.Close()
	close(proceed)
	eventually(t, func() bool { return strings.Contains(j.text(), "msg=\"certificate obtained\"") }, j, p.journal)
	p.shown(t, s, "a.outlives.example.com")
}

func TestRenewal(t *testing.T) {
	p, j := startPebble(t), &journal{}
	a := automatic(t, ACME{
		Domains: []string{"a.renewal.example.com"}, Issuers: []Issuer{p.issuer()}, WithoutTLS: true,
		renewalWindow: 1, renewalCheck: 50 * time.Millisecond, // Each look finds that it is time.
	}, j)
	p.serveHTTP(t, a.Challenge)
	s := open(t, Spec{Automatic: a}, Env{})
	eventually(t, func() bool { return len(a.Problems()) == 0 }, j, p.journal)
	first := p.shown(t, s, "a.renewal.example.com")
	eventually(t, func() bool {
		a.Refresh()
		return !p.shown(t, s, "a.renewal.example.com").Equal(first)
	}, j, p.journal)
	if !strings.Contains(j.text(), "renewal=true") {
		t.Error(j.text())
	}
}

// An authority says when it wants a certificate to be renewed (ARI, RFC 9773): pebble of
// Debian cannot, so that a server in front of it does.
func TestRenewalWhenTheAuthorityWantsIt(t *testing.T) {
	p, j := startPebble(t), &journal{}
	front := newARI(t, p)
	a := automatic(t, ACME{
		Domains: []string{"a.ari.example.com"}, Issuers: []Issuer{front.issuer}, WithoutTLS: true, renewalCheck: 50 * time.Millisecond,
	}, j)
	p.serveHTTP(t, a.Challenge)
	s := open(t, Spec{Automatic: a}, Env{})
	eventually(t, func() bool { return len(a.Problems()) == 0 }, j, p.journal)
	first := p.shown(t, s, "a.ari.example.com")
	if n := front.replaced.Load(); n != 0 {
		t.Errorf("%d orders replace a certificate", n)
	}
	front.now.Store(true)
	eventually(t, func() bool {
		a.Refresh()
		return !p.shown(t, s, "a.ari.example.com").Equal(first)
	}, j, p.journal)
	if front.replaced.Load() == 0 {
		t.Error("the order of the renewal does not say which certificate it replaces (RFC 9773 §5)")
	}
}

// An authority that refuses is a problem that is seen, and the rest works on.
func TestFailureIsSeen(t *testing.T) {
	p, j := startPebble(t), &journal{}
	a := automatic(t, ACME{Domains: []string{"a.failure.example.com"}, Issuers: []Issuer{p.issuer()}, WithoutTLS: true}, j)
	// Nobody answers on the port of HTTP-01.
	eventually(t, func() bool { return len(a.Problems()) == 1 && strings.Contains(a.Problems()[0], "not obtained: ") }, j, p.journal)
	if !strings.Contains(j.text(), "level=ERROR msg=\"certificate not obtained; it is tried again\" domain=a.failure.example.com") {
		t.Error(j.text())
	}
	s := open(t, Spec{Automatic: a}, Env{})
	if _, _, err := shake(s.Config(), client("modern", "a.failure.example.com")); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("%v", err)
	}
	self := open(t, Spec{Automatic: a, SelfSigned: &SelfSigned{}}, Env{})
	ok(t, self.Config(), client("modern", "a.failure.example.com"))
}

func TestACMESpecs(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	good := []string{"a.example.com"}
	for want, spec := range map[string]ACME{
		"no domains are named":           {Folder: folder},
		"no folder is named":             {Domains: good},
		"wildcard certificates":          {Domains: []string{"*.example.com"}, Folder: folder},
		"is an address":                  {Domains: []string{"10.0.0.1"}, Folder: folder},
		`"a b" is not the name of`:       {Domains: []string{"a b"}, Folder: folder},
		`"a.example.com:443" is not`:     {Domains: []string{"a.example.com:443"}, Folder: folder},
		`"a..example.com" is not the na`: {Domains: []string{"a..example.com"}, Folder: folder},
		"in its xn-- form":               {Domains: []string{"bücher.example.com"}, Folder: folder},
		"both kinds of challenge":        {Domains: good, Folder: folder, WithoutHTTP: true, WithoutTLS: true},
		"need a permission rule":         {OnDemand: &OnDemand{}, Folder: folder},
		"every name of a top-level":      {OnDemand: &OnDemand{Domains: []string{"*.com"}}, Folder: folder},
		"on demand: 10001 domains":       {OnDemand: &OnDemand{Domains: make([]string, maxDomains+1)}, Folder: folder},
		"not stand at its beginning":     {OnDemand: &OnDemand{Domains: []string{"*.*.example.com"}}, Folder: folder},
		"to ask for permission is not a": {OnDemand: &OnDemand{Ask: "ftp://example.com"}, Folder: folder},
		"needs the time in which":        {OnDemand: &OnDemand{Ask: "http://example.com", Certificates: 1}, Folder: folder},
		"the URL form of base64":         {Domains: good, Folder: folder, Issuers: []Issuer{{Directory: "https://ca.example.com", KeyID: "k", MACKey: unit.NewSecret("+/==")}}},
		"is not a https:// URL":          {Domains: good, Folder: folder, Issuers: []Issuer{{Directory: "http://ca.example.com"}}},
		"needs both a key id":            {Domains: good, Folder: folder, Issuers: []Issuer{{Directory: "https://ca.example.com", KeyID: "k"}}},
		"both a key id and a MAC key":    {Domains: good, Folder: folder, Issuers: []Issuer{{Directory: "https://ca.example.com", MACKey: unit.NewSecret("s")}}},
		"at most 10000 are managed":      {Domains: make([]string, maxDomains+1), Folder: folder},
		"roots.pem: there is no such fi": {Domains: good, Folder: folder, Issuers: []Issuer{{Directory: "https://ca.example.com", Authorities: folder + "/roots.pem"}}},
	} {
		a, err := OpenAutomatic(spec, Env{})
		if err == nil {
			_ = a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	for _, address := range []string{"", "example.com", "ftp://example.com", "http://"} {
		if _, err := askURL(address); err == nil {
			t.Errorf("%q may be asked", address)
		}
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	d, err := newDemand(OnDemand{allow: func(context.Context, string) error { return errors.New("no") }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxRefused {
		_ = d.decide(t.Context(), strings.Repeat("a", i%60)+string(rune('a'+i%26))+".example.com"+strings.Repeat("b", i/60))
	}
	if n := len(d.refused); n > maxRefused || n == 0 {
		t.Errorf("%d", n)
	}
}

// What certmagic starts ends with Close; its limiter of calls to an authority stays
// for the life of the process, one for each authority and account.
func TestCloseLeavesNothing(t *testing.T) {
	const limiter = "RingBufferRateLimiter"
	noLeaks(t, limiter, "database/sql")
	before, _ := goroutines([]string{limiter})
	for range 3 {
		a, err := OpenAutomatic(ACME{
			Domains: []string{"a.example.com"}, Folder: t.TempDir(),
			Issuers: []Issuer{{Directory: "https://127.0.0.1:1/dir"}},
		}, Env{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { n, _ := goroutines([]string{limiter}); return n <= before })
}

func TestPermittedNames(t *testing.T) {
	t.Parallel()
	d, err := newDemand(OnDemand{Domains: []string{"Shop.example.com", "*.shops.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"shop.example.com": true, "a.shops.example.com": true, "a.b.shops.example.com": true,
		"shops.example.com": false, ".shops.example.com": false, "xshops.example.com": false, "example.com": false,
		"a.shop.example.com": false, "a.shops.example.com.evil.example": false, "": false,
	} {
		if got := !d.denies(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
		if got := d.decide(t.Context(), name) == nil; got != want {
			t.Errorf("decide %q: got %v", name, got)
		}
	}
	if len(d.refused) != 0 {
		t.Errorf("names are remembered that the list refuses: %v", d.refused)
	}
}

func TestNewCertificatesOnDemandAreCounted(t *testing.T) {
	t.Parallel()
	at := time.Unix(1e9, 0)
	b := bucket{size: 3, per: time.Hour, left: 3, at: at}
	taken := func(n int) (ok int) {
		for range n {
			if b.take(at) {
				ok++
			}
		}
		return ok
	}
	if n := taken(5); n != 3 {
		t.Errorf("at once: %d", n)
	}
	at = at.Add(20 * time.Minute)
	if n := taken(5); n != 1 {
		t.Errorf("after a third of the time: %d", n)
	}
	at = at.Add(24 * time.Hour)
	if n := taken(5); n != 3 {
		t.Errorf("after a day: %d", n)
	}
	if b = (bucket{}); taken(100) != 100 {
		t.Error("no limit is none")
	}
}

func TestSameSpecs(t *testing.T) {
	t.Parallel()
	spec := func(change func(*ACME)) *ACME {
		a := &ACME{
			Domains: []string{"a.example.com"}, Folder: "f", OnDemand: &OnDemand{Domains: []string{"b.example.com"}, Certificates: 1, Per: time.Hour},
			Issuers: []Issuer{{Directory: "https://ca.example.com", KeyID: "k", MACKey: unit.NewSecret("c2VjcmV0")}},
		}
		change(a)
		return a
	}
	first := spec(func(*ACME) {})
	if !first.Same(spec(func(*ACME) {})) {
		t.Error("what reads the same is not the same")
	}
	for name, change := range map[string]func(*ACME){
		"domains":   func(a *ACME) { a.Domains = nil },
		"folder":    func(a *ACME) { a.Folder = "g" },
		"http":      func(a *ACME) { a.WithoutHTTP = true },
		"tls":       func(a *ACME) { a.WithoutTLS = true },
		"storage":   func(a *ACME) { a.Storage = &Folder{} },
		"on demand": func(a *ACME) { a.OnDemand = nil },
		"names":     func(a *ACME) { a.OnDemand.Domains = nil },
		"ask":       func(a *ACME) { a.OnDemand.Ask = "http://ask.example.com" },
		"number":    func(a *ACME) { a.OnDemand.Certificates++ },
		"time":      func(a *ACME) { a.OnDemand.Per++ },
		"function":  func(a *ACME) { a.OnDemand.allow = func(context.Context, string) error { return nil } },
		"issuers":   func(a *ACME) { a.Issuers = append(a.Issuers, a.Issuers[0]) },
		"directory": func(a *ACME) { a.Issuers[0].Directory = "https://other.example.com" },
		"key":       func(a *ACME) { a.Issuers[0].MACKey = unit.NewSecret("b3RoZXI") },
		"no key":    func(a *ACME) { a.Issuers[0].MACKey = unit.Secret{} },
	} {
		if first.Same(spec(change)) || spec(change).Same(first) {
			t.Errorf("another %s is the same", name)
		}
	}
}
