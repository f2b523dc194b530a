package http1

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/attempt"
	"github.com/sluice-gateway/sluice/message"
)

func TestPassedThrough(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 20000)
	g, k := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
		for {
			line, err := p.r.ReadString('\n')
			if err != nil {
				return
			}
			head := line + p.head()
			switch {
			case strings.Contains(line, "/echo") && strings.Contains(head, "chunked"):
				body := ""
				for !strings.HasSuffix(body, "0\r\n\r\n") {
					body += p.read(1)
				}
				p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
			case strings.Contains(line, "/large"):
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 320000\r\n\r\n" + large)
			case strings.Contains(line, "/hints"):
				p.send("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + okAnswer)
			default:
				p.send(okAnswer)
			}
		}
	})
	p := g.dial()
	for range 3 {
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("200", "ok")
		p.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").wants("200", large)
		p.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
		if head := p.head(); head != "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" {
			t.Errorf("%q", head)
		}
		p.wants("200", "ok")
		p.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").send("0\r\n\r\n")
		p.head()
		p.expect("5\r\nhello\r\n0\r\n\r\n")
		p.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
		p.expect("HTTP/1.1 100 Continue\r\n\r\n").send("0\r\n\r\n")
		p.head()
		p.expect("0\r\n\r\n")
	}
	if k.dead.Load() != 0 {
		t.Errorf("%d connections were thrown away", k.dead.Load())
	}
	k.closeIdle()
	p.send("GET /hints HTTP/1.0\r\n\r\n")
	if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") { // The idle connection was closed: nothing stale is used.
		t.Errorf("%q", head)
	}
}

func TestOriginDies(t *testing.T) {
	t.Parallel()
	const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
	for _, c := range []struct {
		name, request string
		script        func(p *peer)
		want          string // the beginning of what the client gets
		broken        bool   // the answer had begun
	}{
		{"before the request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(*peer) {}, "HTTP/1.1 502 ", false},
		{"behind the request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(p *peer) { p.head() }, "HTTP/1.1 502 ", false},
		{"in the head", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(p *peer) { p.head(); p.send("HTTP/1.1 200 OK\r\nX") }, "HTTP/1.1 502 ", false},
		{"in the upload", post + "he", func(p *peer) { p.head() }, "HTTP/1.1 502 ", false},
		{"in the upload, with an answer", post + "he", func(p *peer) {
			p.head()
			p.read(2)
			p.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
		}, "HTTP/1.1 413 ", false},
		{"a body that is wrong from the start", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(p *peer) {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
			_, _ = p.rest()
		}, "HTTP/1.1 502 ", false},
		{"in the body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(p *peer) {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		}, "HTTP/1.1 200 OK\r\n", true},
		{"in a chunk", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(p *peer) {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
		}, "HTTP/1.1 200 OK\r\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, k := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) { c.script(p) })
			p := g.dial().send(c.request)
			head := p.head()
			if !strings.HasPrefix(head, c.want) {
				t.Fatalf("%q, wanted %q", head, c.want)
			}
			_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
			body, _ := p.rest()
			if whole := strings.HasSuffix(body, "0\r\n\r\n") || strings.Contains(head, "Content-Length: "+itoa(len(body))+"\r\n"); whole == c.broken {
				t.Errorf("the body %q of %q is whole: %v", body, head, whole)
			}
			if k.dead.Load() != 1 {
				t.Errorf("%d connections were thrown away", k.dead.Load())
			}
		})
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// An answer that comes early ends the upload, and the client's connection with it:
// nobody knows where its body ends.
func TestEarlyAnswerOnTheWire(t *testing.T) {
	t.Parallel()
	g, _ := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
		p.head()
		p.expect("he").send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		_, _ = p.rest()
	})
	p := g.dial().send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
	if head := p.wants("403", ""); !strings.Contains(head, "Connection: close") {
		t.Errorf("%q", head)
	}
	p.send("llo")
	_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
	p.closed()
}

// Answer and upload go on at the same time.
func TestBothDirectionsAtOnce(t *testing.T) {
	t.Parallel()
	g, k := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 5 {
			p.expect("1\r\n")
			c := p.read(1)
			p.expect("\r\n").send("1\r\n" + c + "\r\n")
		}
		p.expect("0\r\n\r\n").send("0\r\n\r\n")
		_, _ = p.rest()
	})
	p := g.dial().send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	p.head()
	for _, c := range []string{"h", "e", "l", "l", "o"} {
		p.send("1\r\n" + c + "\r\n").expect("1\r\n" + c + "\r\n")
	}
	p.send("0\r\n\r\n").expect("0\r\n\r\n")
	p.send("GET / HTTP/1.1\r\n\r\n").wants("400", "Host is missing") // The connection was kept.
	if k.closeIdle() != 1 {
		t.Error("the origin's connection was not kept")
	}
}

