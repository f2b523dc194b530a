//go:build linux

package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// gateway is how one Sluice is started.
type gateway struct {
	name   string
	config string // path
	listen string
	admin  string
	core   string // "" for both cores
	env    []string
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
upstreams:
  - name: origin
    endpoints: ["http://%s"]
`, g.admin, g.listen, origin)
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
	config := g.head(b.origin) + rest
	if err := os.WriteFile(g.config, []byte(config), 0o644); err != nil {
		return nil, err
	}
	c, err := b.contend(name, config, g.launch(b))
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

// writeRoutes writes a configuration with many routes and, in their middle, one
// that tells the revision. The file is replaced in one step: it is watched.
func (g gateway) writeRoutes(origin string, routes, revision int) error {
	temporary := g.config + ".new"
	file, err := os.Create(temporary)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	w.WriteString(g.head(origin)) //nolint:errcheck // Flush reports it.
	w.WriteString("routes:\n")    //nolint:errcheck // The same.
	for i := range routes {
		if i == routes/2 {
			fmt.Fprintf(w, "  - name: changing\n    match: { path: %s }\n    respond: { status: 200, body: \"revision %d\" }\n", changingPath, revision)
		}
		path := fmt.Sprintf("/r%06d/**", i)
		if i%2 == 1 {
			path = fmt.Sprintf("/r%06d/items/{id}", i)
		}
		fmt.Fprintf(w, "  - name: r%06d\n    match: { host: h%d.example.com, path: \"%s\" }\n    upstream: origin\n", i, i%10, path)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return os.Rename(temporary, g.config)
}

// startRoutes starts a Sluice with many routes.
func (b *bench) startRoutes(name string, routes int, env ...string) (*contender, error) {
	g, err := b.newGateway(name)
	if err != nil {
		return nil, err
	}
	g.env = env
	if err := g.writeRoutes(b.origin, routes, 0); err != nil {
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
	if err := example.writeRoutes(b.origin, 4, 0); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(example.config)
	c.config = strings.TrimSpace(string(text)) + "\n  # … and so on\n"
	return c, err
}
