package http1

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestConnectionReuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, answer string
		body                 string
		fails                string // code of the failure, or of the body's error
		idle                 bool
	}{
		{name: "length", answer: okAnswer, body: "ok", idle: true},
		{name: "length of nought", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", idle: true},
		{name: "chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", body: "ok", idle: true},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", idle: true},
		{name: "304 with a length", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", idle: true},
		{name: "HEAD with a length", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", idle: true},
		{name: "HEAD in chunks", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", idle: true},
		{name: "HEAD without a length", method: "HEAD", answer: "HTTP/1.1 200 OK\r\n\r\n", idle: true},
		{name: "HTTP/1.0 keep-alive", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", body: "ok", idle: true},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "close", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "until the end", answer: "HTTP/1.1 200 OK\r\n\r\nok", body: "ok"},
		{name: "bytes behind the body", answer: okAnswer + "!", body: "ok"},
		{name: "another answer behind the body", answer: okAnswer + okAnswer, body: "ok"},
		{name: "bytes behind HEAD", method: "HEAD", answer: okAnswer, fails: "upstream_malformed_response"},
		{name: "short", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", body: "ok", fails: "upstream_body_broken"},
		{name: "bad chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n", fails: "upstream_body_broken"},
		{name: "no answer", answer: "", fails: "upstream_closed"},
		{name: "part of a head", answer: "HTTP/1.1 200 OK\r\nConte", fails: "upstream_closed"},
		{name: "no HTTP", answer: "SSH-2.0-x\r\n\r\n", fails: "upstream_malformed_response"},
		{name: "bare LF", answer: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", fails: "upstream_malformed_response"},
		{name: "status of 99", answer: "HTTP/1.1 099 OK\r\n\r\n", fails: "upstream_malformed_response"},
		{name: "status of 600", answer: "HTTP/1.1 600 OK\r\n\r\n", fails: "upstream_malformed_response"},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", fails: "upstream_malformed_response"},
		{name: "204 with a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", fails: "upstream_malformed_response"},
		{name: "101 that nobody asked for", answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", fails: "upstream_malformed_response"},
		{name: "head past its limit", answer: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70000) + "\r\n\r\n", fails: "upstream_header_too_large"},
		{name: "fields past their limit", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: 1\r\n", 201) + "\r\n", fails: "upstream_header_too_large"},
		{name: "large head", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + strings.Repeat("a", 30000) + "\r\n\r\nok", body: "ok", idle: true},
		{name: "interim answers without end", answer: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 101), fails: "upstream_malformed_response"},
		{name: "interim answer, then the end", answer: "HTTP/1.1 102 Processing\r\n\r\n", fails: "upstream_closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pool := &stubPool{}
			o := startOrigin(t, func(_ int, p *peer) {
				p.head()
				p.send(c.answer)
				if c.idle { // Stay, until the test has looked at what became of the connection.
					_, _ = p.rest()
				}
			})
			conn := o.connect(ClientLimits{}, pool)
			x, _ := newExchange()
			if c.method != "" {
				x.Request.Method = c.method
			}
			f := conn.RoundTrip(x, &x.Request, &x.Response)
			var problem *message.Problem
			body := ""
			if f != nil {
				problem = f.Problem
				if len(c.answer) > 0 != f.Answered || !f.Sent {
					t.Errorf("answered %v, sent %v", f.Answered, f.Sent)
				}
			} else if x.Response.Body != nil {
				var err error
				body, err = drink(x.Response.Body)
				problem, _ = err.(*message.Problem)
			}
			if problem == nil && c.fails != "" || problem != nil && problem.Code != c.fails || body != c.body {
				t.Errorf("got %q and %v, wanted %q and %q", body, problem, c.body, c.fails)
			}
			idle, dead := pool.idle.Load(), pool.dead.Load()
			if idle+dead != 1 || (idle == 1) != c.idle {
				t.Errorf("%d times idle, %d times dead", idle, dead)
			}
			if idle == 1 {
				if !conn.Quiet() || conn.buffers != nil || conn.x != nil {
					t.Error("an idle connection holds on to something")
				}
				conn.Close()
			}
		})
	}
}

// Whoever reads or closes an answer's body once too often must not reach the exchange
// that the connection carries by then.
func TestBodyIsLetGoOfAtItsEnd(t *testing.T) {
	t.Parallel()
	o := startOrigin(t, func(_ int, p *peer) {
		for range 2 {
			p.head()
			p.send(okAnswer)
		}
		_, _ = p.rest()
	})
	pool := &stubPool{}
	conn := o.connect(ClientLimits{}, pool)
	x, _ := newExchange()
	if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	old := x.Response.Body
	if got, err := drink(old); got != "ok" || err != nil {
		t.Fatal(got, err)
	}
	y, _ := newExchange()
	if f := conn.RoundTrip(y, &y.Request, &y.Response); f != nil {
		t.Fatal(f)
	}
	if _, err := old.Next(); err != io.EOF {
		t.Errorf("reading on: %v", err)
	}
	_ = old.Close()
	_ = old.Close()
	if got, err := drink(y.Response.Body); got != "ok" || err != nil {
		t.Errorf("the second exchange: %q, %v", got, err)
	}
	if pool.idle.Load() != 2 || pool.dead.Load() != 0 {
		t.Error(pool.idle.Load(), pool.dead.Load())
	}
	conn.Close()
}

func TestBodyClosedEarly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer string
		idle   bool
	}{
		{okAnswer, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true}, // Its end was there.
	} {
		o := startOrigin(t, func(_ int, p *peer) { p.head(); p.send(c.answer); _, _ = p.rest() })
		pool := &stubPool{}
		conn := o.connect(ClientLimits{}, pool)
		x, _ := newExchange()
		if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		x.Response.CloseBody()
		if (pool.idle.Load() == 1) != c.idle || pool.idle.Load()+pool.dead.Load() != 1 {
			t.Errorf("%q: idle %d, dead %d", c.answer, pool.idle.Load(), pool.dead.Load())
		}
		conn.Close()
	}
}

func TestStaleConnection(t *testing.T) {
	t.Parallel()
	for name, newBody := range map[string]func() message.Body{
		"none":   func() message.Body { return nil },
		"small":  func() message.Body { return message.NewBytes([]byte("small")) },
		"large":  func() message.Body { return message.NewBytes(make([]byte, 20000)) },
		"stream": func() message.Body { return &listBody{chunks: []string{"a"}, length: 1, err: io.EOF} },
	} {
		for _, idle := range []string{"", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
			said := make(chan struct{})
			o := startOrigin(t, func(_ int, p *peer) {
				p.head()
				p.send(okAnswer)
				<-said
				if p.send(idle); idle != "" {
					_, _ = p.rest()
				}
			})
			pool := &stubPool{}
			conn := o.connect(ClientLimits{}, pool)
			x, _ := newExchange()
			if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
				t.Fatal(f)
			}
			_, _ = drink(x.Response.Body)
			close(said)
			for conn.Quiet() { // What the origin says arrives in its time.
				runtime.Gosched()
			}
			y, _ := newExchange()
			y.Request.Method, y.Request.Body = "POST", newBody()
			f := conn.RoundTrip(y, &y.Request, &y.Response)
			if f == nil || f.Sent || f.Answered || f.Problem != message.UpstreamClosed {
				t.Errorf("%s behind %q: %+v", name, idle, f)
			}
			if pool.dead.Load() != 1 {
				t.Error("the pool was not told")
			}
		}
	}
}

func TestInterimAnswers(t *testing.T) {
	t.Parallel()
	o := startOrigin(t, func(_ int, p *peer) {
		p.head()
		p.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n" + okAnswer)
	})
	x, w := newExchange()
	if f := o.connect(ClientLimits{}, &stubPool{}).RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	if len(w.informed) != 2 || !strings.HasSuffix(w.informed[0], "\na") || !strings.HasSuffix(w.informed[1], "\nb") {
		t.Errorf("%q", w.informed)
	}
	if x.Response.Header.Has("Link") {
		t.Error("a field of an interim answer stands in the final one")
	}
	x.Response.CloseBody()
}

func TestRequestsOnTheWire(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("x", 20000)
	for _, c := range []struct {
		name string
		fill func(r *message.Request)
		want string
	}{
		{"GET", func(*message.Request) {}, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"},
		{"query", func(r *message.Request) { r.HasQuery = true }, "GET /? HTTP/1.1\r\nHost: example.com\r\n\r\n"},
		{"POST without a body", func(r *message.Request) { r.Method = "POST" }, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"},
		{"TE", func(r *message.Request) { r.Header.Add("TE", "trailers") }, "GET / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\nConnection: TE\r\n\r\n"},
		{"small", func(r *message.Request) { r.Body = message.NewBytes([]byte("ab")) }, "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nab"},
		{"empty", func(r *message.Request) { r.Body = message.NewBytes(nil) }, "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"},
		{"large", func(r *message.Request) { r.Body = message.NewBytes([]byte(many)) }, "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 20000\r\n\r\n" + many},
		{"streamed", func(r *message.Request) {
			r.Body = &listBody{chunks: []string{"a", "bc"}, length: 3, err: io.EOF}
		}, "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc"},
		{"in chunks", func(r *message.Request) {
			b := &listBody{chunks: []string{"a", "bc"}, length: -1, err: io.EOF}
			b.trailer.Add("X-Sum", "1")
			r.Body = b
		}, "GET / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"in chunks, there", func(r *message.Request) {
			r.Body = &listBody{chunks: []string{"abc"}, length: -1, err: io.EOF, ready: true}
		}, "GET / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"no chunk, there", func(r *message.Request) { r.Body = &listBody{length: -1, err: io.EOF, ready: true} }, "GET / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			o := startOrigin(t, func(_ int, p *peer) {
				got <- p.read(len(c.want))
				p.send(okAnswer)
				if rest, _ := p.rest(); rest != "" {
					t.Errorf("and %q", rest)
				}
			})
			pool := &stubPool{}
			conn := o.connect(ClientLimits{}, pool)
			x, w := newExchange()
			c.fill(&x.Request)
			f := conn.RoundTrip(x, &x.Request, &x.Response)
			if f != nil {
				t.Fatal(f)
			}
			if g := <-got; g != c.want {
				t.Errorf("got %q, wanted %q", g, c.want)
			}
			_, _ = drink(x.Response.Body)
			if pool.idle.Load() != 1 || w.lent != w.returned {
				t.Errorf("idle %d, lent %v, returned %v", pool.idle.Load(), w.lent, w.returned)
			}
			conn.Close()
		})
	}
}

// A body that is not as long as announced must not make the origin read something
// else as the next request, or wait.
func TestRequestBodyOfAnotherLength(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body *listBody
		code string
	}{
		{&listBody{chunks: []string{"a", "bcd"}, length: 3, err: io.EOF}, "internal_error"},
		{&listBody{chunks: []string{"abcd"}, length: 3, err: io.EOF, ready: true}, "internal_error"},
		{&listBody{chunks: []string{"a"}, length: 3, err: io.EOF}, "internal_error"},
		{&listBody{length: 3, err: io.EOF, ready: true}, "internal_error"},
		{&listBody{chunks: []string{"a"}, length: 3, err: message.RequestBodyTooSlow}, "request_body_timeout"},
		{&listBody{chunks: []string{"a"}, length: 3, err: message.ErrBodyTooLarge}, "request_too_large"},
		{&listBody{chunks: []string{"a"}, length: 3, err: errors.New("odd")}, "bad_request_body"},
		{&listBody{length: 3, err: errors.New("odd"), ready: true}, "bad_request_body"},
	} {
		seen := make(chan string, 1)
		o := startOrigin(t, func(_ int, p *peer) {
			got, _ := p.rest()
			seen <- got
		})
		pool := &stubPool{}
		x, _ := newExchange()
		x.Request.Body = c.body
		f := o.connect(ClientLimits{}, pool).RoundTrip(x, &x.Request, &x.Response)
		if f == nil || f.Problem.Code != c.code || pool.dead.Load() != 1 {
			t.Errorf("%+v: %v, wanted %s", c.body, f, c.code)
		}
		if got := <-seen; strings.HasSuffix(got, "abcd") || strings.HasSuffix(got, "abc") {
			t.Errorf("%+v: the origin got %q", c.body, got)
		}
	}
}

// gateBody gives its chunks when a test lets it, and ends when it is stopped.
type gateBody struct {
	chunks  chan string
	stopped chan struct{}
	length  int64
}

func (b *gateBody) Next() ([]byte, error) {
	select {
	case chunk, ok := <-b.chunks:
		if !ok {
			return nil, io.EOF
		}
		return []byte(chunk), nil
	case <-b.stopped:
		return nil, message.ClientGone
	}
}
func (b *gateBody) Length() int64            { return b.length }
func (b *gateBody) Trailer() *message.Header { return nil }
func (b *gateBody) Close() error             { return nil }

func TestEarlyAnswerStopsTheUpload(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"} {
		o := startOrigin(t, func(_ int, p *peer) {
			p.head()
			p.expect("a").send(answer)
			_, _ = p.rest()
		})
		pool := &stubPool{}
		x, w := newExchange()
		body := &gateBody{chunks: make(chan string, 1), stopped: w.stopped, length: 5}
		body.chunks <- "a"
		x.Request.Body = body
		if f := o.connect(ClientLimits{}, pool).RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		if b := x.Response.Body; b != nil {
			if _, err := drink(b); err != nil {
				t.Error(err)
			}
		}
		if x.Response.Status != 413 || !w.returned || pool.dead.Load() != 1 {
			t.Errorf("%d, returned %v, dead %d", x.Response.Status, w.returned, pool.dead.Load())
		}
	}
}

