//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The configurations of the peers are what a careful user would write: keep-alive on
// both sides, the same forwarding fields that Sluice sends, no access log where
// Sluice writes none, and one core.

// nginxHead is the part that all of nginx's configurations here begin with.
func nginxHead(name string) string {
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("  %s_temp_path %s-%s;\n", kind, name, kind)
	}
	return `daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ` + name + `.pid;
error_log ` + name + `.error.log error;
events { worker_connections 32768; }
http {
` + temporary + `  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 120s;
  keepalive_requests 1000000000;
`
}

const nginxUpstream = `  upstream origin {
    server %s;
    keepalive 128;
    keepalive_requests 1000000000;
  }
`

const nginxProxy = `      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_buffers 16 32k;
      proxy_buffer_size 8k;
      proxy_busy_buffers_size 64k;
      proxy_max_temp_file_size 0;
`

// payload is the origin's answer: 70 bytes of JSON.
const payload = `{"id":"order-000017","state":"accepted","total":"129.90","items":3412}`

// bodySizes are the answers of other lengths, by path.
var bodySizes = [...]struct {
	path  string
	label string
	bytes int
}{{"/1k", "1 KiB", 1 << 10}, {"/100k", "100 KiB", 100 << 10}, {"/10m", "10 MiB", 10 << 20}}

// startOrigin starts the server behind all proxies.
func (b *bench) startOrigin() (string, error) {
	address, err := b.fleet.freeAddress()
	if err != nil {
		return "", err
	}
	for _, size := range bodySizes {
		body := strings.Repeat("0123456789abcdef", size.bytes/16)
		if _, err := b.fleet.file(size.path[1:], body); err != nil {
			return "", err
		}
	}
	config := nginxHead("origin") + `  default_type application/json;
  open_file_cache max=16;
  server {
    listen ` + address + ` backlog=4096;
    listen ` + neighbour(address) + ` backlog=4096;
    location / { return 200 '` + payload + `'; }
    location ~ ^/(1k|100k|10m)$ { root ` + b.fleet.dir + `; }
  }
}
`
	path, err := b.fleet.file("origin.conf", config)
	if err != nil {
		return "", err
	}
	_, err = b.fleet.startReady(launch{
		name: "origin", core: b.machine.cores.side, address: address,
		command: nginxCommand(b.fleet.dir, path),
	})
	return address, err
}

func (b *bench) originProcess() *process { return b.fleet.alive[0] }

func nginxCommand(dir, config string) []string {
	return []string{"nginx", "-p", dir, "-e", filepath.Join(dir, "nginx.boot.log"), "-c", config}
}

// contender is one proxy in a comparison, with the load that it is given.
type contender struct {
	name    string
	config  string // for the report
	process *process
	address string
	admin   string // of a Sluice
	load    load
	turns   []turn
	// watchMemory says that the growth of the memory is wanted; looking at it costs.
	watchMemory bool
}

func (b *bench) startNginx(name, extra, location string) (*contender, error) {
	return b.startNginxListening(name, "", extra, location)
}

// startNginxListening starts an nginx with further parameters of its listen directive.
func (b *bench) startNginxListening(name, parameters, extra, location string) (*contender, error) {
	address, err := b.fleet.freeAddress()
	if err != nil {
		return nil, err
	}
	config := nginxHead(name) + fmt.Sprintf(nginxUpstream, b.origin) + extra + `  server {
    listen ` + address + parameters + ` backlog=4096;
    location / {
` + location + nginxProxy + `    }
  }
}
`
	path, err := b.fleet.file(name+".conf", config)
	if err != nil {
		return nil, err
	}
	return b.contend(name, config, launch{
		name: name, core: b.machine.cores.proxy, address: address,
		command: nginxCommand(b.fleet.dir, path),
	})
}

func (b *bench) startHAProxy() (*contender, error) {
	address, err := b.fleet.freeAddress()
	if err != nil {
		return nil, err
	}
	config := `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout http-keep-alive 120s
  http-reuse always
frontend web
  bind ` + address + ` backlog 4096
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Proto http
  default_backend origin
backend origin
  server origin ` + b.origin + `
`
	path, err := b.fleet.file("haproxy.cfg", config)
	if err != nil {
		return nil, err
	}
	return b.contend("haproxy", config, launch{
		name: "haproxy", core: b.machine.cores.proxy, address: address,
		command: []string{"haproxy", "-db", "-f", path},
	})
}

func (b *bench) startCaddy() (*contender, error) {
	address, err := b.fleet.freeAddress()
	if err != nil {
		return nil, err
	}
	config := `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://` + address + ` {
	reverse_proxy ` + b.origin + ` {
		transport http {
			keepalive 120s
			keepalive_idle_conns_per_host 128
		}
	}
}
`
	path, err := b.fleet.file("Caddyfile", config)
	if err != nil {
		return nil, err
	}
	return b.contend("caddy", config, launch{
		name: "caddy", core: b.machine.cores.proxy, address: address,
		command: []string{"caddy", "run", "--config", path, "--adapter", "caddyfile"},
		env:     []string{"GOMAXPROCS=1"},
	})
}

// contend starts a proxy and gives it the usual load.
func (b *bench) contend(name, config string, l launch) (*contender, error) {
	p, err := b.fleet.startReady(l)
	if err != nil {
		return nil, err
	}
	return &contender{
		name: name, process: p, address: l.address,
		config: strings.ReplaceAll(config, b.fleet.dir+string(os.PathSeparator), ""),
		load:   load{generate: runWrk, url: "http://" + l.address + "/orders/17", connections: 64, duration: b.turn},
	}, nil
}
