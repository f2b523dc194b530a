package http1

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// parseHead does with a whole head what readHead and exchange do.
func parseHead(text string) (*message.Exchange, *framing, *message.Problem) {
	x, f := &message.Exchange{}, &framing{}
	var scan headScan
	end, ok := scan.scan([]byte(text))
	if !ok {
		return x, f, message.BadRequest.WithDetail("a line of the request head does not end in CRLF")
	}
	if end == 0 {
		return x, f, message.RequestTimeout
	}
	return x, f, parseRequest(text[:end], scan.first, x, f)
}

func TestRefusedRequestHeads(t *testing.T) {
	t.Parallel()
	const host = "Host: example.com\r\n"
	get := func(fields string) string { return "GET / HTTP/1.1\r\n" + host + fields + "\r\n" }
	post := func(fields string) string { return "POST / HTTP/1.1\r\n" + host + fields + "\r\n" }
	bad := message.BadRequest
	for _, c := range []struct {
		head    string
		problem *message.Problem
		detail  string
	}{
		{"GET / HTTP/1.1\n" + host + "\r\n", bad, "CRLF"},
		{get("X: a\n"), bad, "CRLF"},
		{"\nGET / HTTP/1.1\r\n" + host + "\r\n", bad, "CRLF"},
		{"GET / HTTP/1.1\r\n" + host + "\n", bad, "CRLF"},
		{get("X: a\rb\r\n"), bad, "control character"},
		{get("X: a\r\r\n"), bad, "control character"},
		{get("X: a\x00\r\n"), bad, "control character"},
		{get("X: a\x7f\r\n"), bad, "control character"},
		{get("X: a\x0b\r\n"), bad, "control character"},
		{get("X\r: a\r\n"), bad, "no colon"},
		{get(" X: a\r\n"), bad, "folded"},
		{get("X: a\r\n\tb\r\n"), bad, "folded"},
		{get("X : a\r\n"), bad, "before the colon"},
		{get("X\t: a\r\n"), bad, "before the colon"},
		{get(": a\r\n"), bad, "no name"},
		{get("X\r\n"), bad, "no colon"},
		{get("X(: a\r\n"), bad, "not allowed"},
		{get("X\xe9: a\r\n"), bad, "not allowed"},
		{"\r\n" + get(""), bad, "begin with a method"},
		{" GET / HTTP/1.1\r\n" + host + "\r\n", bad, "begin with a method"},
		{"G(T / HTTP/1.1\r\n" + host + "\r\n", bad, "begin with a method"},
		{"GET\r\n" + host + "\r\n", bad, "begin with a method"},
		{"GET  / HTTP/1.1\r\n" + host + "\r\n", bad, "more than one space"},
		{"GET /\r\n" + host + "\r\n", bad, "no HTTP version"},
		{"GET /\r HTTP/1.1\r\n" + host + "\r\n", bad, "not allowed"},
		{"GET /\x80 HTTP/1.1\r\n" + host + "\r\n", bad, "not allowed"},
		{"GET /a#b HTTP/1.1\r\n" + host + "\r\n", bad, "not allowed"},
		{"GET / HTTP/1.1 \r\n" + host + "\r\n", bad, "end in an HTTP version"},
		{"GET / http/1.1\r\n" + host + "\r\n", bad, "end in an HTTP version"},
		{"GET / HTTP/1.10\r\n" + host + "\r\n", bad, "end in an HTTP version"},
		{"GET / HTTP/1.2\r\n" + host + "\r\n", message.VersionUnsupported, ""},
		{"PRI * HTTP/2.0\r\n\r\n", message.VersionUnsupported, ""},
		{"CONNECT example.com:443 HTTP/1.1\r\n" + host + "\r\n", message.ConnectRefused, ""},
		{"GET / HTTP/1.1\r\n\r\n", bad, "Host is missing"},
		{get(host), bad, "Host is given twice"},
		{"GET / HTTP/1.1\r\nHost:\r\n\r\n", bad, "Host is not a valid"},
		{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", bad, "Host is not a valid"},
		{"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", bad, "Host is not a valid"},
		{"GET * HTTP/1.1\r\n" + host + "\r\n", bad, "for OPTIONS only"},
		{"GET a HTTP/1.1\r\n" + host + "\r\n", bad, "origin, absolute or asterisk"},
		{"GET ftp://a/ HTTP/1.1\r\n" + host + "\r\n", bad, "origin, absolute or asterisk"},
		{"GET http:///a HTTP/1.1\r\n" + host + "\r\n", bad, "origin, absolute or asterisk"},
		{"GET http://a@b/ HTTP/1.1\r\n" + host + "\r\n", bad, "origin, absolute or asterisk"},
		{post("Content-Length: +5\r\n"), bad, "plain number"},
		{post("Content-Length: -5\r\n"), bad, "plain number"},
		{post("Content-Length: 5, 5\r\n"), bad, "plain number"},
		{post("Content-Length: 5 5\r\n"), bad, "plain number"},
		{post("Content-Length: 0x5\r\n"), bad, "plain number"},
		{post("Content-Length: \r\n"), bad, "plain number"},
		{post("Content-Length: 9223372036854775808\r\n"), bad, "plain number"},
		{post("Content-Length: 00000000000000000005\r\n"), bad, "plain number"},
		{post("Content-Length: 5\r\nContent-Length: 5\r\n"), bad, "given twice"},
		{post("Content-Length: 5\r\ncontent-length: 6\r\n"), bad, "given twice"},
		{post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), bad, "stand together"},
		{"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", bad, "HTTP/1.0 request"},
		{post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), bad, "given twice"},
		{post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), bad, "given twice"},
		{post("Transfer-Encoding: identity\r\n"), bad, "not chunked"},
		{post("Transfer-Encoding: \r\n"), bad, "not chunked"},
		{post("Transfer-Encoding: chunked, identity\r\n"), bad, "not once and last"},
		{post("Transfer-Encoding: chunked, chunked\r\n"), bad, "not once and last"},
		{post("Transfer-Encoding: chunked,\r\n"), bad, "not exactly chunked"},
		{post("Transfer-Encoding: chunked;q=1\r\n"), bad, "not chunked"},
		{post("Transfer-Encoding: \"chunked\"\r\n"), bad, "not chunked"},
		{post("Transfer-Encoding: \x0bchunked\r\n"), bad, "control character"},
		{post("Transfer-Encoding : chunked\r\n"), bad, "before the colon"},
		{post("Transfer-Encoding: xchunked\r\n"), message.UnknownCoding, ""},
		{post("Transfer-Encoding: gzip, chunked\r\n"), message.UnknownCoding, ""},
		{post("Expect: 200-ok\r\n"), message.ExpectationFailed, ""},
		{post("Expect: 200-ok\r\nExpect: 100-continue\r\n"), message.ExpectationFailed, ""},
		{post("Expect: 100-continue\r\nExpect: 200-ok\r\n"), message.ExpectationFailed, ""},
		{get("Connection: host\r\n"), bad, "not hop-by-hop"},
		{get("Connection: Content-Length\r\n"), bad, "not hop-by-hop"},
		{get("Connection: close, Authorization\r\n"), bad, "not hop-by-hop"},
		{get("Connection: x-forwarded-for\r\n"), bad, "not hop-by-hop"},
		{get("Connection: a b\r\n"), bad, "not a field name"},
		{get("Connection: " + strings.Repeat("a,", 33) + "\r\n"), bad, "too many fields"},
		{get(strings.Repeat("Connection: a,b,c\r\n", 11)), bad, "too many fields"},
	} {
		_, _, p := parseHead(c.head)
		if p == nil || p.Code != c.problem.Code || !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%q: %v, wanted %s %q", c.head, p, c.problem.Code, c.detail)
		} else if !p.CloseConnection {
			t.Errorf("%q: %v does not end the connection", c.head, p)
		}
	}
}