// bubbleOrigin plays an origin over net.Pipe under a clock that stands still.
func bubbleOrigin(t *testing.T, limits ClientLimits, script func(nc net.Conn), play func(t *testing.T, conn *ClientConn, pool *stubPool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			script(far)
			_, _ = io.Copy(io.Discard, far)
		}()
		limits := limits.WithDefaults()
		pool := &stubPool{}
		conn := NewClientConn(near, &limits, pool)
		play(t, conn, pool)
		conn.Close()
		<-ended
	})
}

var clientTimes = ClientLimits{ResponseTimeout: 10 * time.Second, BodyTimeout: 40 * time.Second}

func TestOriginTimeouts(t *testing.T) {
	t.Parallel()
	readSome := func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1000)) }
	bubbleOrigin(t, clientTimes, readSome, func(t *testing.T, conn *ClientConn, pool *stubPool) {
		x, _ := newExchange()
		time.Sleep(30 * time.Second) // What policies take is not the origin's time.
		start := time.Now()
		f := conn.RoundTrip(x, &x.Request, &x.Response)
		if f == nil || f.Problem != message.UpstreamTimeout || !within(time.Since(start).Truncate(time.Microsecond), 10*time.Second) || pool.dead.Load() != 1 {
			t.Errorf("%v after %v", f, time.Since(start))
		}
	})
	bubbleOrigin(t, clientTimes, func(nc net.Conn) {
		readSome(nc)
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
		time.Sleep(39 * time.Second)
		_, _ = io.WriteString(nc, "b")
	}, func(t *testing.T, conn *ClientConn, pool *stubPool) {
		x, _ := newExchange()
		start := time.Now()
		if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		got, err := drink(x.Response.Body)
		if p, _ := err.(*message.Problem); got != "ab" || p == nil || p.Code != "upstream_body_broken" ||
			!within(time.Since(start).Truncate(time.Microsecond)-39*time.Second, 40*time.Second) || pool.dead.Load() != 1 {
			t.Errorf("%q, %v after %v", got, err, time.Since(start))
		}
	})
}

