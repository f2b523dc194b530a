package certificates

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// originServer is the config of an origin with one certificate.
func originServer(p tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p}, NextProtos: []string{"h2", "http/1.1"}}
}

func TestOriginVerification(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, other := newAuthority("Root", nil), newAuthority("Other", nil)
	roots := write(t, filepath.Join(dir, "roots.pem"), certPEM(root.cert))
	server := root.pair(leaf{names: []string{"orders.internal", "*.pool.internal", "spiffe://example.com/orders"}})
	stranger := other.pair(leaf{names: []string{"orders.internal"}})
	late := root.pair(leaf{names: []string{"orders.internal"}, from: -48 * time.Hour, until: -time.Hour})
	pinOf := func(der []byte) string {
		sum := sha256.Sum256(der)
		return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
	}
	leafPin, rootPin, strangerPin := pinOf(server.Leaf.RawSubjectPublicKeyInfo), pinOf(root.cert.RawSubjectPublicKeyInfo), pinOf(stranger.Leaf.RawSubjectPublicKeyInfo)
	raw, _ := base64.StdEncoding.DecodeString(leafPin[len("sha256/"):])

	for _, c := range []struct {
		name   string
		spec   OriginSpec
		server tls.Certificate
		want   string // "" is a connection; else a part of the error
	}{
		{"own authorities", OriginSpec{Authorities: roots}, server, ""},
		{"of the system", OriginSpec{}, server, "unknown authority"},
		{"stranger", OriginSpec{Authorities: roots}, stranger, "unknown authority"},
		{"expired", OriginSpec{Authorities: roots}, late, "expired"},
		{"server name", OriginSpec{Authorities: roots, ServerName: "a.pool.internal"}, server, ""},
		{"wrong server name", OriginSpec{Authorities: roots, ServerName: "billing.internal"}, server, "not billing.internal"},
		{"a name", OriginSpec{Authorities: roots, Names: []string{"x.internal", "b.pool.internal"}, ServerName: "any"}, server, ""},
		{"a name as written", OriginSpec{Authorities: roots, Names: []string{"*.POOL.internal"}}, server, ""},
		{"a URI", OriginSpec{Authorities: roots, Names: []string{"spiffe://example.com/orders"}}, server, ""},
		{"none of the names", OriginSpec{Authorities: roots, Names: []string{"spiffe://example.com/o", "*.internal"}}, server, "has none of the names"},
		{"names, stranger", OriginSpec{Authorities: roots, Names: []string{"orders.internal"}}, stranger, "unknown authority"},
		{"names, expired", OriginSpec{Authorities: roots, Names: []string{"orders.internal"}}, late, "expired"},
		{"pin of the leaf", OriginSpec{Authorities: roots, Pins: []string{leafPin}}, server, ""},
		{"pin in hex", OriginSpec{Authorities: roots, Pins: []string{hex.EncodeToString(raw)}}, server, ""},
		{"pin of the root", OriginSpec{Authorities: roots, Pins: []string{strangerPin, rootPin}}, server, ""},
		{"another pin", OriginSpec{Authorities: roots, Pins: []string{strangerPin}}, server, "no public key"},
		{"a pin does not replace the chain", OriginSpec{Authorities: roots, Pins: []string{strangerPin}}, stranger, "unknown authority"},
		{"names and pin", OriginSpec{Authorities: roots, Names: []string{"orders.internal"}, Pins: []string{rootPin}}, server, ""},
		{"names and another pin", OriginSpec{Authorities: roots, Names: []string{"orders.internal"}, Pins: []string{strangerPin}}, server, "no public key"},
		{"insecure", OriginSpec{InsecureSkipVerify: true}, stranger, ""},
		{"insecure, expired", OriginSpec{InsecureSkipVerify: true}, late, ""},
		{"insecure, pin", OriginSpec{InsecureSkipVerify: true, Pins: []string{strangerPin}}, stranger, ""},
		{"insecure, another pin", OriginSpec{InsecureSkipVerify: true, Pins: []string{leafPin}}, stranger, "no public key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := &journal{}
			c.spec.Protocols = []string{"h2", "http/1.1"}
			o, err := OpenOrigin(c.spec, Env{Logger: j.logger()})
			if err != nil {
				t.Fatal(err)
			}
			// Twice: what is resumed is verified too.
			for range 2 {
				s, _, err := shake(originServer(c.server), o.Config("orders.internal"))
				if c.want != "" {
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Fatalf("%v does not say %q", err, c.want)
					}
					var untrusted *tls.CertificateVerificationError
					if !errors.As(err, &untrusted) {
						t.Errorf("%T is no lack of trust", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if s.client.NegotiatedProtocol != "h2" {
					t.Errorf("protocol %q", s.client.NegotiatedProtocol)
				}
				if insecure := c.spec.InsecureSkipVerify; insecure != strings.Contains(j.text(), "not verified") || insecure != o.Insecure() {
					t.Errorf("log %q", j.text())
				}
			}
		})
	}
}

func TestOriginSpecs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := newAuthority("Root", nil)
	servers := root.files(t, dir, "server", leaf{names: []string{"gw"}})
	for want, spec := range map[string]OriginSpec{
		"is not a SHA-256":         {Pins: []string{"sha256/AAAA"}},
		"there is no such file":    {Authorities: filepath.Join(dir, "none")},
		"is not made for clients":  {Certificate: &servers},
		"minimum version":          {Minimum: tls.VersionTLS10},
		"authorities are named":    {InsecureSkipVerify: true, Authorities: servers.Certificate},
		"names are given, but":     {InsecureSkipVerify: true, Names: []string{"a"}},
		"none.key: there is no su": {Certificate: &Files{servers.Certificate, filepath.Join(dir, "none.key")}},
	} {
		if _, err := OpenOrigin(spec, Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
		if _, err := CheckOrigin(spec, Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check: %v does not say %q", err, want)
		}
	}
	soon := root.files(t, dir, "soon", leaf{names: []string{"gw"}, client: true, from: -300 * 24 * time.Hour, until: 48*time.Hour + time.Minute})
	warnings, err := CheckOrigin(OriginSpec{InsecureSkipVerify: true, Certificate: &soon}, Env{})
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[1], "expires in 2 days") {
		t.Errorf("%q, %v", warnings, err)
	}
}

