package engine

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// loopback is a whole gateway between real sockets: clients, wire, engine, upstream,
// and an origin that costs as little as can be.
type loopback struct {
	t      testing.TB
	rig    *rig
	origin net.Listener
	server net.Listener
	served atomic.Int64 // connections that the origin has
	wait   sync.WaitGroup
}

const (
	loopbackRequest  = "GET /orders/17?full=1 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: loopback/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n"
	loopbackAnswer   = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: application/json\r\nContent-Length: 70\r\n\r\n" + loopbackDocument
	loopbackDocument = `{"id":17,"state":"sent","lines":[{"article":"A-1","count":2,"x":1234}]`
)

func newLoopback(t testing.TB) *loopback {
	t.Helper()
	l := &loopback{t: t, rig: newRig(t)}
	l.origin = l.listen(func(nc net.Conn) {
		l.served.Add(1)
		defer l.served.Add(-1)
		buf := make([]byte, 4096)
		answer := []byte(loopbackAnswer)
		for {
			n, err := nc.Read(buf)
			if err != nil {
				return
			}
			if !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				t.Error("the request came in parts")
				return
			}
			if _, err := nc.Write(answer); err != nil {
				return
			}
		}
	})
	l.reload()
	server := http1.NewServer("web", http1.Limits{}, l.rig.Engine)
	l.server = l.listen(func(nc net.Conn) {
		server.Admit()
		server.ServeConn(nc, netip.AddrPort{})
	})
	t.Cleanup(func() {
		_ = l.server.Close()
		server.Close()
		_ = l.rig.Close() // With the upstream, or the origin would wait for it.
		_ = l.origin.Close()
		l.wait.Wait()
	})
	return l
}

// reload puts a snapshot with an upstream of its own in force.
func (l *loopback) reload() {
	l.t.Helper()
	config := upstream.Config{Name: "orders", Endpoints: []upstream.EndpointConfig{{Address: l.origin.Addr().String()}}}
	u := upstream.New(config, l.rig.gateway.Upstream("orders"), nil)
	s := l.rig.snapshot(nil, on{path: "/orders/{id}", target: func(x *message.Exchange) error {
		return u.RoundTrip(x, &x.Request, &x.Response)
	}})
	s.Release = u.Close
	l.rig.Swap(s)
}

func (l *loopback) listen(serve func(nc net.Conn)) net.Listener {
	l.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	l.wait.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			l.wait.Go(func() { defer nc.Close(); serve(nc) })
		}
	})
	return listener
}

// caller is a client that allocates nothing.
type caller struct {
	nc  net.Conn
	buf [4096]byte
}

func (l *loopback) dial() *caller {
	l.t.Helper()
	nc, err := net.Dial("tcp", l.server.Addr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = nc.Close() })
	return &caller{nc: nc}
}

var loopbackBytes, documentBytes = []byte(loopbackRequest), []byte(loopbackDocument)

// ask returns the answer, which is complete when the document has come.
func (c *caller) ask() ([]byte, error) {
	if _, err := c.nc.Write(loopbackBytes); err != nil {
		return nil, err
	}
	have := 0
	for {
		n, err := c.nc.Read(c.buf[have:])
		have += n
		if bytes.HasSuffix(c.buf[:have], documentBytes) {
			return c.buf[:have], nil
		}
		if err == nil && have == len(c.buf) {
			err = io.ErrShortBuffer
		}
		if err != nil {
			return c.buf[:have], err
		}
	}
}

// TestLoopback is the budget of everything together: one string for the head of the
// request and one for that of the answer.
func TestLoopback(t *testing.T) {
	l := newLoopback(t)
	c := l.dial()
	answer, err := c.ask()
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")) {
		t.Fatalf("%q, %v", answer, err)
	}
	run := func() {
		if _, err := c.ask(); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 { // Pools fill.
		run()
	}
	if n := testing.AllocsPerRun(500, run); n > 2 && !raceEnabled {
		t.Errorf("%v allocations an exchange", n)
	}
}

// TestReloadLosesNothing reloads while clients ask: every request is answered, and no
// connection of an upstream that was taken away stays open.
func TestReloadLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLoopback(t)
	var stop atomic.Bool
	var asked atomic.Int64
	var wait sync.WaitGroup
	for range 4 {
		c := l.dial()
		wait.Go(func() {
			for !stop.Load() {
				answer, err := c.ask()
				if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")) {
					t.Errorf("%q, %v", answer, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for n := range int64(50) {
		l.reload()
		l.rig.reapOnce()
		for asked.Load() < 10*n && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	stop.Store(true)
	wait.Wait()
	if err := l.rig.Close(); err != nil {
		t.Error(err)
	}
	for l.served.Load() > 0 { // The test's own time limit ends this if it must.
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkServeLoopback is one client after the other's answer: what an exchange
// takes from socket to socket, client and origin included.
func BenchmarkServeLoopback(b *testing.B) {
	l := newLoopback(b)
	c := l.dial()
	b.ReportAllocs()
	for b.Loop() {
		if answer, err := c.ask(); err != nil {
			b.Fatalf("%q, %v", answer, err)
		}
	}
}

// BenchmarkServeLoopbackParallel keeps the cores busy.
func BenchmarkServeLoopbackParallel(b *testing.B) {
	l := newLoopback(b)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := l.dial()
		for pb.Next() {
			if answer, err := c.ask(); err != nil {
				b.Errorf("%q, %v", answer, err)
				return
			}
		}
	})
}
