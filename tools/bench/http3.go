//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// overHTTP3 compares HTTP/3 with an origin that speaks HTTP/1.1. Debian's nginx does not speak it.
func (b *bench) overHTTP3() (section, error) {
	s := section{
		title: fmt.Sprintf("HTTP/3 to an HTTP/1.1 origin, 16 connections × %d requests, a 70-byte answer", streams),
		head:  []string{"", "CPU µs/request", "ratio to Caddy", "requests/s", "p50 ms", "p99 ms", "errors"},
		notes: []string{"Both have their QUIC from quic-go, in different versions; the framing of Sluice is its own."},
	}
	if err := b.writeCertificate(); err != nil {
		return s, err
	}
	sluice, err := b.startSluiceWithHTTP3()
	if err != nil {
		return s, err
	}
	caddy, err := b.startSecureCaddy("h1 h2 h3")
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, caddy}
	for _, c := range all {
		c.load.generate, c.load.connections = runHTTP3, 16
	}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		p50, p99 := c.latency()
		s.add(c.name, microseconds(c.cpu()), times(medianRatio(c.cpu(), caddy.cpu())),
			fmt.Sprintf("%.0f", median(c.throughput())), milliseconds(p50), milliseconds(p99), fmt.Sprint(c.errors()))
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	ratio := medianRatio(sluice.cpu(), caddy.cpu())
	s.judge(ratio <= 1.0, "at most 1.0 × Caddy", "%.2f", ratio)
	s.noErrors(sluice)
	return s, nil
}

func (b *bench) startSluiceWithHTTP3() (*contender, error) {
	g, err := b.newGateway("sluice")
	if err != nil {
		return nil, err
	}
	g.tls = "    protocols: [http/1.1, h2, h3]\n" + secureListener
	c, err := b.startGateway(g, b.origin, bareRoute)
	if err != nil {
		return nil, err
	}
	c.secure()
	return c, nil
}

// runHTTP3 sends requests over HTTP/3, as many at a time as h2load does, for the duration of the load.
// It runs in this process, which is pinned to the side core.
func runHTTP3(ctx context.Context, _ cores, l load) (loadResult, error) {
	target, err := url.Parse(l.url)
	if err != nil {
		return loadResult{}, err
	}
	request := requestHTTP3(target)
	begin := time.Now()
	ctx, cancel := context.WithDeadline(ctx, begin.Add(l.duration))
	defer cancel()
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		result  loadResult
		all     []time.Duration
		last    error
	)
	for range l.connections {
		conn, err := dialHTTP3(target.Host)
		if err != nil {
			return loadResult{}, fmt.Errorf("h3: %w", err)
		}
		defer func() { _ = conn.CloseWithError(0x100, "") }()
		for range streams {
			workers.Go(func() {
				var took []time.Duration
				var failed int
				var received int64
				var problem error
				for ctx.Err() == nil {
					began := time.Now()
					n, err := askHTTP3(conn, request)
					if received += n; err == nil {
						took = append(took, time.Since(began))
						continue
					}
					if failed, problem = failed+1, err; conn.Context().Err() != nil {
						break
					}
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, took...)
				result.errors += failed
				result.bytes += received
				last = errors.Join(last, problem)
			})
		}
	}
	workers.Wait()
	if len(all) == 0 {
		return loadResult{}, fmt.Errorf("h3: no request was answered: %w", last)
	}
	slices.Sort(all)
	result.requests, result.took = len(all), time.Since(begin)
	result.p50, result.p99 = percentile(all, 50), percentile(all, 99)
	return result, nil
}

// dialHTTP3 connects and says what a client has to (RFC 9114 section 3.2).
func dialHTTP3(address string) (*quic.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	secure := &tls.Config{InsecureSkipVerify: true, ServerName: "bench.example.com", NextProtos: []string{"h3"}}
	conn, err := quic.DialAddr(ctx, address, secure, nil)
	if err != nil {
		return nil, err
	}
	control, err := conn.OpenUniStream()
	if err != nil {
		return nil, err
	}
	_, err = control.Write([]byte{0x00, 0x04, 0x00})
	return conn, err
}

// requestHTTP3 is what goes over the stream of each request.
func requestHTTP3(target *url.URL) []byte {
	var block bytes.Buffer
	e := qpack.NewEncoder(&block)
	for _, f := range []qpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: target.Host},
		{Name: ":path", Value: target.Path}, {Name: "user-agent", Value: "bench"}, {Name: "accept", Value: "*/*"},
	} {
		_ = e.WriteField(f) // Into memory.
	}
	return append(quicvarint.Append([]byte{0x01}, uint64(block.Len())), block.Bytes()...)
}

// askHTTP3 sends one request and reads its answer, which must be a 200.
func askHTTP3(conn *quic.Conn, request []byte) (received int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return 0, err
	}
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err = s.Write(request); err != nil {
		return 0, err
	}
	if err := s.Close(); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(s)
	if err != nil {
		return 0, err
	}
	if len(answer) < 2 || answer[0] != 0x01 {
		return 0, errors.New("the answer does not begin with HEADERS")
	}
	length, n, err := quicvarint.Parse(answer[1:])
	if err != nil || uint64(len(answer)-1-n) < length {
		return 0, errors.New("the answer's head is cut")
	}
	status, err := qpack.NewDecoder().Decode(answer[1+n : 1+n+int(length)])()
	if err != nil || status.Value != "200" {
		return 0, fmt.Errorf("the answer's status is %q: %w", status.Value, err)
	}
	return int64(len(answer)), nil
}
