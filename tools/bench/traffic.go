//go:build linux

package main

import (
	"fmt"
	"net"
	"strings"
)

// neighbour is the second address at which the origin listens.
func neighbour(origin string) string {
	_, port, err := net.SplitHostPort(origin)
	if err != nil {
		return origin
	}
	return net.JoinHostPort("127.0.0.2", port)
}

// twoEndpoints is the head of a configuration whose origin has two endpoints in one zone.
func (g gateway) twoEndpoints(origin string) string {
	one := fmt.Sprintf(`["http://%s"]`, origin)
	two := fmt.Sprintf(`[{ url: "http://%s", zone: a }, { url: "http://%s", zone: a }]`, origin, neighbour(origin))
	return strings.Replace(g.head(origin), one, two, 1)
}

// allTraffic is everything that an upstream can have, and a split within a fallback in front of it. Nothing is
// refused: the limit that is found is at least as large as the load.
const allTraffic = `    balance: least_request
    zone: { name: a }
    slow_start: 10s
    timeouts: { try: 1s, request: 5s }
    retry: { attempts: 2, on: [connect_failure, reset, timeout, 5xx], budget: 20% }
    health: { path: /, interval: 1s }
    ejection: { consecutive: 5, failure_share: 50%, success_deviations: 1.9x, latency: 3x }
    breaker: { scope: [endpoint, upstream], failure_share: 50%, slow_share: 50%, slow_after: 1s }
    concurrency: { min: 128 }
routes:
  - name: all
    match: { path: /** }
    fallback: { split: [{ upstream: origin, weight: 1 }], to: { respond: { status: 503 } } }
`

// traffic compares an upstream that has everything with one that has nothing.
func (b *bench) traffic() (section, error) {
	s := section{
		title: "All of an upstream's features together, against none",
		head:  []string{"", "CPU µs/request", "ratio to plain", "requests/s", "p50 ms", "p99 ms", "errors"},
	}
	plain, err := b.startTraffic("plain", bareRoute)
	if err != nil {
		return s, err
	}
	full, err := b.startTraffic("everything", allTraffic)
	if err != nil {
		return s, err
	}
	all := []*contender{full, plain}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		s.rows = append(s.rows, compareRow(c, plain))
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	ratio := medianRatio(full.cpu(), plain.cpu())
	s.judge(ratio <= 1.08, "at most 1.08 × a plain upstream", "%.3f", ratio)
	s.noErrors(full, plain)
	return s, nil
}

// startTraffic starts a Sluice that has two endpoints.
func (b *bench) startTraffic(name, rest string, env ...string) (*contender, error) {
	g, err := b.newGateway(name)
	if err != nil {
		return nil, err
	}
	g.env = env
	return b.startConfigured(g, g.twoEndpoints(b.origin)+rest)
}
