package conformance

// Accepted is a request that is odd but right: it is forwarded, and the origin
// gets it in one unambiguous form.
type Accepted struct {
	Name  string
	Rule  string
	Bytes string
	// Line is the request line at the origin; Has are fields that stand there with this
	// value, Lacks are names that do not.
	Line  string
	Has   map[string]string
	Lacks []string
	Body  string
	// Trailers at the origin, and names that must have been dropped.
	Trailers     map[string]string
	LacksTrailer []string
}

// AcceptedRequests reach the origin.
var AcceptedRequests = []Accepted{
	{Name: "plain request", Rule: "RFC 9112 §3", Bytes: get + end, Line: "GET / HTTP/1.1", Has: map[string]string{"Host": "example.com"}},
	{Name: "unknown method", Rule: "RFC 9110 §9.1", Bytes: "BREW /pot HTTP/1.1\r\n" + host + end, Line: "BREW /pot HTTP/1.1"},
	{Name: "method in lower case is another method", Rule: "RFC 9110 §9.1", Bytes: "get / HTTP/1.1\r\n" + host + end, Line: "get / HTTP/1.1"},
	{Name: "absolute form replaces Host", Rule: "RFC 9112 §3.2.2", Bytes: "GET http://other.example/a?b HTTP/1.1\r\n" + host + end, Line: "GET /a?b HTTP/1.1", Has: map[string]string{"Host": "other.example"}},
	{Name: "absolute form with an empty path", Rule: "RFC 9112 §3.2.2", Bytes: "GET http://other.example HTTP/1.1\r\n" + host + end, Line: "GET / HTTP/1.1", Has: map[string]string{"Host": "other.example"}},
	{Name: "absolute form with a query alone", Rule: "RFC 9112 §3.2.2", Bytes: "GET http://other.example?a HTTP/1.1\r\n" + host + end, Line: "GET /?a HTTP/1.1"},
	{Name: "absolute form with a scheme in upper case", Rule: "RFC 3986 §3.1", Bytes: "GET HTTP://other.example/a HTTP/1.1\r\n" + host + end, Line: "GET /a HTTP/1.1"},
	{Name: "OPTIONS with an asterisk", Rule: "RFC 9112 §3.2.4", Bytes: "OPTIONS * HTTP/1.1\r\n" + host + end, Line: "OPTIONS * HTTP/1.1"},
	{Name: "OPTIONS in absolute form without a path", Rule: "RFC 9112 §3.2.4", Bytes: "OPTIONS http://example.com HTTP/1.1\r\n" + host + end, Line: "OPTIONS * HTTP/1.1"},
	{Name: "Host in upper case", Rule: "RFC 9110 §4.2.3", Bytes: "GET / HTTP/1.1\r\nHost: EXAMPLE.Com\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"Host": "example.com"}},
	{Name: "Host with a dot at its end", Rule: "RFC 3986 §3.2.2", Bytes: "GET / HTTP/1.1\r\nHost: example.com.\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"Host": "example.com"}},
	{Name: "Host with a port", Rule: "RFC 9110 §7.2", Bytes: "GET / HTTP/1.1\r\nHost: example.com:8080\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"Host": "example.com:8080"}},
	{Name: "Host is an IPv6 address", Rule: "RFC 3986 §3.2.2", Bytes: "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"Host": "[2001:db8::1]:80"}},
	{Name: "white space around a value", Rule: "RFC 9112 §5.1", Bytes: get + "X-A: \t one two \t\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-A": "one two"}},
	{Name: "no white space in front of a value", Rule: "RFC 9112 §5.1", Bytes: get + "X-A:one\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-A": "one"}},
	{Name: "empty value", Rule: "RFC 9110 §5.5", Bytes: get + "X-A:\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-A": ""}},
	{Name: "tab inside a value", Rule: "RFC 9110 §5.5", Bytes: get + "X-A: one\ttwo\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-A": "one\ttwo"}},
	{Name: "bytes above 127 in a value", Rule: "RFC 9110 §5.5", Bytes: get + "X-A: \xe9\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-A": "\xe9"}},
	{Name: "a field twice stays twice", Rule: "RFC 9110 §5.3", Bytes: get + "X-A: one\r\nX-A: two\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-A": "one | two"}},
	{Name: "hop-by-hop fields stop here", Rule: "RFC 9110 §7.6.1", Bytes: get + "Connection: keep-alive, X-Hop\r\nX-Hop: one\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\r\n", Line: "GET / HTTP/1.1", Lacks: []string{"X-Hop", "Keep-Alive", "Proxy-Connection", "TE"}},
	{Name: "TE: trailers goes on", Rule: "RFC 9110 §10.1.4", Bytes: get + "TE: trailers, gzip\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"TE": "trailers"}},
	{Name: "proxy credentials stop here", Rule: "RFC 9110 §11.7.1", Bytes: get + "Proxy-Authorization: Basic YTpi\r\n\r\n", Line: "GET / HTTP/1.1", Lacks: []string{"Proxy-Authorization"}},
	{Name: "h2c is not offered on", Rule: "RFC 9113 §3.1", Bytes: get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", Line: "GET / HTTP/1.1", Lacks: []string{"Upgrade", "HTTP2-Settings"}},
	{Name: "names with an underscore are dropped", Rule: "the rule for names", Bytes: get + "X_A: one\r\nX-B: two\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-B": "two"}, Lacks: []string{"X_A"}},
	{Name: "names of the gateway are dropped", Rule: "the rule for names", Bytes: get + "X-Consumer-Name: root\r\nx-consumer-groups: admin\r\nX_Consumer_Name: root\r\n\r\n", Line: "GET / HTTP/1.1", Lacks: []string{"X-Consumer-Name", "X-Consumer-Groups", "X_Consumer_Name"}},
	{Name: "X-Forwarded-For of a stranger is replaced", Rule: "the rule for forwarding fields", Bytes: get + "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\r\n", Line: "GET / HTTP/1.1", Has: map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}, Lacks: []string{"Forwarded"}},
	{Name: "body with a length", Rule: "RFC 9112 §6.2", Bytes: post + "Content-Length: 5\r\n\r\nhello", Line: "POST / HTTP/1.1", Has: map[string]string{"Content-Length": "5"}, Lacks: []string{"Transfer-Encoding"}, Body: "hello"},
	{Name: "length with leading noughts", Rule: "RFC 9110 §8.6", Bytes: post + "Content-Length: 005\r\n\r\nhello", Line: "POST / HTTP/1.1", Has: map[string]string{"Content-Length": "5"}, Body: "hello"},
	{Name: "length of nought", Rule: "RFC 9112 §6.2", Bytes: post + "Content-Length: 0\r\n\r\n", Line: "POST / HTTP/1.1", Lacks: []string{"Transfer-Encoding"}},
	{Name: "GET with a body", Rule: "RFC 9110 §9.3.1", Bytes: get + "Content-Length: 5\r\n\r\nhello", Line: "GET / HTTP/1.1", Body: "hello"},
	{Name: "chunks", Rule: "RFC 9112 §7.1", Bytes: chunks + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Line: "POST / HTTP/1.1", Has: map[string]string{"Transfer-Encoding": "chunked"}, Lacks: []string{"Content-Length"}, Body: "hello world"},
	{Name: "Chunked in mixed case", Rule: "RFC 9112 §7", Bytes: post + "Transfer-Encoding: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Line: "POST / HTTP/1.1", Has: map[string]string{"Transfer-Encoding": "chunked"}, Body: "hello"},
	{Name: "chunk sizes in both cases with noughts", Rule: "RFC 9112 §7.1", Bytes: chunks + "00a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", Line: "POST / HTTP/1.1", Body: "01234567890123456789a"},
	{Name: "last chunk of many noughts", Rule: "RFC 9112 §7.1", Bytes: chunks + "5\r\nhello\r\n0000\r\n\r\n", Line: "POST / HTTP/1.1", Body: "hello"},
	{Name: "extensions are dropped", Rule: "RFC 9112 §7.1.1", Bytes: chunks + "5;a;b=c;d=\"e;\\\"\"\r\nhello\r\n0;f\r\n\r\n", Line: "POST / HTTP/1.1", Body: "hello"},
	{Name: "no chunk but the last", Rule: "RFC 9112 §7.1", Bytes: chunks + "0\r\n\r\n", Line: "POST / HTTP/1.1"},
	{Name: "trailers go on", Rule: "RFC 9110 §6.5", Bytes: chunks + "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", Line: "POST / HTTP/1.1", Body: "hello", Trailers: map[string]string{"X-Sum": "1"}},
	{Name: "trailers that frame, route or authenticate are dropped", Rule: "RFC 9110 §6.5.1", Bytes: chunks + "5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: other.example\r\nAuthorization: Basic YTpi\r\nX-Forwarded-For: 192.0.2.1\r\nX-Sum: 1\r\n\r\n", Line: "POST / HTTP/1.1", Body: "hello", Trailers: map[string]string{"X-Sum": "1"}, LacksTrailer: []string{"Content-Length", "Transfer-Encoding", "Host", "Authorization", "X-Forwarded-For"}},
	{Name: "trailers with the gateway's names are dropped", Rule: "the rule for names", Bytes: chunks + "5\r\nhello\r\n0\r\nX-Consumer-Name: root\r\nX_Consumer_Name: root\r\nX-Sum: 1\r\n\r\n", Line: "POST / HTTP/1.1", Body: "hello", Trailers: map[string]string{"X-Sum": "1"}, LacksTrailer: []string{"X-Consumer-Name", "X_Consumer_Name"}},
	{Name: "HTTP/1.0 goes on as HTTP/1.1", Rule: "RFC 9110 §2.5", Bytes: "GET / HTTP/1.0\r\n" + host + end, Line: "GET / HTTP/1.1"},
	{Name: "encoded unreserved characters are decoded", Rule: "RFC 3986 §6.2.2.2", Bytes: "GET /%61%2D%7e HTTP/1.1\r\n" + host + end, Line: "GET /a-~ HTTP/1.1"},
	{Name: "other escapes are upper-cased", Rule: "RFC 3986 §6.2.2.1", Bytes: "GET /%c3%a9 HTTP/1.1\r\n" + host + end, Line: "GET /%C3%A9 HTTP/1.1"},
	{Name: "dot segments are resolved", Rule: "RFC 3986 §5.2.4", Bytes: "GET /a/./b/../c HTTP/1.1\r\n" + host + end, Line: "GET /a/c HTTP/1.1"},
	{Name: "encoded dot segments are resolved", Rule: "RFC 3986 §6.2.2.3", Bytes: "GET /a/%2e%2E/b HTTP/1.1\r\n" + host + end, Line: "GET /b HTTP/1.1"},
	{Name: "dot segments stay below the root", Rule: "RFC 3986 §5.2.4", Bytes: "GET /../../a HTTP/1.1\r\n" + host + end, Line: "GET /a HTTP/1.1"},
	{Name: "empty segments stay", Rule: "the rule for paths", Bytes: "GET /a//b HTTP/1.1\r\n" + host + end, Line: "GET /a//b HTTP/1.1"},
	{Name: "path parameters stay", Rule: "RFC 3986 §3.3", Bytes: "GET /a;v=1/b HTTP/1.1\r\n" + host + end, Line: "GET /a;v=1/b HTTP/1.1"},
	{Name: "the query is passed on byte for byte", Rule: "RFC 3986 §3.4", Bytes: "GET /a?b=%2f..%2F%61&c=[]|^`{}\\\"<> HTTP/1.1\r\n" + host + end, Line: "GET /a?b=%2f..%2F%61&c=[]|^`{}\\\"<> HTTP/1.1"},
	{Name: "an empty query stays", Rule: "RFC 3986 §6.2.3", Bytes: "GET /a? HTTP/1.1\r\n" + host + end, Line: "GET /a? HTTP/1.1"},
}
