//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gateway is how one Sluice is started.
type gateway struct {
	name   string
	config string // path
	listen string
	admin  string
	core   string // "" for both cores
	env    []string
	tls    string // the tls setting of its listener, or ""
}

// newGateway finds room for a Sluice.
func (b *bench) newGateway(name string) (gateway, error) {
	listen, err := b.fleet.freeAddress()
	if err != nil {
		return gateway{}, err
	}
	admin, err := b.fleet.freeAddress()
	if err != nil {
		return gateway{}, err
	}
	return gateway{
		name: name, config: filepath.Join(b.fleet.dir, name+".yaml"),
		listen: listen, admin: admin, core: b.machine.cores.proxy,
	}, nil
}

func (g gateway) launch(b *bench) launch {
	l := launch{
		name: g.name, core: g.core, address: g.listen, env: g.env,
		command: []string{b.sluice, "serve", "--config", g.config},
	}
	if g.core != "" {
		l.env = append(l.env, "GOMAXPROCS=1")
	} else {
		l.env = append(l.env, "GOMAXPROCS=2")
	}
	return l
}

// head is the part that all of Sluice's configurations here begin with.
func (g gateway) head(origin string) string {
	return fmt.Sprintf(`version: 1
admin: { address: "%s" }
listeners:
  - name: web
    address: "%s"
%supstreams:
  - name: origin
    endpoints: ["http://%s"]
`, g.admin, g.listen, g.tls, origin)
}

const bareRoute = `routes:
  - name: all
    match: { path: /** }
    upstream: origin
`

// key is the API key that the load of the policies comparison carries.
const key = "bench-0123456789abcdef0123456789abcdef"

// governed asks for a key, counts it against a limit, changes header fields and
// writes an access log. Nothing is refused: the limit is out of reach.
func governed(log string) string {
	return fmt.Sprintf(`telemetry: { access_log: { path: %s } }
consumers:
  - name: acme
    credentials: [{ api_key: "sha256:%x" }]
routes:
  - name: all
    match: { path: /** }
    policies:
      - api_key: {}
      - rate_limit: { requests: 1000000, per: 1s, key: consumer }
      - headers:
          request: { set: { x-gateway: sluice } }
          response: { set: { x-frame-options: deny } }
    upstream: origin
`, log, sha256.Sum256([]byte(key)))
}

// startSluice starts a Sluice with this configuration and gives it the usual load.
func (b *bench) startSluice(name, rest string, env ...string) (*contender, error) {
	g, err := b.newGateway(name)
	if err != nil {
		return nil, err
	}
	g.env = env
	return b.startGateway(g, b.origin, rest)
}

func (b *bench) startGateway(g gateway, origin, rest string) (*contender, error) {
	return b.startConfigured(g, g.head(origin)+rest)
}

func (b *bench) startConfigured(g gateway, config string) (*contender, error) {
	if err := os.WriteFile(g.config, []byte(config), 0o644); err != nil {
		return nil, err
	}
	c, err := b.contend(g.name, config, g.launch(b))
	if err != nil {
		return nil, err
	}
	c.admin = g.admin
	return c, nil
}

// Of the many routes, half match a prefix and half a pattern, on ten hosts.

// routeCall is a request that the route with this number answers.
func routeCall(i int) string {
	return fmt.Sprintf("GET /r%06d/items/7 HTTP/1.1\r\nHost: h%d.example.com\r\n\r\n", i, i%10)
}

// routeScript makes wrk ask for all routes at random.
func routeScript(routes int) string {
	return fmt.Sprintf(`local text = "GET /r%%06d/items/7 HTTP/1.1\r\nHost: h%%d.example.com\r\n\r\n"
function init() math.randomseed(1) end
function request()
  local i = math.random(0, %d)
  return string.format(text, i, i %% 10)
end
`, routes-1)
}

// changingPath is answered by the gateway itself, with the revision that it runs.
const changingPath = "/changing"

// routesFile is a configuration with many routes and, in their middle, one that
// tells the revision. It is put together once: what this program does while it
// measures would be seen in what it measures.
type routesFile struct {
	path   string
	text   []byte
	digits []byte // of the revision, in text
}

// revisionText is what the changing route answers.
func revisionText(revision int) string { return fmt.Sprintf("revision %010d", revision) }

func (g gateway) routesFile(origin string, routes int) *routesFile {
	var text bytes.Buffer
	text.WriteString(g.head(origin) + "routes:\n")
	begin := 0
	for i := range routes {
		if i == routes/2 {
			fmt.Fprintf(&text, "  - name: changing\n    match: { path: %s }\n    respond: { status: 200, body: \"", changingPath)
			begin = text.Len()
			text.WriteString(revisionText(0) + "\" }\n")
		}
		path := fmt.Sprintf("/r%06d/**", i)
		if i%2 == 1 {
			path = fmt.Sprintf("/r%06d/items/{id}", i)
		}
		fmt.Fprintf(&text, "  - name: r%06d\n    match: { host: h%d.example.com, path: \"%s\" }\n    upstream: origin\n", i, i%10, path)
	}
	f := &routesFile{path: g.config, text: text.Bytes()}
	f.digits = f.text[begin : begin+len(revisionText(0))]
	return f
}

// prepare writes the configuration with this revision beside the file, in pieces,
// so that it does not keep the core for long.
func (f *routesFile) prepare(revision int) error {
	copy(f.digits, revisionText(revision))
	file, err := os.Create(f.path + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	for piece := range slices.Chunk(f.text, 64<<10) {
		if _, err := file.Write(piece); err != nil {
			return err
		}
		time.Sleep(200 * time.Microsecond)
	}
	return nil
}

// replace puts what was prepared in the place of the file, in one step.
func (f *routesFile) replace() error { return os.Rename(f.path+".new", f.path) }

// writeRoutes writes the file for the first time.
func (g gateway) writeRoutes(origin string, routes int) error {
	return os.WriteFile(g.config, g.routesFile(origin, routes).text, 0o644)
}

// startRoutes starts a Sluice with many routes.
func (b *bench) startRoutes(name string, routes int, env ...string) (*contender, error) {
	g, err := b.newGateway(name)
	if err != nil {
		return nil, err
	}
	g.env = env
	if err := g.writeRoutes(b.origin, routes); err != nil {
		return nil, err
	}
	c, err := b.contend(name, "", g.launch(b))
	if err != nil {
		return nil, err
	}
	if c.load.script, err = b.fleet.file(name+".lua", routeScript(routes)); err != nil {
		return nil, err
	}
	example := g
	example.config = filepath.Join(b.fleet.dir, "example.yaml")
	if err := example.writeRoutes(b.origin, 4); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(example.config)
	c.config = strings.TrimSpace(string(text)) + "\n  # … and so on\n"
	return c, err
}
