// Package streams puts the real binary between clients of every wire and origins that send events one by one: the
// next one leaves the origin only when the client has the one before, so nothing may be held back.
package streams

import (
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// Whatever is limited is limited to less than a stream takes here; only silence may last longer.
const configuration = `
admin: { address: "%s" }
listeners:
  - name: plain
    address: "%s"
    protocols: [http/1.1, h2]
    timeouts: &short { head: 500ms, idle: 500ms, body: 500ms, write: 5s }
  - name: secure
    address: "%s"
    protocols: [http/1.1, h2, h3]
    tls: { self_signed: true }
    timeouts: *short
upstreams:
  - { name: h1, endpoints: ["http://%s"], timeouts: &patient { connect: 2s, response: 700ms, idle: 500ms, body: 20s } }
  - { name: h2c, endpoints: ["http://%s"], protocol: h2, timeouts: *patient }
routes:
  - { name: h1, match: { path: "/h1/{id}" }, upstream: h1 }
  - { name: h2c, match: { path: "/h2c/{id}" }, upstream: h2c }
  - name: compressed
    match: { path: "/h1/compressed/{id}" }
    policies: [{ compress: { encodings: gzip, types: text/event-stream } }]
    upstream: h1
  - { name: kept, match: { path: "/h1/kept/{id}" }, policies: [{ event_stream: { keep_alive: 50ms } }], upstream: h1 }
  - { name: kept-h2c, match: { path: "/h2c/kept/{id}" }, policies: [{ event_stream: { keep_alive: 50ms } }], upstream: h2c }
  - name: kept-compressed
    match: { path: "/h1/both/{id}" }
    policies: [{ compress: { encodings: gzip, types: text/event-stream } }, { event_stream: { keep_alive: 50ms } }]
    upstream: h1
`

// origin sends what a test wants, when it wants it.
type origin struct {
	mu      sync.Mutex
	streams map[string]*stream // by path
}

// stream is one answer of the origin.
type stream struct {
	path string
	send chan string // closed at the end
	gone chan struct{}
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	s := o.streams[r.URL.Path]
	o.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	defer close(s.gone)
	for {
		select {
		case event, ok := <-s.send:
			if !ok {
				return
			}
			_, _ = w.Write([]byte(event))
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// gateway is the binary with its origin.
type gateway struct {
	*rig.Gateway
	*origin
	plain, secure string
}

func begin(t *testing.T) *gateway {
	t.Helper()
	var addresses [3]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	o := &origin{streams: map[string]*stream{}}
	folder := t.TempDir()
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(configuration, addresses[0], addresses[1], addresses[2], o.listen(t, (*http.Protocols).SetHTTP1), o.listen(t, (*http.Protocols).SetUnencryptedHTTP2))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	started, err := rig.Start(folder, file, addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Kill)
	if err := started.Ready(); err != nil {
		t.Fatal(err, started.Log())
	}
	return &gateway{started, o, addresses[1], addresses[2]}
}

func (o *origin) listen(t *testing.T, speak func(*http.Protocols, bool)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: o, Protocols: new(http.Protocols)}
	speak(server.Protocols, true)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// ask begins a stream: what the origin has of it, and the client, who has the head already.
func (g *gateway) ask(t *testing.T, w rig.Wire, path string) (*stream, rig.Peer, *rig.Message) {
	t.Helper()
	path += strings.ReplaceAll(w.Name, "/", "-")
	s := &stream{path, make(chan string), make(chan struct{})}
	g.mu.Lock()
	g.streams[path] = s
	g.mu.Unlock()
	address := g.plain
	if w.TLS {
		address = g.secure
	}
	client, err := w.Connect(address, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Drop)
	fields := []rig.Field{{Name: "Host", Value: "example.com"}, {Name: "Accept-Encoding", Value: "gzip"}}
	if err := client.Begin(rig.Head{Method: "GET", Target: path, Fields: fields}, false); err != nil {
		t.Fatal(err)
	}
	head, err := client.Head()
	if err != nil || head.Status() != 200 {
		t.Fatal(head, err, g.Log())
	}
	return s, client, head
}

// event makes the origin send one.
func (s *stream) event(t *testing.T, text string) {
	t.Helper()
	select {
	case s.send <- text:
	case <-s.gone:
		t.Fatalf("the origin's call of %s has ended", s.path)
	case <-time.After(rig.Patience):
		t.Fatalf("the origin's call of %s takes nothing", s.path)
	}
}

func expect(t *testing.T, client rig.Peer, want string) {
	t.Helper()
	if got, err := client.Part(len(want)); got != want || err != nil {
		t.Fatalf("%q, %v, not %q", got, err, want)
	}
}

// each runs a test over each wire.
func each(t *testing.T, do func(t *testing.T, w rig.Wire)) {
	for _, w := range rig.Wires {
		t.Run(w.Name, func(t *testing.T) { do(t, w) })
	}
}

// Each event leaves as it comes, and a stream may last longer than everything that is limited, but for silence.
func TestEvents(t *testing.T) {
	t.Parallel()
	g := begin(t)
	each(t, func(t *testing.T, w rig.Wire) {
		for _, origin := range []string{"h1", "h2c"} {
			s, client, head := g.ask(t, w, "/"+origin+"/")
			began := time.Now()
			for i := 0; time.Since(began) < time.Second; i++ {
				event := fmt.Sprintf("id: %d\ndata: %s\n\n", i, strings.Repeat("x", i%50))
				s.event(t, event)
				expect(t, client, event)
				time.Sleep(20 * time.Millisecond) // That is what the origin does.
			}
			close(s.send)
			if err := client.Body(head, false); err != nil || head.Body != "" || head.Incomplete != nil {
				t.Errorf("%s: the end: %v, %v", origin, err, head)
			}
		}
	})
}

// pieces is a client's body as a reader that takes no byte before somebody wants it.
type pieces struct{ client rig.Peer }

func (p pieces) ReadByte() (byte, error) {
	b, err := p.client.Part(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (p pieces) Read(b []byte) (int, error) {
	c, err := p.ReadByte()
	if err != nil {
		return 0, err
	}
	b[0] = c
	return 1, nil
}

// unpacked reads a compressed stream as it comes.
type unpacked struct {
	t *testing.T
	r *gzip.Reader
}

func unpack(t *testing.T, client rig.Peer, head *rig.Message) *unpacked {
	t.Helper()
	if got := head.Value("Content-Encoding"); got != "gzip" {
		t.Fatalf("the encoding is %q", got)
	}
	r, err := gzip.NewReader(pieces{client})
	if err != nil {
		t.Fatal(err)
	}
	return &unpacked{t, r}
}

func (u *unpacked) expect(want string) {
	u.t.Helper()
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		n, err := u.r.Read(got[len(got):cap(got)])
		if got = got[:len(got)+n]; err != nil {
			u.t.Fatalf("%q, %v", got, err)
		}
	}
	if string(got) != want {
		u.t.Fatalf("%q, not %q", got, want)
	}
}

// An encoder holds nothing back either.
func TestCompressed(t *testing.T) {
	t.Parallel()
	g := begin(t)
	each(t, func(t *testing.T, w rig.Wire) {
		s, client, head := g.ask(t, w, "/h1/compressed/")
		s.event(t, "data: first\n\n")
		u := unpack(t, client, head)
		u.expect("data: first\n\n")
		for i := range 20 {
			event := fmt.Sprintf("data: %d\n\n", i)
			s.event(t, event)
			u.expect(event)
		}
		close(s.send)
	})
}

// While the origin is silent comments keep the connection alive.
func TestComments(t *testing.T) {
	t.Parallel()
	g := begin(t)
	each(t, func(t *testing.T, w rig.Wire) {
		for _, origin := range []string{"h1", "h2c"} {
			s, client, head := g.ask(t, w, "/"+origin+"/kept/")
			expect(t, client, ":\n\n:\n\n")
			s.event(t, "data: 1\n\n")
			for got := ":\n\n"; got != "dat"; { // More comments may have been on their way.
				var err error
				if got, err = client.Part(3); err != nil || got != ":\n\n" && got != "dat" {
					t.Fatalf("%q, %v", got, err)
				}
			}
			expect(t, client, "a: 1\n\n")
			expect(t, client, ":\n\n")
			close(s.send)
			if err := client.Body(head, false); err != nil || strings.ReplaceAll(head.Body, ":\n\n", "") != "" || head.Incomplete != nil {
				t.Errorf("%s: the end: %v, %v", origin, err, head)
			}
		}
		s, client, head := g.ask(t, w, "/h1/both/")
		u := unpack(t, client, head)
		u.expect(":\n\n:\n\n")
		close(s.send)
	})
}

// A client that has gone ends the call of the origin, whether it says so or not.
func TestVanishedClient(t *testing.T) {
	t.Parallel()
	g := begin(t)
	each(t, func(t *testing.T, w rig.Wire) {
		for _, origin := range []string{"h1", "h2c"} {
			for name, vanish := range map[string]func(rig.Peer) error{
				"cancels": rig.Peer.Cancel,
				"drops":   func(p rig.Peer) error { p.Drop(); return nil },
			} {
				s, client, _ := g.ask(t, w, "/"+origin+"/")
				s.event(t, "data: 1\n\n")
				expect(t, client, "data: 1\n\n")
				if err := vanish(client); err != nil {
					t.Fatal(err)
				}
				select {
				case <-s.gone:
				case <-time.After(rig.Patience):
					t.Errorf("%s: the client %s, and the origin's call goes on", origin, name)
				}
			}
		}
	})
}
