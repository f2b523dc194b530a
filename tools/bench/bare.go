//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// compareHead and compareRow are the table of bare and policies.
func compareHead() []string {
	return []string{"", "CPU µs/request", "ratio to nginx", "requests/s", "p50 ms", "p99 ms", "errors"}
}

func compareRow(c, base *contender) []string {
	p50, p99 := c.latency()
	return []string{
		c.name, microseconds(c.cpu()), times(medianRatio(c.cpu(), base.cpu())),
		fmt.Sprintf("%.0f", median(c.throughput())), milliseconds(p50), milliseconds(p99), fmt.Sprint(c.errors()),
	}
}

// bare compares plain proxying.
func (b *bench) bare() (section, error) {
	s := section{title: "Bare proxying, HTTP/1.1, keep-alive, a 70-byte answer", head: compareHead()}
	nginx, err := b.startNginx("nginx", "", "")
	if err != nil {
		return s, err
	}
	haproxy, err := b.startHAProxy()
	if err != nil {
		return s, err
	}
	caddy, err := b.startCaddy()
	if err != nil {
		return s, err
	}
	sluice, err := b.startSluice("sluice", bareRoute)
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, nginx, haproxy, caddy}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		s.rows = append(s.rows, compareRow(c, nginx))
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	ratio := medianRatio(sluice.cpu(), nginx.cpu())
	s.judge(ratio <= 1.05, "at most 1.05 × nginx", "%.2f", ratio)
	ratio = medianRatio(caddy.cpu(), sluice.cpu())
	s.judge(ratio >= 4, "Caddy costs at least 4 × as much", "%.2f", ratio)
	s.noErrors(sluice)
	return s, nil
}

// nginxGovernedHead and nginxGoverned are what comes nearest in nginx to Sluice's
// api_key, rate_limit, headers and access log.
const nginxGovernedHead = `  map $http_x_api_key $consumer { default ""; "` + key + `" acme; }
  limit_req_zone $consumer zone=limit:1m rate=1000000r/s;
  log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","path":"$request_uri","status":$status,"bytes":$body_bytes_sent,"duration":$request_time,"consumer":"$consumer"}';
`

const nginxGoverned = `      if ($consumer = "") { return 401; }
      limit_req zone=limit burst=100000 nodelay;
      access_log %s json buffer=64k flush=1s;
      proxy_set_header X-Gateway nginx;
      add_header X-Frame-Options deny;
`

// policies compares Sluice that governs with nginx that only proxies.
func (b *bench) policies() (section, error) {
	s := section{
		title: "Sluice with api_key, rate_limit, headers, metrics and access log, against nginx with none of these",
		head:  compareHead(),
		notes: []string{"`nginx, alike` does what comes nearest in nginx; it keeps no metrics. All are sent the key."},
	}
	nginx, err := b.startNginx("nginx", "", "")
	if err != nil {
		return s, err
	}
	ours, theirs := filepath.Join(b.fleet.dir, "sluice.access.log"), filepath.Join(b.fleet.dir, "nginx.access.log")
	for _, log := range []string{ours, theirs} {
		// nginx's worker may run as another user.
		if err := os.WriteFile(log, nil, 0o666); err != nil {
			return s, err
		}
	}
	alike, err := b.startNginx("nginx-alike", nginxGovernedHead, fmt.Sprintf(nginxGoverned, theirs))
	if err != nil {
		return s, err
	}
	alike.name = "nginx, alike"
	sluice, err := b.startSluice("sluice", governed(ours))
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, nginx, alike}
	for _, c := range all {
		c.load.headers = []string{"X-Api-Key: " + key}
	}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		s.rows = append(s.rows, compareRow(c, nginx))
	}
	s.configs = []namedConfig{{sluice.name, sluice.config}, {alike.name, alike.config}}
	ratio := medianRatio(sluice.cpu(), nginx.cpu())
	s.judge(ratio <= 1.40, "at most 1.40 × bare nginx", "%.2f", ratio)
	s.noErrors(sluice)
	written, err := os.Stat(ours)
	if err != nil {
		return s, err
	}
	s.judge(written.Size() > 0, "the access log is written", "%s MiB", mebibytes(written.Size()))
	return s, nil
}
