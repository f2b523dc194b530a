package http1

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, request string
		limits        Limits
		keeps         bool
		has           string
	}{
		{name: "HTTP/1.1", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", keeps: true},
		{name: "HTTP/1.1 close", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", has: "Connection: close\r\n"},
		{name: "HTTP/1.1 close in a list", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", has: "Connection: close\r\n"},
		{name: "HTTP/1.0", request: "GET / HTTP/1.0\r\n\r\n", has: "Connection: close\r\n"},
		{name: "HTTP/1.0 keep-alive", request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", keeps: true, has: "Connection: keep-alive\r\n"},
		{name: "HTTP/1.0 keep-alive and close", request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", has: "Connection: close\r\n"},
		{name: "the last of so many", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits: Limits{Requests: 1}, has: "Connection: close\r\n"},
		{name: "refused", request: "GET / HTTP/1.1\r\n\r\n", has: "Connection: close\r\n"},
		{name: "unread body that is short", request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", keeps: true},
		{name: "unread body in chunks", request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", keeps: true},
		{name: "unread body that is long", request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 80000\r\n\r\n", has: "Connection: close\r\n"},
		{name: "body that waits for 100", request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", has: "Connection: close\r\n"},
		{name: "body that did not wait for 100", request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", keeps: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, c.limits, hello).dial()
			p.send(c.request)
			head, _ := p.answer()
			if !strings.Contains(head, c.has) || c.keeps && strings.Contains(head, "Connection: close") {
				t.Errorf("%q", head)
			}
			if !c.keeps {
				_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
				p.closed()
				return
			}
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("200", "hello")
		})
	}
}

func TestLimitsOfHeads(t *testing.T) {
	t.Parallel()
	const line = "GET /%s HTTP/1.1\r\nHost: a\r\n"
	path := func(n int) string {
		return strings.Replace(line, "%s", strings.Repeat("a", n-len("GET / HTTP/1.1")), 1)
	}
	fill := func(n int) string { // a head of n bytes
		head := "GET / HTTP/1.1\r\nHost: a\r\nX: "
		return head + strings.Repeat("a", n-len(head)-4) + "\r\n\r\n"
	}
	small := Limits{RequestLine: 100, HeaderBytes: 400, HeaderFields: 4}
	for _, c := range []struct {
		name, request, status string
		limits                Limits
	}{
		{"line at its limit", path(100) + "\r\n", "200", small},
		{"line past its limit", path(101) + "\r\n", "414", small},
		{"line without end", "GET /" + strings.Repeat("a", 100), "414", small},
		{"head at its limit", fill(400), "200", small},
		{"head past its limit", fill(401), "431", small},
		{"head without end", strings.TrimSuffix(fill(405), "\r\n\r\n"), "431", small},
		{"fields at their limit", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 1\r\n", 3) + "\r\n", "200", small},
		{"fields past their limit", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 1\r\n", 4) + "\r\n", "431", small},
		{"large head", fill(20000), "200", Limits{}},
		{"head larger than any buffer", strings.TrimSuffix(fill(70000), "\r\n\r\n"), "431", Limits{HeaderBytes: 1 << 20}},
		{"line larger than any buffer", path(70000), "431", Limits{HeaderBytes: 1 << 20, RequestLine: 1 << 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, c.limits, hello).dial().send(c.request)
			p.wants(c.status, "")
		})
	}
}

// A head in the large buffer must not leave it behind: the small one goes back to
// its pool while the connection is idle.
func TestLargeHeadThenOthers(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, echo)
	first, second := g.dial(), g.dial()
	large := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 20000) + "\r\n\r\n"
	post := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
	for range 50 {
		first.send(large).wants("200", "")
		second.send(post + "ab")
		first.send(post+"hello").wants("200", "hello")
		second.send("cde").wants("200", "abcde")
		first.send(large).wants("200", "")
		first.send("GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("b", 9000)).send("\r\n\r\n").wants("200", "")
	}
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		data, err := x.Request.ReadBody(100)
		if err != nil {
			data = []byte(err.Error())
		}
		_ = say(x, 200, x.Request.RawPath+string(data))
	}))
	p := g.dial().send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n" +
		"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\nGET /5 HTTP/1.1\r\n\r\nGET /6 HTTP/1.1\r\nHost: a\r\n\r\n")
	p.wants("200", "/1")
	p.wants("200", "/2abc")
	p.wants("200", "/3de")
	p.wants("200", "/4")
	p.wants("400", "Host is missing")
	_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
	p.closed() // Nothing behind a refusal is read.
}

func TestEmptyLineBetweenRequests(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	g := serve(t, Limits{}, hello)
	// However the line is cut up, one is dropped, and none before the first request.
	for _, between := range [][]string{{"\r\n" + get}, {"\r", "\n" + get}, {"\r\n", get}, {"\r", "\n", get}} {
		p := g.dial().send(get)
		p.wants("200", "hello")
		for _, piece := range between {
			p.send(piece)
		}
		p.wants("200", "hello")
	}
	p := g.dial().send(get)
	p.wants("200", "hello")
	p.send("\r\n\r\n"+get).wants("400", "")
	g.dial().send("\r\n"+get).wants("400", "")
}

func TestContinue(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	t.Run("sent when the body is wanted", func(t *testing.T) {
		t.Parallel()
		p := serve(t, Limits{}, echo).dial().send(head)
		p.expect("HTTP/1.1 100 Continue\r\n\r\n").send("hello").wants("200", "hello")
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("200", "")
	})
	t.Run("not sent when the body is not wanted", func(t *testing.T) {
		t.Parallel()
		p := serve(t, Limits{}, hello).dial().send(head)
		if h := p.wants("200", "hello"); !strings.Contains(h, "Connection: close") {
			t.Errorf("%q: the body would be read as a request", h)
		}
	})
	t.Run("not sent to HTTP/1.0", func(t *testing.T) {
		t.Parallel()
		p := serve(t, Limits{}, echo).dial().send(strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1))
		p.send("hello").wants("200", "hello")
	})
	t.Run("an unknown expectation", func(t *testing.T) {
		t.Parallel()
		serve(t, Limits{}, echo).dial().send(strings.Replace(head, "100-continue", "tea", 1)).wants("417", "")
	})
}

func TestRequestBodiesThatBreak(t *testing.T) {
	t.Parallel()
	const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for body, detail := range map[string]string{
		"5\r\nhello":                      "", // never ends: see below
		"x\r\n":                           "1 to 16 hex digits",
		"\r\n":                            "1 to 16 hex digits",
		" 5\r\nhello":                     "1 to 16 hex digits",
		"-5\r\nhello":                     "1 to 16 hex digits",
		"0x5\r\nhello":                    "extension is malformed",
		"5_0\r\nhello":                    "extension is malformed",
		"5 \r\nhello":                     "extension is malformed",
		"5 ;a\r\nhello":                   "extension is malformed",
		"5;\r\nhello":                     "extension is malformed",
		"5; a\r\nhello":                   "extension is malformed",
		"5;a=\r\nhello":                   "extension is malformed",
		"5;a=\"\r\nhell":                  "extension is malformed",
		"5;a=\"\x01\"\r\nh":               "extension is malformed",
		"5;a\rb\r\nh":                     "extension is malformed",
		"5\nhello":                        "does not end in CRLF",
		"5;a\nhello":                      "does not end in CRLF",
		"00000000000000005\r\nhello":      "1 to 16 hex digits",
		"7fffffffffffffff\r\nhello":       "1 to 16 hex digits",
		"ffffffffffffffff\r\nhello":       "1 to 16 hex digits",
		"5;a=" + strings.Repeat("b", 300): "too long",
		"5;a=" + strings.Repeat("b", 255) + "\r\n":              "extension is too long",
		"5\r\nhelloX\n0\r\n\r\n":                                "not followed by CRLF",
		"5\r\nhello\n\n":                                        "not followed by CRLF",
		"5\r\nhello!\r\n":                                       "not followed by CRLF",
		"0\r\nX\r\n\r\n":                                        "no colon",
		"0\r\n X: 1\r\n\r\n":                                    "folded",
		"0\r\nX: 1\n\r\n":                                       "trailer line does not end",
		"0\r\nX: 1\r\n\n":                                       "trailer line does not end",
		"0\r\nContent-Length: a\r\n\r\n":                        "plain number",
		"0\r\n" + strings.Repeat("X: 1\r\n", 101) + "\r\n":      "too many fields",
		"0\r\nX: " + strings.Repeat("a", 9000):                  "too large",
		"0\r\nX: " + strings.Repeat("a", 8190) + "\r\n\r\n":     "too large",
		"0\r\nX: " + strings.Repeat("a", 70000) + "\r\n\r\nabc": "too large",
	} {
		name := body
		if len(name) > 40 {
			name = name[:40]
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, Limits{}, echo).dial().send(chunked + body)
			if detail == "" {
				_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
				detail = "ended early"
			}
			if h := p.wants("400", detail); !strings.Contains(h, "Connection: close") {
				t.Errorf("%q: what follows would be read as a request", h)
			}
		})
	}
}

