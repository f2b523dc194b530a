package wires

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// ngtcp2 is a client that has nothing in common with our QUIC: gtlsclient of Debian's ngtcp2-client.
// tools/setup/test.sh installs it.
type ngtcp2 struct {
	address string
	folder  string
}

// ask makes requests and returns what the client prints. Session and transport parameters are kept in the
// folder, so that a later call may send early data.
func (c *ngtcp2) ask(t *testing.T, arguments ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(c.address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	all := []string{host, port, "--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump", "--sni", "localhost", "--timeout=10s",
		"--download", c.folder, "--session-file", filepath.Join(c.folder, "session"), "--tp-file", filepath.Join(c.folder, "parameters")}
	out, err := exec.CommandContext(ctx, "gtlsclient", append(all, arguments...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("gtlsclient: %v: %s", err, out)
	}
	return string(out)
}

// body is what a request for /name has brought.
func (c *ngtcp2) body(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// told is what an origin says of a request in its answer.
func told(w http.ResponseWriter, r *http.Request) {
	length := 0
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		length += n
		if err != nil {
			break
		}
	}
	if r.URL.Path == "/large" {
		_, _ = w.Write([]byte(strings.Repeat("0123456789abcdef", 128<<10)))
		return
	}
	fmt.Fprintf(w, "%s %s %d early=%q via=%q", r.Method, r.URL.Path, length, r.Header.Get("Early-Data"), r.Header.Get("Via")[:2])
}

func TestClientOfNgtcp2(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(told))
	defer server.Close()
	var addresses [3]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "sluice.yaml")
	text := strings.Replace(fmt.Sprintf(configuration, addresses[0], addresses[1], addresses[2], server.URL), "host: api.example.com, ", "", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(folder, file, addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	c := &ngtcp2{addresses[2], t.TempDir()}
	base := "https://" + addresses[2]

	c.ask(t, base+"/one", base+"/two", base+"/large")
	for _, name := range []string{"one", "two"} {
		if got, want := c.body(t, name), `GET /`+name+` 0 early="" via="3 "`; got != want {
			t.Errorf("%s: %q, wanted %q", name, got, want)
		}
	}
	if got := c.body(t, "large"); got != strings.Repeat("0123456789abcdef", 128<<10) {
		t.Errorf("2 MiB came as %d bytes", len(got))
	}
	// Now it has a session: what it asks goes with its first packet, and the origin is told.
	out := c.ask(t, base+"/early")
	if !strings.Contains(out, "0RTT STREAM") {
		t.Errorf("no early data was sent: %s", out)
	}
	if got, want := c.body(t, "early"), `GET /early 0 early="1" via="3 "`; got != want {
		t.Errorf("%q, wanted %q", got, want)
	}
	upload := filepath.Join(c.folder, "upload")
	if err := os.WriteFile(upload, []byte(strings.Repeat("x", 300_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	// A POST is not safe to repeat: early or not, the origin gets it when the handshake is complete.
	for _, more := range [][]string{{"--disable-early-data"}, nil} {
		c.ask(t, append(more, "-m", "POST", "-d", upload, base+"/post")...)
		if got, want := c.body(t, "post"), `POST /post 300000 early="" via="3 "`; got != want {
			t.Errorf("%q, wanted %q", got, want)
		}
	}
	// Packets are lost in both directions.
	c.ask(t, "-t", "0.05", "-r", "0.05", base+"/large")
	if got := c.body(t, "large"); len(got) != 2<<20 {
		t.Errorf("with losses 2 MiB came as %d bytes", len(got))
	}
	// A key update and another port of the client in the middle.
	c.ask(t, "--key-update=10ms", "--change-local-addr=20ms", "--delay-stream=60ms", "--disable-early-data", base+"/moved")
	if got, want := c.body(t, "moved"), `GET /moved 0 early="" via="3 "`; got != want {
		t.Errorf("%q, wanted %q", got, want)
	}
	if strings.Contains(g.Log(), `"panic"`) {
		t.Errorf("the gateway panicked: %s", g.Log())
	}
}
