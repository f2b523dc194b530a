// Package discovery tests endpoints that come and go, with the real binary, files that
// are replaced and Debian's DNS server.
package discovery

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// gateway runs with one upstream.
type gateway struct {
	*rig.Gateway
	dir, admin, address string
}

// document is a configuration with one upstream.
func (g *gateway) document(upstream string) string {
	return fmt.Sprintf(`admin: { address: %q }
listeners: [{ name: web, address: %q }]
upstreams:
  - name: orders
    %s
routes: [{ name: all, upstream: orders }]
`, g.admin, g.address, strings.ReplaceAll(upstream, "\n", "\n    "))
}

// start runs a gateway whose upstream is described by upstream, in YAML.
func start(t *testing.T, dir, upstream string) *gateway {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{dir: dir, admin: admin, address: address}
	put(t, dir, "sluice.yaml", g.document(upstream))
	if g.Gateway, err = rig.Start(dir, "sluice.yaml", admin, "", nil); err != nil {
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

// put replaces a file as a whole.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request and returns the status and the body.
func (g *gateway) ask(path string) (int, string, error) {
	response, err := http.Get("http://" + g.address + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// answers waits for an answer.
func (g *gateway) answers(t *testing.T, status int, words string) {
	t.Helper()
	if err := rig.Eventually(func() error {
		got, body, err := g.ask("/")
		if err == nil && (got != status || !strings.Contains(body, words)) {
			err = fmt.Errorf("answered %d %s, want %d %s", got, body, status, words)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// logs waits for a line of the log.
func (g *gateway) logs(t *testing.T, words ...string) {
	t.Helper()
	if err := rig.Eventually(func() error {
		for line := range strings.Lines(g.Log()) {
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return nil
			}
		}
		return fmt.Errorf("no line of the log has %q", words)
	}); err != nil {
		t.Fatal(err)
	}
}

// status is what /status says of the upstream.
func (g *gateway) status(t *testing.T) (endpoints []string, d struct {
	Source          string
	Fault           string `json:"last_fault"`
	Updates, Faults int
	Failing         bool
}) {
	t.Helper()
	_, body, err := g.Get("/status")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Upstreams []struct {
			Endpoints []struct{ Address string }
			Discovery json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil || len(s.Upstreams) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	for _, e := range s.Upstreams[0].Endpoints {
		endpoints = append(endpoints, e.Address)
	}
	if err := json.Unmarshal(s.Upstreams[0].Discovery, &d); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return endpoints, d
}

// origin answers with its name; /slow waits until it is told to go on.
type origin struct {
	*httptest.Server
	arrived, proceed chan struct{}
}

func newOrigin(t *testing.T, name string) *origin {
	t.Helper()
	o := &origin{arrived: make(chan struct{}, 1), proceed: make(chan struct{})}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			_, _ = io.WriteString(w, "begun by "+name)
			_ = http.NewResponseController(w).Flush()
			o.arrived <- struct{}{}
			<-o.proceed
			_, _ = io.WriteString(w, ", ended by "+name)
			return
		}
		_, _ = io.WriteString(w, name)
	}))
	o.Config.Protocols = new(http.Protocols)
	o.Config.Protocols.SetHTTP1(true)
	o.Config.Protocols.SetUnencryptedHTTP2(true)
	o.Start()
	t.Cleanup(o.Close)
	return o
}

// TestFile: an endpoint that leaves is drained, not cut; a file that is broken changes
// nothing.
func TestFile(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			testFile(t, protocol)
		})
	}
}

func testFile(t *testing.T, protocol string) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	dir := t.TempDir()
	put(t, dir, "endpoints.yaml", "- "+a.URL+"\n")
	g := start(t, dir, "protocol: "+protocol+"\ndiscovery: { file: endpoints.yaml }")
	g.answers(t, 200, "a")

	type answer struct {
		status int
		body   string
		err    error
	}
	slow := make(chan answer, 1)
	go func() {
		status, body, err := g.ask("/slow")
		slow <- answer{status, body, err}
	}()
	<-a.arrived
	put(t, dir, "endpoints.yaml", "- {url: "+b.URL+", weight: 3}\n")
	g.answers(t, 200, "b")
	g.logs(t, "endpoints discovered", `"added":"`+b.Listener.Addr().String()+`"`, `"removed":"`+a.Listener.Addr().String()+`"`)
	for range 20 {
		if status, body, err := g.ask("/"); status != 200 || body != "b" || err != nil {
			t.Errorf("after the change: %d %s %v", status, body, err)
		}
	}
	select {
	case got := <-slow:
		t.Fatalf("the exchange with the endpoint that left has ended: %+v", got)
	default:
	}
	close(a.proceed)
	if got := <-slow; got.status != 200 || got.body != "begun by a, ended by a" || got.err != nil {
		t.Errorf("the exchange with the endpoint that left: %+v", got)
	}

	put(t, dir, "endpoints.yaml", "- {url: "+a.URL+", wieght: 3}\n")
	g.logs(t, "discovery fault", `endpoints.yaml:1:`, `unknown key \"wieght\"`)
	g.answers(t, 200, "b")
	endpoints, d := g.status(t)
	if len(endpoints) != 1 || endpoints[0] != b.Listener.Addr().String() || !d.Failing || d.Updates != 2 || d.Faults != 1 || !strings.HasPrefix(d.Source, "file ") || d.Fault == "" {
		t.Errorf("status: %v, %+v", endpoints, d)
	}
	_, metrics, err := g.Get("/metrics")
	for _, want := range []string{`sluice_discovery_updates_total{upstream="orders"} 2`, `sluice_discovery_faults_total{upstream="orders"} 1`, `sluice_discovery_age_seconds{upstream="orders"} `} {
		if err != nil || !strings.Contains(metrics, want) {
			t.Errorf("metrics without %s (%v)", want, err)
		}
	}
}