// The gateway's own certificate, and the authorities, follow their files; a session
// that was begun as somebody else is not resumed.
func TestOriginReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, gateways, next := newAuthority("Root", nil), newAuthority("Gateways", nil), newAuthority("Next", nil)
	roots := write(t, filepath.Join(dir, "roots.pem"), certPEM(root.cert))
	own := gateways.files(t, dir, "gw", leaf{names: []string{"gw-1"}, client: true})
	o, err := OpenOrigin(OriginSpec{Authorities: roots, Certificate: &own, ServerName: "orders.internal"}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	server := originServer(root.pair(leaf{names: []string{"orders.internal"}}))
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, gateways.pool()
	subject := func() (string, bool) {
		s := ok(t, server, o.Config("ignored"))
		return s.server.PeerCertificates[0].Subject.CommonName, s.client.DidResume
	}
	if who, resumed := subject(); who != "gw-1" || resumed {
		t.Fatal(who, resumed)
	}
	if who, resumed := subject(); who != "gw-1" || !resumed {
		t.Fatal(who, resumed)
	}
	o.Refresh()
	if _, resumed := subject(); !resumed {
		t.Fatal("a look at the files has lost the sessions")
	}
	gateways.files(t, dir, "gw", leaf{names: []string{"gw-2"}, client: true})
	o.Refresh()
	if who, resumed := subject(); who != "gw-2" || resumed {
		t.Fatal(who, resumed)
	}
	write(t, own.Key, []byte("nonsense"))
	o.Refresh()
	if who, _ := subject(); who != "gw-2" {
		t.Fatal(who)
	}
	write(t, roots, certPEM(next.cert))
	o.Refresh()
	if _, _, err := shake(server, o.Config("")); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("the authorities from before are believed: %v", err)
	}
}

func TestOriginHosts(t *testing.T) {
	t.Parallel()
	o, err := OpenOrigin(OriginSpec{}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := o.Config("a.internal"), o.Config("[::1]"); a.ServerName != "a.internal" || b.ServerName != "::1" {
		t.Error(a.ServerName, b.ServerName)
	}
}