func TestRequestTrailers(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		b := x.Request.Body
		data, err := drink(b)
		if err != nil {
			data = err.Error()
		}
		_ = say(x, 200, data+" "+strings.Join(sortedFields(b.Trailer()), " "))
	}))
	p := g.dial().send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: b\r\n" +
		"Content-Length: 3\r\nTransfer-Encoding: gzip\r\nConnection: x\r\nAuthorization: c\r\nX-Forwarded-For: d\r\nX-Consumer-Name: e\r\n" +
		"X_Consumer_Name: f\r\nx_forwarded_host: g\r\nX-Real_IP: h\r\nCookie: i\r\nX-Other: 2\r\n\r\n")
	if _, body := p.answer(); body != "hello x-other=2 x-sum=1" {
		t.Errorf("%q", body)
	}
	p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if _, body := p.answer(); body != " " {
		t.Errorf("trailers of the request before: %q", body)
	}
}

// listBody returns its chunks, then err.
type listBody struct {
	chunks  []string
	err     error
	length  int64
	trailer message.Header
	ready   bool
	closed  atomic.Int32
}

func (b *listBody) Next() ([]byte, error) {
	if len(b.chunks) == 0 {
		return nil, b.err
	}
	chunk := b.chunks[0]
	b.chunks = b.chunks[1:]
	return []byte(chunk), nil
}
func (b *listBody) Length() int64            { return b.length }
func (b *listBody) Trailer() *message.Header { return &b.trailer }
func (b *listBody) Close() error             { b.closed.Add(1); return nil }
func (b *listBody) Ready() bool              { return b.ready }

