package certificates

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, staff, strangers := newAuthority("Root", nil), newAuthority("Staff", nil), newAuthority("Strangers", nil)
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
	authorities := write(t, filepath.Join(dir, "staff.pem"), certPEM(staff.cert))
	known := staff.pair(leaf{names: []string{"orders.example.com", "spiffe://example.com/orders", "10.0.0.7"}, client: true})
	late := staff.pair(leaf{names: []string{"orders.example.com"}, client: true, from: -48 * time.Hour, until: -time.Hour})
	wrongUse := staff.pair(leaf{names: []string{"orders.example.com"}})
	stranger := strangers.pair(leaf{names: []string{"orders.example.com"}, client: true})

	for _, c := range []struct {
		name    string
		clients Clients
		shows   *tls.Certificate
		want    string // "", "none", "verified", "unverified", or the client's error after "!"
	}{
		{"off", Clients{}, &known, "none"},
		{"request, none", Clients{Request, authorities}, nil, "none"},
		{"request, known", Clients{Request, authorities}, &known, "verified"},
		{"request, stranger", Clients{Request, authorities}, &stranger, "!unknown certificate authority"},
		{"request, any", Clients{Mode: Request}, &stranger, "unverified"},
		{"require, none", Clients{Require, authorities}, nil, "!certificate required"},
		{"require, known", Clients{Require, authorities}, &known, "verified"},
		{"require, stranger", Clients{Require, authorities}, &stranger, "!unknown certificate authority"},
		{"require, expired", Clients{Require, authorities}, &late, "!expired certificate"},
		{"require, server's", Clients{Require, authorities}, &wrongUse, "!bad certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Spec{Files: []Files{f}, Clients: c.clients}, Env{})
			config := client("modern", "a.example.com")
			if c.shows != nil {
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.shows, nil }
			}
			state, _, err := shake(s.Config(), config)
			if want, refused := strings.CutPrefix(c.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("%v does not say %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			facts := message.TLSOf(&state.server)
			if c.want == "none" {
				if facts.Certificate != nil {
					t.Fatalf("%+v", facts.Certificate)
				}
				return
			}
			got := facts.Certificate
			sum := sha256.Sum256(c.shows.Certificate[0])
			if got.Verified != (c.want == "verified") || got.Fingerprint != hex.EncodeToString(sum[:]) ||
				got.Subject != "CN=orders.example.com" || got.Serial != c.shows.Leaf.SerialNumber.Text(16) {
				t.Errorf("%+v", got)
			}
			want := []string{"DNS:orders.example.com", "URI:spiffe://example.com/orders", "IP:10.0.0.7"}
			if c.shows == &known && (!slices.Equal(got.Names, want) || got.Issuer != "CN=Staff") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Authorities that are taken away are not believed any more, also in sessions that
// are resumed; those that come are.
func TestAuthoritiesAreReloaded(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root, before, after := newAuthority("Root", nil), newAuthority("Before", nil), newAuthority("After", nil)
			f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
			path := write(t, filepath.Join(dir, "clients.pem"), certPEM(before.cert))
			j := &journal{}
			s := open(t, Spec{Files: []Files{f}, Clients: Clients{Require, path}}, Env{Logger: j.logger()})
			with := func(a *authority) *tls.Config {
				pair := a.pair(leaf{names: []string{"me"}, client: true})
				return &tls.Config{RootCAs: root.pool(), ServerName: "a.example.com", MaxVersion: version,
					ClientSessionCache:   tls.NewLRUClientSessionCache(4),
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
			}
			old, fresh := with(before), with(after)
			ok(t, s.Config(), old)
			again := ok(t, s.Config(), old)
			if facts := message.TLSOf(&again.server); !facts.Resumed || facts.Certificate == nil || !facts.Certificate.Verified {
				t.Fatalf("resumed: %+v", facts)
			}
			if _, _, err := shake(s.Config(), fresh); err == nil {
				t.Fatal("a stranger came in")
			}
			write(t, path, []byte("nonsense"))
			s.Refresh()
			if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], "clients.pem: is not PEM") {
				t.Fatalf("problems %q", p)
			}
			ok(t, s.Config(), old)
			write(t, path, certPEM(after.cert))
			s.Refresh()
			if _, _, err := shake(s.Config(), old); err == nil {
				t.Fatal("an authority that was removed is believed")
			}
			ok(t, s.Config(), fresh)
			// Without a requirement the old session must not bring its certificate back.
			apply(t, s, Spec{Files: []Files{f}})
			if state := ok(t, s.Config(), fresh); message.TLSOf(&state.server).Certificate != nil {
				t.Error("a certificate that nobody asked for is a fact")
			}
		})
	}
}

func TestPoolsWithExpiredAuthorities(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := newAuthority("Good", nil)
	old, _ := newAuthority("Any", nil).issue(leaf{names: []string{"Old"}, from: -48 * time.Hour, until: -time.Hour})
	pool, _, err := loadPool(write(t, filepath.Join(dir, "both"), certPEM(old, good.cert)), time.Now())
	if err != nil || !pool.Equal(func() *x509.CertPool { return good.pool() }()) {
		t.Errorf("%v", err)
	}
	if _, _, err := loadPool(write(t, filepath.Join(dir, "old"), certPEM(old)), time.Now()); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("%v", err)
	}
}
