package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestSilentClientsAndTheHandover: nobody is refused when another process has taken over, so a
// handshake may take as long as an idle connection may wait for its last request.
func TestSilentClientsAndTheHandover(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "secure", Address: free(t), TLS: &certificates.Spec{SelfSigned: &certificates.SelfSigned{}}}
	s, _ := newWhoami(t, spec)
	slow := dial(t, spec.Address)
	l := s.open[0]
	until(func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.conns) == 1 })
	done := make(chan int)
	go func() { done <- s.Yield(context.Background(), time.Hour) }()
	var by time.Time
	until(func() bool { l.mu.Lock(); defer l.mu.Unlock(); by = l.until; return !by.IsZero() })
	if left := time.Until(by); left < time.Minute {
		t.Errorf("a handshake has %s", left)
	}
	secure := &client{tls.Client(slow, &tls.Config{InsecureSkipVerify: true}), t, nil} // On this machine.
	secure.in = bufio.NewReader(secure)
	if status, _, closed := secure.ask("/"); status != 200 || !closed {
		t.Errorf("%d, closed %t", status, closed)
	}
	_ = slow.Close()
	if cut := <-done; cut != 0 {
		t.Errorf("%d were cut", cut)
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
