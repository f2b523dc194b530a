package listen

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	intime "github.com/sluice-gateway/sluice/internal/attempt"
	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/message"
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
			until(func() bool { l.mu.Lock(); defer l.mu.Unlock(); return metrics.open.Load() == 0 && len(l.conns) == 0 })
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

// TestRefusedCertificates: a client that shows no certificate, or one of somebody else, is told
// so although its request is on the way.
func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	intime.Run(t, refusalTime, func(t *intime.T) { refusedCertificates(t) })
}

func refusedCertificates(t testing.TB) {
	authorities := filepath.Join(t.TempDir(), "authorities.pem")
	known, stranger := selfSigned(t, authorities), selfSigned(t, authorities+".other")
	spec := Spec{Name: "secure", Address: free(t), TLS: &certificates.Spec{
		SelfSigned: &certificates.SelfSigned{}, Clients: certificates.Clients{Mode: certificates.Require, Authorities: authorities},
	}}
	newWhoami(t, spec)
	for want, shown := range map[string]tls.Certificate{"certificate required": {}, "unknown certificate authority": stranger, "": known} {
		socket := dial(t, spec.Address)
		c := tls.Client(socket, &tls.Config{
			InsecureSkipVerify:   true, // On this machine.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil },
		})
		_, _ = io.WriteString(c, ask)
		_, err := c.Read(make([]byte, 1))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
		for range 5 {
			if _, err := io.WriteString(socket, "what follows"); err != nil && want != "" {
				t.Errorf("%s: %v", want, err) // Many clients look no further then.
			}
		}
		_ = socket.Close()
	}
}

// certified answers with the subject of the client's certificate.
type certified struct{}

func (certified) Serve(x *message.Exchange) {
	x.Response.Status = 200
	subject := "nobody"
	if c := x.Client.TLS.VerifiedCertificate(); c != nil {
		subject = c.Subject
	}
	x.Response.SetBody([]byte(subject))
	_ = x.Wire().Respond(x)
}

// TestClientCertificatesOverHTTP3: they are asked for, required and told of as over the other wires.
func TestClientCertificatesOverHTTP3(t *testing.T) {
	t.Parallel()
	authorities := filepath.Join(t.TempDir(), "authorities.pem")
	known, stranger := selfSigned(t, authorities), selfSigned(t, authorities+".other")
	request, require := both("request", free(t)), both("require", free(t))
	request.TLS.Clients = certificates.Clients{Mode: certificates.Request, Authorities: authorities}
	require.TLS.Clients = certificates.Clients{Mode: certificates.Require, Authorities: authorities}
	s := NewSet(certified{}, func(string) Metrics { return &counts{} }, slog.New(slog.DiscardHandler))
	change, err := s.Prepare([]Spec{request, require})
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
	})
	for _, c := range []struct {
		address string
		shown   tls.Certificate
		want    string
	}{
		{request.Address, tls.Certificate{}, "HTTP/3.0 nobody"},
		{request.Address, known, "HTTP/3.0 CN=" + authorities},
		{request.Address, stranger, "unknown certificate authority"},
		{require.Address, tls.Certificate{}, "certificate required"},
		{require.Address, known, "HTTP/3.0 CN=" + authorities},
		{require.Address, stranger, "unknown certificate authority"},
	} {
		config := &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{HTTP3}, // On this machine.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.shown, nil },
		}
		transport := &http3.Transport{TLSClientConfig: config, QUICConfig: &quic.Config{HandshakeIdleTimeout: handshakePatience}}
		client := &http.Client{Transport: transport, Timeout: patience}
		resp, err := client.Get("https://" + c.address + "/")
		got := fmt.Sprint(err)
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			got = resp.Proto + " " + string(body)
		}
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s, want %s", c.address, got, c.want)
		}
		_ = transport.Close()
	}
}

// selfSigned makes a certificate for a client, which is its own authority.
func selfSigned(t testing.TB, file string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: file}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
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
