package listen

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/listen/certificates"
)

// TestSilentClientsAndTheEnd: a client that has not said what it speaks, or has not agreed on
// TLS, is one that the end of the listener can hurry, and not one that is waited for.
func TestSilentClientsAndTheEnd(t *testing.T) {
	t.Parallel()
	for _, spec := range []Spec{
		{Name: "secure", TLS: &certificates.Spec{SelfSigned: &certificates.SelfSigned{}}},
		{Name: "plain", Protocols: []string{HTTP1, HTTP2}},
	} {
		t.Run(spec.Name, func(t *testing.T) {
			t.Parallel()
			spec.Address = free(t)
			s, metrics := newWhoami(t, spec)
			silent := dial(t, spec.Address)
			l := s.open[0]
			until(func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.conns) == 1 })
			if cut := s.Shutdown(context.Background()); cut != 0 {
				t.Errorf("%d were cut", cut)
			}
			silent.ended()
			if metrics.open.Load() != 0 || len(l.conns) != 0 {
				t.Errorf("%d connections are counted as open, %d are introduced", metrics.open.Load(), len(l.conns))
			}
		})
	}
}

// TestFolderForCertificatesThatCannotBe: what is wrong is said once, and not that there are no
// certificates then.
func TestFolderForCertificatesThatCannotBe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	_, err := r.Prepare([]Spec{{
		Name: "secure", Address: free(t), TLS: &certificates.Spec{},
		ACME: &certificates.ACME{Domains: []string{"a.example.com"}, Folder: filepath.Join(file, "below")},
	}})
	if err == nil || !strings.HasPrefix(err.Error(), "listener secure: tls: certificates: opening the folder for certificates: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
