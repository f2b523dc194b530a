package discovery

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// staticGroups answers always the same.
func staticGroups(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(text)) })
}

// groupServer answers what it is told to, with an ETag of the text.
type groupServer struct {
	mu        sync.Mutex
	status    int
	text      string
	asked     int
	unchanged int // answers with 304
	header    http.Header
}

func (g *groupServer) set(status int, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.text = status, text
}

func (g *groupServer) counts() (asked, unchanged int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked, g.unchanged
}

// lastHeader is that of the last request; the next ones do not change it.
func (g *groupServer) lastHeader() http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.header
}

func (g *groupServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	g.header = r.Header.Clone()
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(g.text)))
	if g.status == http.StatusOK && r.Header.Get("If-None-Match") == tag {
		g.unchanged++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if g.status == http.StatusFound {
		w.Header().Set("Location", "http://elsewhere.example.com/")
	}
	w.WriteHeader(g.status)
	_, _ = w.Write([]byte(g.text))
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	g := &groupServer{}
	g.set(200, `[{"targets": ["10.0.0.1:80"], "labels": {"__zone__": "a", "team": "x"}}]`)
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	r := watched(t, &HTTP{Server: Server{URL: server.URL, Headers: []Header{{"Authorization", "Bearer s3cret"}}}, Every: 5 * time.Millisecond})
	r.becomes(t, "10.0.0.1:80 zone=a")
	eventually(t, r, "304", func() bool { _, n := g.counts(); return n > 2 })
	if _, n := r.last(); n != 1 || r.confirmed() < 3 {
		t.Errorf("%d lists, confirmed %d times", n, r.confirmed())
	}
	if got := g.lastHeader().Get("Authorization"); got != "Bearer s3cret" {
		t.Errorf("Authorization is %q", got)
	}
	g.set(200, `[{"targets": ["10.0.0.2:80", "10.0.0.1:80"]}]`)
	r.becomes(t, "10.0.0.1:80, 10.0.0.2:80")
	g.set(500, "out of\x1b order")
	r.complains(t, `discovery: http `+server.URL+`: it answered 500: "out of\x1b order"`)
	g.set(302, "")
	r.complains(t, `it answered 302, a redirection to "http://elsewhere.example.com/": write the address that answers`)
	g.set(200, `[{"targets": []}]`)
	r.complains(t, "it tells no endpoint at all")
	g.set(200, "<html>")
	r.complains(t, "its answer is not JSON: byte 1 of 6")
	if last, n := r.last(); n != 2 || last != "10.0.0.1:80, 10.0.0.2:80" {
		t.Errorf("%d lists, the last one %s", n, last)
	}
	// What was refused has no tag: when it is good again, it is told.
	g.set(200, `[{"targets": ["10.0.0.3:80"]}]`)
	r.becomes(t, "10.0.0.3:80")
	server.Close()
	r.complains(t, "connection refused")
	for _, f := range r.told() {
		if strings.Contains(f, "s3cret") {
			t.Errorf("a secret is told: %s", f)
		}
	}
}

func TestHTTPTimeoutAndSize(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		case "/large":
			piece := []byte(strings.Repeat(" ", 1<<20))
			for range MaxAnswer>>20 + 1 {
				_, _ = w.Write(piece)
			}
		case "/head":
			w.Header().Set("X-Large", strings.Repeat("x", 2*maxHeader))
		case "/unasked":
			w.WriteHeader(http.StatusNotModified)
		}
	}))
	t.Cleanup(func() { close(stop); server.Close() })
	for path, want := range map[string]string{
		"/slow":    "no answer in time",
		"/large":   "its answer is larger than 32 MiB",
		"/head":    "exceeded",
		"/unasked": "it answered 304, though it was not asked",
	} {
		h := &HTTP{Server: Server{URL: server.URL + path, Timeout: time.Minute}}
		if path == "/slow" {
			h.Timeout = 10 * time.Millisecond
		}
		client := h.client()
		_, _, err := h.look(t.Context(), client, "")
		client.CloseIdleConnections()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func TestHTTPOverTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(staticGroups(`[{"targets": ["10.0.0.1:443"]}]`))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	host := ""
	h := &HTTP{Server: Server{URL: server.URL, TLS: func(h string) *tls.Config { host = h; return &tls.Config{RootCAs: roots, ServerName: h} }}, Secure: true}
	client := h.client()
	defer client.CloseIdleConnections()
	r, _, err := h.look(t.Context(), client, "")
	if err != nil || text(r.list) != "https://10.0.0.1:443" || host != "127.0.0.1" {
		t.Errorf("%s, %v, host %s", text(r.list), err, host)
	}
	stranger := &HTTP{Server: Server{URL: server.URL}}
	client = stranger.client()
	defer client.CloseIdleConnections()
	if _, _, err := stranger.look(t.Context(), client, ""); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
}

