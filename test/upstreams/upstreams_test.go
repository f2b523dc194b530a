// Package upstreams tests what upstreams know and keep, over reloads and with several
// gateways, with the real binary.
package upstreams

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// gateway runs with one upstream, orders.
type gateway struct {
	*rig.Gateway
	t                   *testing.T
	dir, address, admin string
	revision            int
}

// start runs a gateway whose upstream has these settings, in YAML.
func start(t *testing.T, upstream string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), revision: 1}
	for _, address := range []*string{&g.address, &g.admin} {
		var err error
		if *address, err = rig.FreeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	g.write(upstream)
	var err error
	if g.Gateway, err = rig.Start(g.dir, "sluice.yaml", g.admin, "", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Log(g.Log())
		}
	})
	if err := g.Ready(); err != nil {
		t.Fatal(err)
	}
	return g
}

// write replaces the configuration.
func (g *gateway) write(upstream string) {
	g.t.Helper()
	text := fmt.Sprintf(`admin: { address: %q }
listeners: [{ name: web, address: %q }]
upstreams:
  - name: orders
    %s
routes: [{ name: all, upstream: orders }]
`, g.admin, g.address, strings.ReplaceAll(upstream, "\n", "\n    "))
	path := filepath.Join(g.dir, "sluice.yaml")
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		g.t.Fatal(err)
	}
}

// reload changes the upstream and waits until the change is in force.
func (g *gateway) reload(upstream string) {
	g.t.Helper()
	g.write(upstream)
	g.revision++
	g.eventually(func() error {
		if s := g.status(); s.Revision != g.revision {
			return fmt.Errorf("revision %d, want %d", s.Revision, g.revision)
		}
		return nil
	})
}

func (g *gateway) eventually(check func() error) {
	g.t.Helper()
	if err := rig.Eventually(check); err != nil {
		g.t.Fatal(err)
	}
}

// status is what /status says.
type status struct {
	Revision  int
	Upstreams []struct {
		Endpoints []struct{ Address, State string }
	}
}

func (g *gateway) status() (s status) {
	g.t.Helper()
	_, body, err := g.Get("/status")
	if err != nil {
		g.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		g.t.Fatalf("%v: %s", err, body)
	}
	return s
}

// ask sends a request with a field Cookie; set is what the answer says of cookies.
func (g *gateway) ask(cookie string) (code int, body, set string) {
	g.t.Helper()
	r, err := http.NewRequest("GET", "http://"+g.address+"/", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return response.StatusCode, string(all), response.Header.Get("Set-Cookie")
}

// origin answers with its name and the cookies that it gets, 500 while it fails, and counts.
type origin struct {
	*httptest.Server
	asked atomic.Int64
	fails atomic.Bool
}

func newOrigin(t *testing.T, name string) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			o.asked.Add(1)
		}
		if o.fails.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, name+" "+r.Header.Get("Cookie"))
	}))
	t.Cleanup(o.Close)
	return o
}