// The time for the answer begins when the request has been sent.
func TestResponseTimeoutWaitsForTheUpload(t *testing.T) {
	t.Parallel()
	for _, interim := range []string{"", "HTTP/1.1 102 Processing\r\n\r\n"} {
		for _, answers := range []bool{true, false} {
			bubbleOrigin(t, clientTimes, func(nc net.Conn) {
				b := make([]byte, 1000)
				_, _ = nc.Read(b)
				_, _ = io.WriteString(nc, interim)
				for n := 0; n < 5; {
					got, _ := nc.Read(b)
					n += got
				}
				if answers {
					time.Sleep(9 * time.Second)
					_, _ = io.WriteString(nc, okAnswer)
				}
			}, func(t *testing.T, conn *ClientConn, pool *stubPool) {
				x, w := newExchange()
				w.stopped = make(chan struct{})
				body := &gateBody{chunks: make(chan string), stopped: w.stopped, length: 5}
				go func() {
					for range 5 {
						time.Sleep(30 * time.Second)
						body.chunks <- "a"
					}
					close(body.chunks)
				}()
				x.Request.Body = body
				start := time.Now()
				f := conn.RoundTrip(x, &x.Request, &x.Response)
				if answers {
					if f != nil {
						t.Fatal(f)
					}
					_, _ = drink(x.Response.Body)
					if pool.idle.Load() != 1 {
						t.Error("the connection was not kept")
					}
					return
				}
				if after := time.Since(start) - 150*time.Second; f == nil || f.Problem != message.UpstreamTimeout || !within(after.Truncate(time.Microsecond), 10*time.Second) {
					t.Errorf("%v after %v", f, after)
				}
			})
		}
	}
}

