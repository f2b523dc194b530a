//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// idle holds many connections that have each served one request and now wait, and
// says what each costs in memory.
func (b *bench) idle() (section, error) {
	n, err := roomForConnections(b.options.idle)
	if err != nil {
		return section{}, err
	}
	s := section{
		title: fmt.Sprintf("%d idle keep-alive connections that have each served a request", n),
		head:  []string{"", "memory before MiB", "after MiB", "KiB/connection", "heap KiB/connection", "failed"},
		notes: []string{"Memory is the resident memory of the processes; heap is what Go says of live and not yet collected objects, where the program tells it."},
	}
	if n < b.options.idle {
		s.notes = append(s.notes, fmt.Sprintf("%d connections were wanted; the limit of open files allows %d.", b.options.idle, n))
	}
	sluice, err := b.startSluice("sluice", bareRoute)
	if err != nil {
		return s, err
	}
	nginx, err := b.startNginx("nginx", "", "")
	if err != nil {
		return s, err
	}
	for _, c := range []*contender{sluice, nginx} {
		cost, err := b.holdIdle(c, n, talk{first: askOnce, again: askOnce})
		if err != nil {
			return s, fmt.Errorf("%s: %w", c.name, err)
		}
		heap := "–"
		if cost.heap > 0 {
			heap = kibibytes(cost.heap)
		}
		s.add(c.name, mebibytes(cost.before), mebibytes(cost.after), kibibytes(cost.each), heap, fmt.Sprint(cost.failed))
		if c == sluice {
			s.judge(cost.each <= 10<<10, "at most 10 KiB a connection", "%s KiB", kibibytes(cost.each))
			s.judge(cost.failed == 0, "no failed request", "%d of %d", cost.failed, n)
		}
	}
	return s, nil
}

// roomForConnections raises our limit of open files and says how many connections
// fit, up to the number that is wanted.
func roomForConnections(want int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	// The proxy needs as many again for itself, in a process of its own.
	needed := uint64(want + 1000)
	if limit.Cur < needed {
		raised := syscall.Rlimit{Cur: needed, Max: max(limit.Max, needed)}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
			raised = syscall.Rlimit{Cur: limit.Max, Max: limit.Max}
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
				return 0, err
			}
		}
		limit = raised
	}
	return min(want, int(limit.Cur)-1000), nil
}

// idleCost is what idle connections cost, in bytes.
type idleCost struct {
	before, after int64
	each, heap    int64 // per connection
	failed        int
}

// talk is what a connection says when it is new, and later, to see that it lives.
type talk struct {
	tls          *tls.Config // nil in clear text
	first, again func(net.Conn, *bufio.Reader) error
}

// holdIdle opens connections, lets each talk, and looks at what they cost together.
func (b *bench) holdIdle(c *contender, n int, t talk) (idleCost, error) {
	// What is allocated once at the first requests is not the connections' fault.
	warm := c.load
	warm.connections, warm.duration = 1, time.Second
	if _, err := runWrk(b.ctx, b.machine.cores, warm); err != nil {
		return idleCost{}, err
	}
	before, err := c.process.usage()
	if err != nil {
		return idleCost{}, err
	}
	heapBefore := b.heap(c)

	var cost idleCost
	held := make([]net.Conn, 0, n)
	defer func() {
		for _, conn := range held {
			conn.Close() //nolint:errcheck // Nothing is left to lose.
		}
	}()
	reader := bufio.NewReader(nil)
	for range n {
		if b.ctx.Err() != nil {
			return cost, b.ctx.Err()
		}
		conn, err := net.DialTimeout("tcp", c.address, 5*time.Second)
		if err == nil {
			if t.tls != nil {
				conn = tls.Client(conn, t.tls)
			}
			held = append(held, conn)
			err = t.first(conn, reader)
		}
		if err != nil {
			cost.failed++
			if cost.failed > n/10 {
				return cost, fmt.Errorf("connection %d: %w", len(held), err)
			}
		}
	}
	b.pause(3 * time.Second)
	after, err := c.process.usage()
	if err != nil {
		return cost, err
	}
	cost.before, cost.after = before.resident, after.resident
	cost.each = (after.resident - before.resident) / int64(n)
	if heapBefore > 0 {
		cost.heap = (b.heap(c) - heapBefore) / int64(n)
	}
	// A connection that the proxy has closed meanwhile would be no idle one.
	for _, conn := range held {
		if err := t.again(conn, reader); err != nil {
			cost.failed++
		}
	}
	return cost, nil
}

// askOnce sends a request and reads the whole answer.
func askOnce(conn net.Conn, reader *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET /orders/17 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"); err != nil {
		return err
	}
	reader.Reset(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// pause waits, or less if the program is interrupted.
func (b *bench) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
	}
}

// heap asks Sluice's metrics for the bytes in the heap; 0 when they do not say.
func (b *bench) heap(c *contender) int64 {
	if c.admin == "" {
		return 0
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + c.admin + "/metrics")
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != heapMetric {
			continue
		}
		if bytes, err := strconv.ParseFloat(value, 64); err == nil {
			return int64(bytes)
		}
	}
	return 0
}

// heapMetric is the gauge of Sluice that says how much its heap holds.
const heapMetric = "go_heap_objects_bytes"