func TestUploadThatBreaks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ more, status string }{
		"malformed": {"x\r\n", "400"},
		"cut off":   {"5\r\nhe", "400"},
	} {
		g, _ := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
			if got, _ := p.rest(); strings.HasSuffix(got, "0\r\n\r\n") {
				t.Errorf("%s: the origin got a complete request %q", name, got)
			}
		})
		p := g.dial().send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").send(c.more)
		_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
		p.wants(c.status, "bad_request_body")
	}
}

// The client's part fails while the origin's answer is on its way: the answer ends
// with the client's fault, and does not wait for an origin that waits.
func TestUploadThatBreaksBehindTheHead(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 1)
	o := startOrigin(t, func(_ int, p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		_, _ = p.rest()
	})
	k := newKeeper(o, ClientLimits{})
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Request.Path = x.Request.RawPath
		if f := k.take().RoundTrip(x, &x.Request, &x.Response); f != nil {
			errs <- f
			_ = say(x, 500, "")
			return
		}
		errs <- x.Wire().Respond(x)
	}))
	p := g.dial().send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	p.head()
	p.expect("he").send("x\r\n")
	if err, _ := (<-errs).(*message.Problem); err == nil || err.Code != "bad_request_body" {
		t.Errorf("%v", err)
	}
}

// A client that hangs up ends the wait for the origin.
func TestHangUp(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"} {
		asked, gone := make(chan struct{}), make(chan struct{})
		g, k := proxy(t, Limits{}, ClientLimits{ResponseTimeout: time.Hour}, func(_ int, p *peer) {
			p.head()
			p.send(answer)
			close(asked)
			if _, err := p.rest(); err != nil && isTimeout(err) {
				t.Error("the origin is still waited for")
			}
			close(gone)
		})
		p := g.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		<-asked
		if answer != "" {
			p.head()
			p.expect("he")
		}
		_ = p.nc.Close()
		<-gone
		<-k.died
	}
}

// Close cuts an exchange that waits for its origin.
func TestCloseEndsWaitingExchanges(t *testing.T) {
	t.Parallel()
	asked, gone := make(chan struct{}), make(chan struct{})
	g, _ := proxy(t, Limits{}, ClientLimits{ResponseTimeout: time.Hour}, func(_ int, p *peer) {
		p.head()
		close(asked)
		if _, err := p.rest(); err != nil && isTimeout(err) {
			t.Error("the origin is still waited for")
		}
		close(gone)
	})
	g.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-asked
	g.server.Close()
	<-gone
}

const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

func TestTunnel(t *testing.T) {
	t.Parallel()
	g, k := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
		if head := p.head(); !strings.Contains(head, "Connection: upgrade\r\nUpgrade: websocket\r\n") {
			t.Errorf("%q", head)
		}
		if n := p.r.Buffered(); n != 0 {
			t.Errorf("%d bytes came before the 101", n)
		}
		p.send(switching + "first") // Bytes of the tunnel may come with the 101.
		p.expect("early").expect("more").send("answer")
		if rest, err := p.rest(); rest != "" || err != nil { // The client's half is closed …
			t.Errorf("%q, %v", rest, err)
		}
		p.send("last words") // … and ours is not.
	})
	p := g.dial().send(upgrade + "early") // Bytes that a hasty client sends wait for the 101.
	if head := p.head(); head != "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" {
		t.Errorf("%q", head)
	}
	p.expect("first").send("more").expect("answer")
	_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
	p.expect("last words").closed()
	<-k.died
}

func TestTunnelOriginHalfCloses(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	g, _ := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
		defer close(done)
		p.head()
		p.send(switching + "bye")
		_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
		p.expect("still here")
	})
	p := g.dial().send(upgrade)
	p.head()
	p.expect("bye").closed()
	p.send("still here")
	<-done
}

// Behind the origin's last word a silent client does not keep a tunnel for ever.
func TestTunnelSilentClient(t *testing.T) {
	t.Parallel()
	const idle = 500 * time.Millisecond
	attempt.Run(t, idle, func(t *attempt.T) { silentClient(t, idle) })
}

func silentClient(t *attempt.T, idle time.Duration) {
	g, k := proxy(t, Limits{IdleTimeout: idle}, ClientLimits{}, func(_ int, p *peer) {
		p.head()
		p.send(switching).expect("ask").send("answer")
		_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
		if _, err := p.rest(); err != nil && isTimeout(err) {
			t.Error("the tunnel is still there")
		}
	})
	p := g.dial().send(upgrade)
	p.head()
	p.send("ask").expect("answer").closed()
	<-k.died
}