// An origin that neither reads nor answers is given up.
func TestOriginThatStopsReading(t *testing.T) {
	t.Parallel()
	bubbleOrigin(t, clientTimes, func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 1000))
		time.Sleep(10 * time.Minute)
	}, func(t *testing.T, conn *ClientConn, pool *stubPool) {
		x, _ := newExchange()
		x.Request.Body = message.NewBytes(make([]byte, 100000))
		start := time.Now()
		f := conn.RoundTrip(x, &x.Request, &x.Response)
		if after := time.Since(start); f == nil || f.Problem != message.UpstreamTimeout || after > 2*time.Minute {
			t.Errorf("%v after %v", f, after)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	o := startOrigin(t, func(n int, p *peer) {
		p.head()
		if n == 1 {
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
		}
		asked <- struct{}{}
		_, _ = p.rest()
	})
	for n := range 2 {
		pool := &stubPool{}
		conn := o.connect(ClientLimits{}, pool)
		x, w := newExchange()
		go func() {
			<-asked
			for w.waits.Load() == nil { // In the second round: until it waits for the body.
				runtime.Gosched()
			}
			conn.Cancel()
		}()
		f := conn.RoundTrip(x, &x.Request, &x.Response)
		if n == 0 && (f == nil || f.Problem != message.ClientGone) {
			t.Errorf("%v", f)
		}
		if f == nil {
			if _, err := drink(x.Response.Body); err != message.ClientGone {
				t.Error(err)
			}
		}
		if pool.dead.Load() != 1 {
			t.Error("the connection was kept")
		}
	}
}

// Whoever waits for a body finds out that nothing has come, and the origin's silence is no longer than it
// may be.
func TestWaitForBody(t *testing.T) {
	t.Parallel()
	bubbleOrigin(t, clientTimes, func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 1000))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		time.Sleep(25 * time.Second)
		_, _ = io.WriteString(nc, "1\r\nb\r\n")
	}, func(t *testing.T, conn *ClientConn, pool *stubPool) {
		x, _ := newExchange()
		if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		body, waiter := x.Response.Body, x.Response.Body.(message.Waiter)
		start, said := time.Now(), ""
		for {
			if !waiter.Wait(10 * time.Second) {
				said += "."
				continue
			}
			chunk, err := body.Next()
			said += string(chunk)
			if err == nil {
				continue
			}
			took := time.Since(start).Truncate(time.Second)
			if p, _ := err.(*message.Problem); p == nil || p.Code != "upstream_body_broken" || took != 65*time.Second {
				t.Errorf("%v after %v", err, took)
			}
			break
		}
		if said != "a..b..." || !waiter.Wait(time.Hour) {
			t.Errorf("%q", said)
		}
	})
}

func TestCancelWait(t *testing.T) {
	t.Parallel()
	bubbleOrigin(t, clientTimes, func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 1000))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	}, func(t *testing.T, conn *ClientConn, pool *stubPool) {
		x, _ := newExchange()
		if f := conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		time.AfterFunc(time.Second, conn.Cancel)
		if !x.Response.Body.(message.Waiter).Wait(10 * time.Second) {
			t.Error("nothing has come")
		}
		if _, err := x.Response.Body.Next(); err != message.ClientGone {
			t.Error(err)
		}
	})
}
