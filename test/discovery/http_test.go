package discovery

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// TestHTTP: an https server with an own authority and a token tells endpoints, and one that
// does not know the token is not heard.
func TestHTTP(t *testing.T) {
	t.Parallel()
	a := newOrigin(t, "a")
	var forbidden atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" || forbidden.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, `[{"targets": [%q]}]`, a.Listener.Addr().String())
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	put(t, dir, "authority.pem", certificate(server))
	put(t, dir, "token", "s3cret")
	source := fmt.Sprintf(`discovery: { http: { url: "%s/orders?key=hidden", interval: 1s, headers: { Authorization: "Bearer ${file:token}" }, tls: { authorities: authority.pem } } }`, server.URL)
	g := start(t, dir, source)
	g.answers(t, 200, "a")
	forbidden.Store(true)
	g.logs(t, "discovery fault", "it answered 403", `"endpoints_kept":1`)
	g.answers(t, 200, "a")
	// Another way to ask the same source begins with what is known.
	put(t, dir, "sluice.yaml", g.document(strings.Replace(source, "interval: 1s", "interval: 2s, timeout: 5s", 1)))
	if err := rig.Eventually(func() error {
		if n, err := g.Logged("discovery fault"); n < 2 || err != nil {
			return fmt.Errorf("%d faults, %v", n, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(g.Log(), `"endpoints_kept":0`) {
		t.Error("a reload has lost the endpoints")
	}
	g.answers(t, 200, "a")
	_, status, err := g.Get("/status")
	for _, secret := range []string{"s3cret", "hidden"} {
		if err != nil || strings.Contains(g.Log()+status, secret) {
			t.Errorf("%s is told (%v)", secret, err)
		}
	}
}

// TestConsul: a blocking query brings a change at once.
func TestConsul(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	var mu sync.Mutex
	index, current, changed := 1, a, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for r.URL.Query().Get("index") == fmt.Sprint(index) {
			waitFor := changed
			mu.Unlock()
			select {
			case <-waitFor:
			case <-r.Context().Done():
			}
			mu.Lock()
			if r.Context().Err() != nil {
				return
			}
		}
		host, port, _ := net.SplitHostPort(current.Listener.Addr().String())
		w.Header().Set("X-Consul-Index", fmt.Sprint(index))
		_, _ = io.WriteString(w, `[{"Node": {"Address": "`+host+`"}, "Service": {"ID": "orders-1", "Port": `+port+`, "Weights": {"Passing": 1}}}]`)
	}))
	t.Cleanup(server.Close)
	g := start(t, t.TempDir(), fmt.Sprintf(`discovery: { consul: { url: %q, service: orders, wait: 10m } }`, server.URL))
	t.Cleanup(g.Kill) // Before the server, which waits for its queries.
	g.answers(t, 200, "a")
	mu.Lock()
	index, current = 2, b
	close(changed)
	changed = make(chan struct{})
	mu.Unlock()
	g.answers(t, 200, "b")
}