// TestNoSource: a gateway starts without endpoints, says so, and takes them when they come;
// a reload that changes the upstream keeps what was discovered.
func TestNoSource(t *testing.T) {
	t.Parallel()
	a := newOrigin(t, "a")
	dir := t.TempDir()
	g := start(t, dir, "discovery: { file: endpoints.yaml, wait: 100ms }")
	g.logs(t, "an upstream has no endpoints yet", "orders")
	g.answers(t, 503, "upstream_no_endpoint")
	if status, body, err := g.Get("/readyz"); status != 200 || err != nil {
		t.Errorf("/readyz: %d %s %v", status, body, err)
	}
	put(t, dir, "endpoints.yaml", `["`+a.URL+`"]`)
	g.answers(t, 200, "a")

	// The source is gone again, and the upstream is made anew for another reason.
	if err := os.Remove(filepath.Join(dir, "endpoints.yaml")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "sluice.yaml", strings.Replace(string(text), "discovery:", "timeouts: { connect: 777ms }\n    discovery:", 1))
	g.logs(t, "configuration applied", `"revision":2`)
	for range 20 {
		if status, body, err := g.ask("/"); status != 200 || body != "a" || err != nil {
			t.Errorf("after the reload: %d %s %v", status, body, err)
		}
	}
}

// TestDNS: dnsmasq's records decide, and when it dies they stay in force.
func TestDNS(t *testing.T) {
	t.Parallel()
	// Two origins at two addresses of the loopback network, at one port.
	var at [2]string
	port := ""
	for i, host := range []string{"127.0.0.1", "127.0.0.2"} {
		var l net.Listener
		err := rig.Eventually(func() error {
			address := net.JoinHostPort(host, port)
			if i == 0 {
				free, err := rig.FreeAddress()
				if err != nil {
					return err
				}
				address = free
			}
			var err error
			l, err = net.Listen("tcp", address)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		at[i] = host
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "at "+host) })}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	dns, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, dir, "hosts", at[0]+" orders.internal\n")
	masq := dnsmasq(t, dns, filepath.Join(dir, "hosts"))
	g := start(t, dir, fmt.Sprintf("discovery: { dns: { name: orders.internal, port: %s, servers: %q } }", port, dns))
	g.answers(t, 200, "at "+at[0])
	put(t, dir, "hosts", at[1]+" orders.internal\n")
	if err := masq.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.answers(t, 200, "at "+at[1])
	if err := masq.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.logs(t, "discovery fault", "connection refused")
	g.answers(t, 200, "at "+at[1])
	if endpoints, d := g.status(t); len(endpoints) != 1 || !d.Failing || d.Source != "dns orders.internal:"+port {
		t.Errorf("status: %v, %+v", endpoints, d)
	}
}

// dnsmasq runs Debian's DNS server with a file of hosts.
func dnsmasq(t *testing.T, address, hosts string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		path = "/usr/sbin/dnsmasq"
	}
	_, port, _ := net.SplitHostPort(address)
	c := exec.Command(path, "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--addn-hosts="+hosts, "--pid-file",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port="+port, "--local=/internal/", "--local-ttl=1")
	if err := c.Start(); err != nil {
		t.Fatalf("dnsmasq is needed for this test: apt-get install dnsmasq-base (or run tools/setup/test.sh): %v", err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if err := rig.Eventually(func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return c
}