func TestAnswersOnTheWire(t *testing.T) {
	t.Parallel()
	body := func(length int64, err error, chunks ...string) func(x *message.Exchange) {
		return func(x *message.Exchange) {
			x.Response.Body = &listBody{chunks: chunks, length: length, err: err}
		}
	}
	large := strings.Repeat("0123456789abcdef", 1000)
	broken := errors.New("broken")
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct {
		name, request string
		fill          func(x *message.Exchange)
		want          string // the answer without Date
		code          string // of Respond's error
		ends, reset   bool
	}{
		{name: "length", request: get, fill: body(5, io.EOF, "hel", "lo"), want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
		{name: "chunks", request: get, fill: body(-1, io.EOF, "hel", "lo"), want: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"},
		{name: "large chunks", request: get, fill: body(-1, io.EOF, large, "x", large), want: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e80\r\n" + large + "\r\n1\r\nx\r\n3e80\r\n" + large + "\r\n0\r\n\r\n"},
		{name: "empty in chunks", request: get, fill: body(-1, io.EOF), want: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{name: "trailers", request: get, want: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", fill: func(x *message.Exchange) {
			b := &listBody{chunks: []string{"a"}, length: -1, err: io.EOF}
			b.trailer.Add("X-Sum", "1")
			x.Response.Body = b
		}},
		{name: "no body", request: get, fill: func(*message.Exchange) {}, want: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "HEAD", request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", fill: body(5, io.EOF, "hello"), want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{name: "HEAD without a length", request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", fill: body(-1, io.EOF, "hello"), want: "HTTP/1.1 200 OK\r\n\r\n"},
		{name: "HEAD with the length of the origin", request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", fill: func(x *message.Exchange) { x.Response.Length = 7 }, want: "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"},
		{name: "204", request: get, fill: func(x *message.Exchange) { x.Response.Status = 204; body(5, io.EOF, "hello")(x) }, want: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "304", request: get, fill: func(x *message.Exchange) { x.Response.Status = 304; x.Response.Length = 5 }, want: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
		{name: "HTTP/1.0 until the end", request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", fill: body(-1, io.EOF, "hel", "lo"), want: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", ends: true},
		{name: "longer than announced", request: get, fill: body(5, io.EOF, "hello", "!"), want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", code: "upstream_body_broken", ends: true},
		{name: "shorter than announced", request: get, fill: body(5, io.EOF, "hell"), want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", code: "upstream_body_broken", ends: true},
		{name: "broken", request: get, fill: body(5, broken, "hell"), want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", code: "upstream_body_broken", ends: true},
		{name: "broken in chunks", request: get, fill: body(-1, broken, "hell"), want: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n", code: "upstream_body_broken", ends: true},
		{name: "broken by the client's side", request: get, fill: body(5, message.ClientGone, "hell"), want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", code: "client_gone", ends: true},
		{name: "broken until the end", request: "GET / HTTP/1.0\r\n\r\n", fill: body(-1, broken, "hell"), code: "upstream_body_broken", reset: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			result := make(chan error, 1)
			p := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
				if x.Request.RawPath == "/second" {
					_ = say(x, 299, "second")
					return
				}
				x.Response.Status = 200
				x.Response.Header.Append("Date", "now")
				c.fill(x)
				b, _ := x.Response.Body.(*listBody)
				err := x.Wire().Respond(x)
				if b != nil && b.closed.Load() == 0 {
					t.Error("the body was not closed")
				}
				result <- err
			})).dial().send(c.request)
			if !c.reset {
				p.send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
				_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
			}
			got, err := p.rest()
			if c.reset != errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("reading ends with %v; wanted a reset: %v", err, c.reset)
			}
			first, _, second := strings.Cut(got, "HTTP/1.1 299 \r\n")
			if first = strings.Replace(first, "Date: now\r\n", "", 1); !c.reset && first != c.want {
				t.Errorf("got %q, wanted %q", first, c.want)
			}
			if second == (c.ends || c.reset) {
				t.Errorf("another request was answered: %v", second)
			}
			problem, _ := (<-result).(*message.Problem)
			if problem == nil && c.code != "" || problem != nil && problem.Code != c.code {
				t.Errorf("Respond says %v, wanted %q", problem, c.code)
			}
		})
	}
}
