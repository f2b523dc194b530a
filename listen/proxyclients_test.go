package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	intime "github.com/sluice-gateway/sluice/internal/attempt"
	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// whoami answers with the address and port of the client.
type whoami struct{}

func (whoami) Serve(x *message.Exchange) {
	x.Response.Status = 200
	x.Response.SetBody([]byte(x.Client.Peer.String() + " " + x.Client.AddressText))
	_ = x.Wire().Respond(x)
}

func newWhoami(t testing.TB, spec Spec) (*Set, *counts) {
	t.Helper()
	metrics := &counts{}
	s := NewSet(whoami{}, func(string) Metrics { return metrics }, slog.New(slog.DiscardHandler))
	c, err := s.Prepare([]Spec{spec})
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
	})
	return s, metrics
}

// TestProxyProtocolBeforeEverything has the header in front of HTTP/1.1 and of HTTP/2 with
// prior knowledge, and of TLS with both.
func TestProxyProtocolBeforeEverything(t *testing.T) {
	t.Parallel()
	plain := Spec{Name: "plain", Address: free(t), Protocols: []string{HTTP1, HTTP2}, ProxyProtocol: ProxyRequire, TrustedProxies: loopback}
	secure := plain
	secure.Name, secure.Address, secure.TLS = "secure", free(t), &certificates.Spec{SelfSigned: &certificates.SelfSigned{}}
	for _, spec := range []Spec{plain, secure} {
		_, metrics := newWhoami(t, spec)
		for _, protocol := range []string{HTTP1, HTTP2} {
			for version := 1; version <= 2; version++ {
				// The client sends the header as the first thing on its socket.
				connect := func(ctx context.Context, network, _ string) (net.Conn, error) {
					nc, err := new(net.Dialer).DialContext(ctx, network, spec.Address)
					if err == nil {
						_, err = io.WriteString(nc, header(version))
					}
					return nc, err
				}
				transport := &http.Transport{DialContext: connect, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: &http.Protocols{}}
				transport.Protocols.SetHTTP1(protocol == HTTP1)
				transport.Protocols.SetHTTP2(protocol == HTTP2)
				transport.Protocols.SetUnencryptedHTTP2(protocol == HTTP2)
				url := "http://example.com/"
				if spec.TLS != nil {
					url = "https://localhost/"
				}
				resp, err := (&http.Client{Transport: transport}).Get(url)
				if err != nil {
					t.Errorf("%s, %s, version %d: %v", spec.Name, protocol, version, err)
					continue
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != "192.0.2.7:4711 192.0.2.7" || (resp.ProtoMajor == 2) != (protocol == HTTP2) {
					t.Errorf("%s, %s, version %d: %q over %s, %v", spec.Name, protocol, version, body, resp.Proto, err)
				}
				transport.CloseIdleConnections()
			}
		}
		until(func() bool { return metrics.open.Load() == 0 })
		if metrics.refused.Load() != 0 || metrics.opened.Load() != 4 {
			t.Errorf("%d refused, %d opened", metrics.refused.Load(), metrics.opened.Load())
		}
	}
}

// TestProxyProtocolAndTheEnd: who is refused is counted and gives its room back, and nobody
// waits for a header for long when the listener ends.
func TestProxyProtocolAndTheEnd(t *testing.T) {
	t.Parallel()
	intime.Run(t, lastIntroduction, func(t *intime.T) { proxiesAtTheEnd(t) })
}

func proxiesAtTheEnd(t *intime.T) {
	spec := Spec{Name: "web", Address: free(t), ProxyProtocol: ProxyRequire, TrustedProxies: loopback, Limits: http1.Limits{HeadTimeout: time.Hour}}
	s, metrics := newWhoami(t, spec)
	for range 3 {
		c := dial(t, spec.Address)
		_, _ = io.WriteString(c, ask)
		if _, err := bufio.NewReader(c).ReadByte(); err == nil {
			t.Error("a connection without a header was answered")
		}
	}
	until(func() bool { return metrics.open.Load() == 0 && s.Status()[0].Connections == 0 })
	if metrics.refused.Load() != 3 {
		t.Errorf("%d refused", metrics.refused.Load())
	}
	silent := dial(t, spec.Address)
	late := dial(t, spec.Address)
	_, _ = io.WriteString(late, "PROXY ")
	until(func() bool { return metrics.open.Load() == 2 })
	done := make(chan int)
	go func() { done <- s.Shutdown(context.Background()) }()
	_, _ = io.WriteString(late, strings.TrimPrefix(header(1), "PROXY ")+ask)
	if status, body, _ := late.answer(); status != 200 || body != "192.0.2.7:4711 192.0.2.7" {
		t.Errorf("%d %q", status, body)
	}
	silent.ended()
	_ = late.Close()
	if cut := <-done; cut != 0 {
		t.Errorf("%d were cut", cut)
	}
}