func TestAcceptedRequestHeads(t *testing.T) {
	t.Parallel()
	type want struct {
		method, authority, path, query, fields string
		hasQuery                               bool
	}
	for head, w := range map[string]want{
		"GET /a?b=c HTTP/1.1\r\nHost: Example.COM:80\r\n\r\n":                                                   {"GET", "example.com:80", "/a", "b=c", "", true},
		"GET /? HTTP/1.1\r\nHost: a.\r\n\r\n":                                                                   {"GET", "a", "/", "", "", true},
		"get //a;b?x?y HTTP/1.1\r\nHost: a\r\n\r\n":                                                             {"get", "a", "//a;b", "x?y", "", true},
		"GET http://B:8/c HTTP/1.1\r\nHost: a\r\n\r\n":                                                          {"GET", "b:8", "/c", "", "", false},
		"GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n":                                                             {"GET", "b", "/", "", "", false},
		"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n":                                                            {"GET", "b", "/", "q", "", true},
		"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n":                                                          {"OPTIONS", "b", "*", "", "", false},
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n":                                                                 {"OPTIONS", "a", "*", "", "", false},
		"GET / HTTP/1.0\r\n\r\n":                                                                                {"GET", "", "/", "", "", false},
		"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t b c\t \r\n\r\n":                                               {"GET", "a", "/", "", "X= Y=b c", false},
		"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\tz\r\nx: 2\r\n\r\n":                                               {"GET", "a", "/", "", "X=\xe9\tz x=2", false},
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-a , keep-alive\r\nX-A: 1\r\nX-B: 2\r\n\r\n":                 {"GET", "a", "/", "", "X-B=2", false},
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-a\r\nConnection: x-b\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n\r\n": {"GET", "a", "/", "", "X-C=3", false},
		"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nTrailer: X\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\nProxy-Authorization: b\r\nHTTP2-Settings: c\r\n\r\n": {"GET", "a", "/", "", "TE=trailers", false},
		"GET / HTTP/1.1\r\nHost: a\r\nDate: d\r\nRange: r\r\n\r\n": {"GET", "a", "/", "", "Date=d Range=r", false},
	} {
		x, _, p := parseHead(head)
		if p != nil {
			t.Errorf("%q: %v", head, p)
			continue
		}
		var fields []string
		for _, f := range x.Request.Header.Fields() {
			fields = append(fields, f.Name+"="+f.Value)
		}
		r := &x.Request
		got := want{r.Method, r.Authority, r.RawPath, r.Query, strings.Join(fields, " "), r.HasQuery}
		if got != w {
			t.Errorf("%q:\n got %+v\nwant %+v", head, got, w)
		}
	}
}

