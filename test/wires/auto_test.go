package wires

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// switching is an origin over TLS that can be started again at its address, with other protocols.
type switching struct {
	t       *testing.T
	address string
	server  *httptest.Server
}

func (s *switching) start(protocols ...string) {
	s.t.Helper()
	if s.server != nil {
		s.server.CloseClientConnections()
		s.server.Close()
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
	_ = s.server.Listener.Close()
	s.server.Listener = listener
	s.server.EnableHTTP2 = true
	s.server.TLS = &tls.Config{NextProtos: protocols}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	s.server.TLS.NextProtos = protocols
}

// TestAutoFollowsTheOrigin restarts an origin that speaks something else each time.
func TestAutoFollowsTheOrigin(t *testing.T) {
	t.Parallel()
	var addresses [3]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	origin := &switching{t: t, address: addresses[2]}
	origin.start("h2", "http/1.1")
	t.Cleanup(func() { origin.server.Close() })
	dir := t.TempDir()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: origin.server.Certificate().Raw})
	config := fmt.Sprintf(`
admin: { address: %q }
listeners: [{ name: web, address: %q }]
upstreams:
  - name: origin
    endpoints: ["https://%s"]
    protocol: auto
    timeouts: { connect: 10s }
    tls: { authorities: origin.pem, server_name: example.com }
routes: [{ name: all, upstream: origin }]
`, addresses[0], addresses[1], addresses[2])
	for name, text := range map[string][]byte{"origin.pem": certificate, "config.yaml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g, err := rig.Start(dir, "config.yaml", addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if err := g.Ready(); err != nil {
		t.Fatalf("%v\n%s", err, g.Log())
	}
	for i, c := range []struct {
		protocols []string
		want      string
	}{
		{nil, "HTTP/2.0"}, {[]string{"http/1.1"}, "HTTP/1.1"}, {[]string{"h2"}, "HTTP/2.0"}, {[]string{"http/1.1"}, "HTTP/1.1"},
	} {
		if i > 0 {
			origin.start(c.protocols...)
		}
		for range 3 {
			status, body, err := rig.Get(addresses[1], "/")
			if err != nil || status != 200 || body != c.want {
				t.Fatalf("start %d: %d %q %v\n%s", i, status, body, err, g.Log())
			}
		}
	}
}
