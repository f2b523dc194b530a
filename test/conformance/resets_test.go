package conformance

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// h2client is as little of a client of HTTP/2 as can open streams and take them back.
type h2client struct {
	t    *testing.T
	nc   net.Conn
	r    *bufio.Reader
	head []byte
	next uint32
}

func dialH2(t *testing.T, address string) *h2client {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(rig.Patience))
	c := &h2client{t: t, nc: nc, r: bufio.NewReader(nc), next: 1}
	for _, f := range [...][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "example.com"}} {
		c.head = append(c.head, 0, byte(len(f[0])))
		c.head = append(append(c.head, f[0]...), byte(len(f[1])))
		c.head = append(c.head, f[1]...)
	}
	_, err = io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+h2frame(4, 0, 0, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func h2frame(kind, flags byte, stream uint32, payload []byte) string {
	n := len(payload)
	f := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...)
	return string(append(f, payload...))
}

// open begins n requests and returns the number of the first.
func (c *h2client) open(n int) (first uint32) {
	first = c.next
	var out strings.Builder
	for range n {
		out.WriteString(h2frame(1, 5, c.next, c.head)) // HEADERS with END_HEADERS and END_STREAM
		c.next += 2
	}
	_, _ = io.WriteString(c.nc, out.String())
	return first
}

// cancel takes streams back.
func (c *h2client) cancel(first uint32, n int) {
	var out strings.Builder
	for i := range uint32(n) {
		out.WriteString(h2frame(3, 0, first+2*i, []byte{0, 0, 0, 8})) // RST_STREAM with CANCEL
	}
	_, _ = io.WriteString(c.nc, out.String())
}

// alive reads up to the answer of a PING and says whether it comes; if not, code is what GOAWAY said.
func (c *h2client) alive() (yes bool, code uint32) {
	_, _ = io.WriteString(c.nc, h2frame(6, 0, 0, []byte("are you?")))
	for {
		var h [9]byte
		if _, err := io.ReadFull(c.r, h[:]); err != nil {
			return false, code
		}
		payload := make([]byte, int(h[0])<<16|int(h[1])<<8|int(h[2]))
		if _, err := io.ReadFull(c.r, payload); err != nil {
			return false, code
		}
		switch {
		case h[3] == 6 && h[4] == 1:
			return true, 0
		case h[3] == 7:
			code = binary.BigEndian.Uint32(payload[4:])
		}
	}
}

// TestCancelsAreNoFlood has clients that leave a page with a hundred requests under way, and one that does nothing but
// open streams and take them back.
func TestCancelsAreNoFlood(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(origin.Close)
	var addresses [2]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	config := fmt.Sprintf(`
admin: { address: %q }
listeners: [{ name: web, address: %q, protocols: [h2] }]
upstreams: [{ name: origin, endpoints: [%q] }]
routes: [{ name: all, upstream: origin }]
`, addresses[0], addresses[1], origin.URL)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(dir, "config.yaml", addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if err := g.Ready(); err != nil {
		t.Fatalf("%v\n%s", err, g.Log())
	}
	for range 3 {
		c := dialH2(t, addresses[1])
		first := c.open(100)
		if yes, code := c.alive(); !yes {
			t.Fatalf("a hundred requests: closed with %#x", code)
		}
		c.cancel(first, 100)
		if yes, code := c.alive(); !yes {
			t.Errorf("a hundred cancels: closed with %#x", code)
		}
	}
	floods := func(want string) func() error {
		return func() error {
			_, text, err := g.Get("/metrics")
			if err == nil && !strings.Contains(text, want+"\n") {
				err = fmt.Errorf("no line %q in\n%s", want, text)
			}
			return err
		}
	}
	const reset = `sluice_listener_floods_total{listener="web",protocol="h2",kind="reset"} `
	if err := floods(reset + "0")(); err != nil {
		t.Error(err)
	}
	c := dialH2(t, addresses[1])
	for i := 0; i < 300; i++ {
		c.cancel(c.open(1), 1)
	}
	if yes, code := c.alive(); yes || code != 0xb { // ENHANCE_YOUR_CALM
		t.Errorf("rapid resets: alive %v, closed with %#x", yes, code)
	}
	if err := rig.Eventually(floods(reset + "1")); err != nil {
		t.Error(err)
	}
}