func TestConnectionListCostsItsLength(t *testing.T) {
	t.Parallel()
	// Each list is kept once, however many names stand in it.
	head := "GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d\r\nConnection: e,f,g,h\r\n\r\n"
	_, f, p := parseHead(head)
	if p != nil || f.named != "a,b,c,d,e,f,g,h" {
		t.Errorf("%q, %v", f.named, p)
	}
}

func TestUpgradeOffers(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]string{
		"Connection: upgrade\r\nUpgrade: websocket\r\n":          "websocket",
		"Connection: a, Upgrade\r\nUpgrade: x\r\nUpgrade: y\r\n": "x, y",
		"Upgrade: websocket\r\n":                                 "",
		"Connection: upgrade\r\n":                                "",
		"Connection: upgrade\r\nUpgrade: h2c\r\n":                "",
		"Connection: upgrade\r\nUpgrade: websocket, H2C\r\n":     "",
	} {
		_, f, p := parseHead("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n")
		if p != nil || upgradeOf(f) != want {
			t.Errorf("%q: %q, %v", fields, upgradeOf(f), p)
		}
	}
}

func TestHeadScanLooksAtEveryCut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", "\r\n", "a\r\n\r\n", "a\nb\r\n\r\n", "a\r\n\n", "a\r\r\n\r\n", "\n", "a\r\nb",
	} {
		var whole headScan
		end, ok := whole.scan([]byte(text))
		for i := range len(text) + 1 {
			var s headScan
			e, o := s.scan([]byte(text[:i]))
			if o && e == 0 {
				e, o = s.scan([]byte(text))
			}
			if e != end || o != ok || ok && (s.first != whole.first || s.lines != whole.lines) {
				t.Errorf("%q cut at %d: %d %v %+v, whole %d %v %+v", text, i, e, o, s, end, ok, whole)
			}
		}
	}
}
