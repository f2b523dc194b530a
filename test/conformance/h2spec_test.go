package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// suiteResult is the last line of the suite's report, with all of its cases, the strict one included.
const suiteResult = "146 tests, 146 passed, 0 skipped, 0 failed"

// TestSuite runs the public suite for HTTP/2 servers (h2spec) from outside, over TLS and with prior
// knowledge, alone and beside HTTP/1, on a route to an origin and on one that is answered at once. None of
// its cases may fail, and none be left out.
func TestSuite(t *testing.T) {
	t.Parallel()
	scratch := t.TempDir()
	suite := filepath.Join(scratch, "suite")
	build := exec.Command("go", "build", "-o", suite, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir = "h2spec"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plain, both, secure := startForSuite(t)
	for name, c := range map[string]struct {
		address string
		flags   []string
	}{
		"h2c to an origin": {plain, nil},
		"tls to an origin": {secure, []string{"--tls", "--insecure"}},
		"h2c at once":      {plain, []string{"--path", "/at-once"}},
		"h2c beside http1": {both, []string{"--path", "/at-once"}},
		"tls at once":      {secure, []string{"--tls", "--insecure", "--path", "/at-once"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, port, err := net.SplitHostPort(c.address)
			if err != nil {
				t.Fatal(err)
			}
			flags := append(c.flags, "--strict", "--timeout", "5", "--port", port)
			out, err := exec.Command(suite, flags...).CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if last := lines[len(lines)-1]; err != nil || last != suiteResult {
				_, failures, _ := strings.Cut(string(out), "\nFailures:")
				t.Errorf("%v, %s\n%s", err, last, failures)
			}
		})
	}
}

// startForSuite runs a gateway before an origin that reads a request to its end before it
// answers. Some cases break a rule behind the head of a request: where the answer comes
// first, the client must hear of it all the same.
func startForSuite(t *testing.T) (plain, both, secure string) {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, "an answer that is longer than some windows")
		}
	}))
	t.Cleanup(origin.Close)
	var addresses [4]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	config := fmt.Sprintf(`
admin: { address: %q }
listeners:
  - { name: plain, address: %q, protocols: [h2] }
  - { name: both, address: %q, protocols: [http/1.1, h2] }
  - { name: secure, address: %q, tls: { self_signed: true } }
upstreams: [{ name: origin, endpoints: [%q] }]
routes:
  - { name: all, upstream: origin }
  - { name: at-once, match: { path: /at-once }, respond: { status: 200, body: "an answer that is longer than some windows" } }
`, addresses[0], addresses[1], addresses[2], addresses[3], origin.URL)
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
	return addresses[1], addresses[2], addresses[3]
}