func TestParseGroups(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[]`: "",
		`[{"targets": ["a:1", "b:2"], "labels": {"__weight__": "7", "__zone__": "z", "__priority__": "2", "__scheme__": "https", "other": "x"}}, {"targets": ["c:3"]}]`: "https://a:1 weight=7 zone=z priority=2, https://b:2 weight=7 zone=z priority=2, c:3",
		`null`:                              "! it answered null",
		`[null]`:                            "! group 1 is null",
		`{}`:                                "! its answer has not the expected form: byte 1: object where a list is expected",
		`[{"targets": "a:1"}]`:              "! its answer has not the expected form: byte 18: string",
		`[{"targets": [1]}]`:                "! number where a string is expected",
		`[{"labels": {"__weight__": 7}}]`:   "! number where a string is expected",
		`[{"labels": {"__weight__": "0"}}]`: `! group 1: the label __weight__ is "0": it must be a number from 1 to 1000`,
		`[{}, {"labels": {"__priority__": "high"}}]`: `! group 2: the label __priority__ is "high"`,
		`[{"labels": {"__scheme__": "ftp"}}]`:        `! group 1: the label __scheme__ is "ftp": it must be http or https`,
		`[{"targets": ["a:1"]}`:                      "! its answer is not JSON: byte 21 of 21",
	} {
		list, err := parseGroups([]byte(in), false)
		if words, refused := strings.CutPrefix(want, "! "); refused {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v, want %s", in, err, words)
			}
		} else if err != nil || text(list) != want {
			t.Errorf("%s: %s, %v", in, text(list), err)
		}
	}
}

// TestHTTPTenThousand: as many as may be are taken, one more is not.
func TestHTTPTenThousand(t *testing.T) {
	t.Parallel()
	list := func(n int) string {
		var b strings.Builder
		b.WriteString(`[{"targets": [`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"10.0.%d.%d:80"`, i/250, i%250)
		}
		b.WriteString(`]}]`)
		return b.String()
	}
	g := &groupServer{}
	g.set(200, list(MaxEndpoints))
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	r := watched(t, &HTTP{Server: Server{URL: server.URL}, Every: 5 * time.Millisecond})
	eventually(t, r, "ten thousand", func() bool { _, n := r.last(); return n == 1 })
	g.set(200, list(MaxEndpoints+1))
	r.complains(t, "it tells 10001 endpoints: the limit is 10000")
	if _, n := r.last(); n != 1 {
		t.Errorf("%d lists", n)
	}
}

// FuzzGroups: whatever a server says is refused, or a list of endpoints that can be
// dialled.
func FuzzGroups(f *testing.F) {
	f.Add([]byte(`[{"targets": ["a:1"], "labels": {"__weight__": "7"}}]`))
	f.Add([]byte(`[{"targets": ["[::1]:80", "A.:443"]}, null]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseGroups(text, false)
		if err == nil {
			mustBeComplete(t, list)
		}
	})
}

// mustBeComplete checks what complete promises.
func mustBeComplete(t *testing.T, list []Endpoint) {
	t.Helper()
	done, _, err := complete(list, true)
	if err != nil {
		return
	}
	for i, e := range done {
		again, err := dialled(e.Address)
		if err != nil || again != e.Address || e.check() != nil || i > 0 && done[i-1].Address >= e.Address {
			t.Errorf("entry %d: %+v (%v)", i, e, err)
		}
	}
}