func TestTunnelEnds(t *testing.T) {
	t.Parallel()
	// Whoever goes first, both sides are closed.
	g, k := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
		p.head()
		p.send(switching)
		_, _ = p.rest()
	})
	p := g.dial().send(upgrade)
	p.head()
	_ = p.nc.Close()
	<-k.died
	// Close cuts tunnels.
	p = g.dial().send(upgrade)
	p.head()
	g.server.Close()
	_, _ = p.rest()
	<-k.died
}

// A server that drains tells both ends of a WebSocket to go away, and waits for their answers.
func TestTunnelDrains(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} { // The tunnel comes before Drain, or after it.
		asked, drained := make(chan struct{}), make(chan struct{})
		g, k := proxy(t, Limits{}, ClientLimits{}, func(_ int, p *peer) {
			p.head()
			close(asked)
			if late {
				<-drained
			}
			p.send(switching)
			if !late {
				p.send("\x81\x05hello")
			}
			frame := make([]byte, 8)
			if _, err := io.ReadFull(p.r, frame); err != nil || frame[0] != 0x88 || frame[1] != 0x82 || frame[6]^frame[2] != 3 || frame[7]^frame[3] != 0xe9 {
				t.Errorf("the origin got %x, %v", frame, err)
			}
			p.send("\x88\x02\x03\xe9")
			_, _ = p.rest()
		})
		p := g.dial().send(upgrade)
		if !late {
			p.head()
			p.expect("\x81\x05hello")
		} else {
			<-asked
		}
		g.server.Drain()
		close(drained)
		if late {
			p.head()
		}
		p.expect("\x88\x02\x03\xe9").send("\x88\x82\x00\x00\x00\x00\x03\xe9").closed()
		<-k.died
	}
}

func TestUpgradeIsForHTTP11(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) { _ = say(x, 200, "<"+x.Request.Upgrade+">") }))
	const fields = "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
	g.dial().send("GET / HTTP/1.1\r\n"+fields+"\r\n").wants("200", "<websocket>")
	g.dial().send("GET / HTTP/1.0\r\n"+fields+"\r\n").wants("200", "<>")
	g.dial().send("POST / HTTP/1.1\r\n"+fields+"Content-Length: 1\r\n\r\na").wants("200", "<>")
}

// A tunnel that became another answer, or none, is closed.
func TestTunnelThatIsNotUsed(t *testing.T) {
	t.Parallel()
	tunnel := &stubTunnel{closed: make(chan struct{})}
	errs := make(chan error, 1)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Tunnel = tunnel
		errs <- say(x, 403, "no")
	}))
	g.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("403", "no")
	<-tunnel.closed
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

type stubTunnel struct{ closed chan struct{} }

func (s *stubTunnel) Next() ([]byte, error)       { return nil, io.EOF }
func (s *stubTunnel) Wake()                       {}
func (s *stubTunnel) Write(p []byte) (int, error) { return len(p), nil }
func (s *stubTunnel) CloseWrite() error           { return nil }
func (s *stubTunnel) Close() error                { close(s.closed); return nil }

// An answer without a final status is our own fault, and nothing of it is written.
func TestAnswerWithoutStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 101, 199, 1000} {
		errs := make(chan error, 1)
		g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
			errs <- say(x, status, "odd")
			if x.Wire().Started() {
				t.Error("something was written")
			}
			x.Response.Reset()
			_ = say(x, 500, "fault")
		}))
		g.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("500", "fault")
		if p, _ := (<-errs).(*message.Problem); p == nil || p.Code != "internal_error" {
			t.Errorf("%d: %v", status, p)
		}
	}
}

func TestBytesAreCounted(t *testing.T) {
	t.Parallel()
	type count struct{ in, out int64 }
	counts := make(chan count, 1)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Header.Append("Date", "now")
		_, _ = x.Request.ReadBody(1 << 20)
		_ = say(x, 200, "hello")
		counts <- count{x.Wire().BytesIn(), x.Wire().BytesOut()}
	}))
	const out = int64(len("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\nhello"))
	p := g.dial()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, request := range []string{
		get,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		get,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("a", 100000),
		get,
	} {
		// The bytes of the one behind are not counted, though they are there.
		p.send(request + get)
		p.wants("200", "hello")
		if got := <-counts; got.in != int64(len(request)) || got.out != out {
			t.Errorf("%.60q: %+v, wanted %d and %d", request, got, len(request), out)
		}
		p.wants("200", "hello")
		<-counts
	}
}
