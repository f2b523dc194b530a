//go:build !race

package http1

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// The budgets hold without the race detector, under which pools forget on purpose.

var helloBytes = []byte("hello")

// quiet answers without an allocation.
var quiet = handlerFunc(func(x *message.Exchange) {
	x.Response.Status = 200
	x.Response.SetBody(helloBytes)
	_ = x.Wire().Respond(x)
	x.Times.Done = time.Millisecond
})

const plainGet = "GET /some/path?with=query HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"

func TestServerExchangeBudget(t *testing.T) {
	// One allocation: the string of the head, which everybody may keep slices of.
	for name, request := range map[string]string{
		"GET":    plainGet,
		"POST":   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"chunks": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		nc, stop := loopback(t, quiet)
		in, out := []byte(request), make([]byte, 4096)
		n := testing.AllocsPerRun(500, func() { exchangeOnce(nc, in, out) })
		stop()
		if n > 1 {
			t.Errorf("%s: %v allocations an exchange, 1 is allowed", name, n)
		}
	}
}

// loopback serves one connection.
func loopback(tb testing.TB, handler message.Handler) (net.Conn, func()) {
	tb.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := NewServer("test", Limits{}, handler)
	var work sync.WaitGroup
	work.Go(func() {
		if nc, err := socket.Accept(); err == nil {
			server.Admit()
			server.ServeConn(nc, netip.AddrPort{})
		}
	})
	nc, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return nc, func() {
		_ = nc.Close()
		_ = socket.Close()
		work.Wait()
	}
}

// exchangeOnce expects an answer that comes in one piece.
func exchangeOnce(nc net.Conn, in, out []byte) {
	if _, err := nc.Write(in); err != nil {
		panic(err)
	}
	if _, err := nc.Read(out); err != nil {
		panic(err)
	}
}

// repeatOrigin answers every read with the same bytes.
func repeatOrigin(tb testing.TB, answer string) (*ClientConn, func()) {
	tb.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		nc, err := socket.Accept()
		if err != nil {
			return
		}
		in, out := make([]byte, 4096), []byte(answer)
		for {
			if _, err := nc.Read(in); err != nil {
				_ = nc.Close()
				return
			}
			_, _ = nc.Write(out)
		}
	})
	nc, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	limits := ClientLimits{}.WithDefaults()
	conn := NewClientConn(nc, &limits, &stubPool{})
	return conn, func() {
		conn.Close()
		_ = socket.Close()
		work.Wait()
	}
}

const plainAnswer = "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: application/json\r\nContent-Length: 5\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n\r\nhello"

func TestRoundTripBudget(t *testing.T) {
	for name, answer := range map[string]string{
		"length": plainAnswer,
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		conn, stop := repeatOrigin(t, answer)
		x, _ := newExchange()
		small := message.NewBytes(helloBytes)
		for _, body := range []message.Body{nil, small} {
			n := testing.AllocsPerRun(500, func() {
				x.Response.Reset()
				small.Rewind()
				x.Request.Body = body
				roundTripOnce(conn, x)
			})
			if n > 1 {
				t.Errorf("%s, body %v: %v allocations a round trip, 1 is allowed", name, body != nil, n)
			}
		}
		stop()
	}
}

func roundTripOnce(conn *ClientConn, x *message.Exchange) {
	if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
		panic(f)
	}
	for {
		if _, err := x.Response.Body.Next(); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
	}
}

func TestParserBudget(t *testing.T) {
	x, f, c := &message.Exchange{}, &framing{}, &serverConn{server: NewServer("", Limits{}, nil)}
	first := strings.Index(plainGet, "\r\n") + 2
	if n := testing.AllocsPerRun(100, func() {
		x.Reset()
		*f = framing{}
		if p := parseRequest(plainGet, first, x, f); p != nil {
			panic(p)
		}
	}); n != 0 {
		t.Errorf("parseRequest: %v allocations", n)
	}
	head, _, _ := strings.Cut(plainAnswer, "hello")
	first = strings.Index(head, "\r\n") + 2
	if n := testing.AllocsPerRun(100, func() {
		x.Response.Reset()
		*f = framing{}
		if why := parseResponse(head, first, &x.Response, f); why != "" {
			panic(why)
		}
	}); n != 0 {
		t.Errorf("parseResponse: %v allocations", n)
	}
	out := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { c.appendHead(out, x, bodyPlan{length: 5}) }); n != 0 {
		t.Errorf("appendHead: %v allocations", n)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	x, f := &message.Exchange{}, &framing{}
	first := strings.Index(plainGet, "\r\n") + 2
	b.ReportAllocs()
	for b.Loop() {
		x.Reset()
		*f = framing{}
		_ = parseRequest(plainGet, first, x, f)
	}
}

func BenchmarkParseResponse(b *testing.B) {
	r, f := &message.Response{}, &framing{}
	head, _, _ := strings.Cut(plainAnswer, "hello")
	first := strings.Index(head, "\r\n") + 2
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		*f = framing{}
		_ = parseResponse(head, first, r, f)
	}
}

func BenchmarkAppendHead(b *testing.B) {
	x, f, c := &message.Exchange{}, &framing{}, &serverConn{server: NewServer("", Limits{}, nil)}
	head, _, _ := strings.Cut(plainAnswer, "hello")
	_ = parseResponse(head, strings.Index(head, "\r\n")+2, &x.Response, f)
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		c.appendHead(out, x, bodyPlan{length: 5})
	}
}

func BenchmarkExchange(b *testing.B) {
	nc, stop := loopback(b, quiet)
	defer stop()
	in, out := []byte(plainGet), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		exchangeOnce(nc, in, out)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	conn, stop := repeatOrigin(b, plainAnswer)
	defer stop()
	x, _ := newExchange()
	b.ReportAllocs()
	for b.Loop() {
		x.Response.Reset()
		roundTripOnce(conn, x)
	}
}
