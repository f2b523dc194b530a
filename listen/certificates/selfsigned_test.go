package certificates

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	for name, folder := range map[string]string{"memory": "", "folder": filepath.Join(t.TempDir(), "state")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			spec := Spec{SelfSigned: &SelfSigned{Names: []string{"dev.example.com", "127.0.0.1"}, Folder: folder}}
			s := open(t, spec, Env{Now: c.now})
			leafOf := func(s *Store) *x509.Certificate { return s.current.Load().self.leaf }
			first := leafOf(s)
			if life := first.NotAfter.Sub(c.now()).Round(time.Hour); life != 90*24*time.Hour || first.IsCA || first.PublicKey.(*ecdsa.PublicKey).Params().Name != "P-256" {
				t.Errorf("%s, %+v", life, first)
			}
			// Who is told to trust it can verify it, for each of its names.
			pool := x509.NewCertPool()
			pool.AddCert(first)
			for _, host := range []string{"dev.example.com", "127.0.0.1"} {
				ok(t, s.Config(), &tls.Config{RootCAs: pool, ServerName: host})
			}
			apply(t, s, spec)
			if !leafOf(s).Equal(first) {
				t.Error("a reload makes another")
			}
			if again := leafOf(open(t, spec, Env{Now: c.now})); again.Equal(first) != (folder != "") {
				t.Error("a restart")
			}
			c.add(46 * 24 * time.Hour)
			if s.Refresh(); leafOf(s).Equal(first) {
				t.Error("not renewed")
			}
			second := leafOf(s)
			if folder != "" {
				if info, err := os.Stat(filepath.Join(folder, "self-signed.key")); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v %v", info, err)
				}
				if again := leafOf(open(t, spec, Env{Now: c.now})); !again.Equal(second) {
					t.Error("the renewed one is not kept")
				}
			}
			apply(t, s, Spec{SelfSigned: &SelfSigned{Names: []string{"other.example.com"}, Folder: folder}})
			if n := leafOf(s).DNSNames; len(n) != 1 || n[0] != "other.example.com" {
				t.Error(n)
			}
		})
	}
}

func TestSelfSignedDefaults(t *testing.T) {
	t.Parallel()
	s := open(t, Spec{SelfSigned: &SelfSigned{}}, Env{})
	c := s.current.Load().self.leaf
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := c.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if _, err := NewStore(Env{}).Prepare(Spec{SelfSigned: &SelfSigned{Names: make([]string, maxSelfNames+1)}}); err == nil {
		t.Error("a certificate with too many names")
	}
	file := write(t, filepath.Join(t.TempDir(), "file"), nil)
	if _, err := NewStore(Env{}).Prepare(Spec{SelfSigned: &SelfSigned{Folder: file}}); err == nil {
		t.Error("a folder that is a file")
	}
}
