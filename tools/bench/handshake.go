//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// handshakes compares full TLS 1.3 handshakes.
func (b *bench) handshakes() (section, error) {
	s := section{
		title: "Full TLS 1.3 handshakes, ECDSA P-256, X25519, no resumption, no request",
		head:  []string{"", "CPU µs/handshake", "handshakes/CPU second, ratio to nginx", "handshakes/s", "p50 ms", "p99 ms", "errors"},
		notes: []string{"The clients offer X25519 only: Sluice would agree upon X25519MLKEM768 with clients that know it, nginx with OpenSSL 3.0 cannot."},
	}
	sluice, nginx, err := b.startPair("ssl")
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, nginx}
	for _, c := range all {
		c.load.generate, c.load.connections = runHandshakes, 16
	}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		p50, p99 := c.latency()
		s.add(c.name, microseconds(c.cpu()), times(medianRatio(nginx.cpu(), c.cpu())),
			fmt.Sprintf("%.0f", median(c.throughput())), milliseconds(p50), milliseconds(p99), fmt.Sprint(c.errors()))
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	// What one core could do is the inverse of what each costs.
	ratio := medianRatio(nginx.cpu(), sluice.cpu())
	s.judge(ratio >= 0.8, "at equal CPU: at least 0.8 × nginx's handshakes", "%.2f", ratio)
	s.noErrors(sluice)
	return s, nil
}

// shakeConfig is that of all clients. There is no session cache, so nothing is resumed.
func shakeConfig() *tls.Config {
	return &tls.Config{
		// The certificate is signed by itself. That it has the key is still checked.
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		NextProtos:         []string{"http/1.1"},
	}
}

// runHandshakes makes handshakes, some at a time, for the duration of the load. It runs
// in this process, which is pinned to the side core.
func runHandshakes(ctx context.Context, _ cores, l load) (loadResult, error) {
	address := strings.TrimPrefix(l.url, "https://")
	address, _, _ = strings.Cut(address, "/")
	config := shakeConfig()
	begin := time.Now()
	end := begin.Add(l.duration)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		result  loadResult
		all     []time.Duration
		last    error
	)
	for range l.connections {
		workers.Go(func() {
			var took []time.Duration
			var failed int
			var problem error
			for ctx.Err() == nil && time.Now().Before(end) {
				d, err := shake(address, config)
				if err != nil {
					failed, problem = failed+1, err
					continue
				}
				took = append(took, d)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			result.errors += failed
			if problem != nil {
				last = problem
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return loadResult{}, ctx.Err()
	}
	if len(all) == 0 {
		return loadResult{}, fmt.Errorf("handshakes: none succeeded: %w", last)
	}
	slices.Sort(all)
	result.requests, result.took = len(all), time.Since(begin)
	result.p50, result.p99 = percentile(all, 50), percentile(all, 99)
	return result, nil
}

// shake connects, makes one handshake, and says goodbye. It waits for the server's
// goodbye: only then the server has checked the last message of the handshake (RFC
// 8446 section 4.4.4), which TLS 1.3 clients send without awaiting an answer. The
// time is that from connecting to the end of the client's part.
func shake(address string, config *tls.Config) (time.Duration, error) {
	begin := time.Now()
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	// Ports would run out in the minute that closed connections wait (RFC 9293
	// section 3.6.1); a reset leaves none behind.
	if err := raw.(*net.TCPConn).SetLinger(0); err != nil {
		return 0, err
	}
	if err := raw.SetDeadline(begin.Add(5 * time.Second)); err != nil {
		return 0, err
	}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if err := conn.CloseWrite(); err != nil {
		return 0, err
	}
	var rest [1]byte
	n, err := conn.Read(rest[:])
	if n > 0 {
		return 0, errors.New("the server spoke first")
	}
	if !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("after the handshake: %w", err)
	}
	return took, nil
}
