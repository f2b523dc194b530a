package websocket

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

const configuration = `
admin: { address: "%s" }
telemetry: { access_log: {} }
drain: { shutdown: 20s, removed: 300ms }
listeners:
  - { name: plain, address: "%s", protocols: [http/1.1, h2] }
  - { name: secure, address: "%s", protocols: [http/1.1, h2, h3], tls: { self_signed: true } }
upstreams:
  - { name: ws, endpoints: ["http://%s"] }
  - { name: python, endpoints: ["http://%s"] }
  - { name: h2, endpoints: ["http://%s"], protocol: h2 }
routes:
`

const routes = `
  - { name: ws, match: { path: /ws }, upgrades: [websocket], upstream: ws }
  - { name: python, match: { path: /python }, upgrades: [websocket], upstream: python }
  - { name: h2, match: { path: /h2 }, upgrades: [websocket], upstream: h2 }
`

// gateway is the binary with the peers behind it.
type gateway struct {
	*rig.Gateway
	t             *testing.T
	file          string
	head          string
	plain, secure string
	origins       map[string]*peer
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
	g := &gateway{t: t, plain: addresses[1], secure: addresses[2]}
	g.origins = map[string]*peer{"ws": node(t, "server"), "python": python(t, "server"), "h2": node(t, "h2server")}
	g.head = fmt.Sprintf(configuration, addresses[0], addresses[1], addresses[2],
		g.origins["ws"].listens(), g.origins["python"].listens(), g.origins["h2"].listens())
	folder := t.TempDir()
	g.file = filepath.Join(folder, "sluice.yaml")
	g.configure(routes)
	started, err := rig.Start(folder, g.file, addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Kill)
	if err := started.Ready(); err != nil {
		t.Fatal(err, started.Log())
	}
	g.Gateway = started
	return g
}

func (g *gateway) configure(routes string) {
	g.t.Helper()
	if err := os.WriteFile(g.file, []byte(g.head+routes), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// reload puts other routes in force.
func (g *gateway) reload(routes string) {
	g.t.Helper()
	g.configure(routes)
	before := strings.Count(g.Log(), `"configuration applied"`)
	if err := g.Signal(syscall.SIGHUP); err != nil {
		g.t.Fatal(err)
	}
	if err := rig.Eventually(func() error {
		if strings.Count(g.Log(), `"configuration applied"`) == before {
			return errors.New("the configuration was not applied")
		}
		return nil
	}); err != nil {
		g.t.Fatal(err, g.Log())
	}
}

// way is one kind of client over one wire; mode is what it does, "client" or "stay".
type way struct {
	name  string
	start func(t *testing.T, g *gateway, mode, path string) *peer
}

var ways = []way{
	{"ws", func(t *testing.T, g *gateway, mode, path string) *peer { return node(t, mode, "ws://"+g.plain+path) }},
	{"ws over TLS", func(t *testing.T, g *gateway, mode, path string) *peer { return node(t, mode, "wss://"+g.secure+path) }},
	{"python", func(t *testing.T, g *gateway, mode, path string) *peer { return python(t, mode, "ws://"+g.plain+path) }},
	{"python over TLS", func(t *testing.T, g *gateway, mode, path string) *peer {
		return python(t, mode, "wss://"+g.secure+path)
	}},
	{"h2c", func(t *testing.T, g *gateway, mode, path string) *peer {
		return node(t, "h2"+mode, "http://"+g.plain, path, "example.com")
	}},
	{"h2", func(t *testing.T, g *gateway, mode, path string) *peer {
		return node(t, "h2"+mode, "https://"+g.secure, path, "example.com")
	}},
}

// Each client talks to each origin: messages of megabytes in both directions, many small ones, pings,
// close codes, all with permessage-deflate.
func TestTalk(t *testing.T) {
	t.Parallel()
	g := begin(t)
	for _, way := range ways {
		for _, origin := range []string{"ws", "python", "h2"} {
			t.Run(way.name+" to "+origin, func(t *testing.T) {
				p := way.start(t, g, "client", "/"+origin)
				p.says("ok")
				p.ends()
				o := g.origins[origin]
				for _, want := range []string{"4321", "4001"} {
					// See peer.js about streams of node.
					if code := o.says("closed"); code != want && !(origin == "h2" && code == "1006") {
						t.Errorf("the origin was closed with %s, not %s", code, want)
					}
				}
			})
		}
	}
}

// A reload touches nobody. When the gateway goes, everybody is told to go away.
func TestGoingAway(t *testing.T) {
	t.Parallel()
	g := begin(t)
	var clients []*peer
	for _, way := range ways {
		for _, origin := range []string{"ws", "python", "h2"} {
			p := way.start(t, g, "stay", "/"+origin)
			p.says("open")
			clients = append(clients, p)
		}
	}
	g.reload("  - { name: more, match: { path: /more }, respond: { body: more } }\n" + routes)
	for _, p := range clients {
		p.silent()
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		if code := p.says("closed"); code != "1001" {
			t.Errorf("%s was closed with %s", p.name, code)
		}
	}
	for name, o := range g.origins {
		for range ways {
			if code := o.says("closed"); code != "1001" {
				t.Errorf("%s was closed with %s", name, code)
			}
		}
	}
	if code, err := g.Wait(); code != 0 || err != nil {
		t.Errorf("the gateway ended with %d, %v: %s", code, err, g.Log())
	}
}

// A WebSocket does not outlive its route, nor its upstream, by more than it may.
func TestRemoved(t *testing.T) {
	t.Parallel()
	g := begin(t)
	gone, stays := ways[0].start(t, g, "stay", "/ws"), ways[2].start(t, g, "stay", "/python")
	gone.says("open")
	stays.says("open")
	g.reload(strings.Replace(routes, "name: ws", "name: other", 1))
	if code := gone.says("closed"); code != "1001" {
		t.Errorf("closed with %s", code)
	}
	if code := g.origins["ws"].says("closed"); code != "1001" {
		t.Errorf("the origin was closed with %s", code)
	}
	stays.silent()
}
