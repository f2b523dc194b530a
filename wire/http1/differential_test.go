package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// What we accept net/http must accept, and read alike. Known differences, in which
// it is the stricter one:
//   - it refuses an invalid escape in a path, which we leave to route.Normalize;
//   - it refuses a body of which more than 16 KiB are framing;
//   - it refuses a Trailer field that names framing fields, which we drop.
//
// Everything else that it refuses we refuse too, and much that it accepts we do not:
// lines that end in LF, folded fields, lists of equal lengths, white space around a chunk size …

// seen is one request or answer as somebody has read it.
type seen struct {
	line    string
	host    string
	fields  []string
	body    string
	trailer []string
	closes  bool
}

// ours serves the bytes and returns what the handler saw of the requests that were
// read to a clean end, and how many were refused.
func ours(conn *cutConn) (all []seen, refused int) {
	handler := handlerFunc(func(x *message.Exchange) {
		if x.Problem() != nil {
			refused++
			_ = say(x, 500, "")
			return
		}
		r := &x.Request
		s := seen{line: r.Method + " " + r.RawPath + " " + r.Query + " " + r.Protocol, host: r.Authority, closes: x.Wire().(*serverConn).closing}
		s.fields = sortedFields(&r.Header)
		if r.Body != nil {
			var err error
			if s.body, err = drink(r.Body); err != nil {
				refused++
				x.Deny(message.BadRequestBody)
				_ = say(x, 500, "")
				return
			}
			s.trailer = sortedFields(r.Body.Trailer())
		}
		all = append(all, s)
		_ = say(x, 200, "")
	})
	server := NewServer("", Limits{}, handler)
	server.Admit()
	server.ServeConn(conn, netip.AddrPort{})
	return all, refused
}

func drink(b message.Body) (string, error) {
	var all strings.Builder
	for {
		chunk, err := b.Next()
		if err == io.EOF {
			return all.String(), nil
		}
		if err != nil {
			return all.String(), err
		}
		if len(chunk) == 0 {
			return all.String(), fmt.Errorf("an empty chunk")
		}
		all.Write(chunk)
	}
}

func sortedFields(h *message.Header) []string {
	if h == nil {
		return nil
	}
	var all []string
	for _, f := range h.Fields() {
		all = append(all, strings.ToLower(f.Name)+"="+f.Value)
	}
	slices.Sort(all)
	return all
}

// droppedHere are fields that a wire takes out.
var droppedHere = []string{"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
	"proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade", "expect", "content-length", "http2-settings", "host"}

func theirFields(h http.Header) []string {
	var all []string
	named := strings.ToLower(strings.Join(h.Values("Connection"), ","))
	for name, values := range h {
		name = strings.ToLower(name)
		if slices.Contains(droppedHere, name) || message.HasToken(named, name) {
			continue
		}
		for _, v := range values {
			all = append(all, name+"="+v)
		}
	}
	for _, v := range h.Values("Te") {
		if message.HasToken(v, "trailers") {
			all = append(all, "te=trailers")
			break
		}
	}
	slices.Sort(all)
	return all
}

func theirTrailer(h http.Header) []string {
	var all []string
	for name, values := range h {
		if message.ForbiddenTrailer(name) || slices.Contains(droppedHere, strings.ToLower(name)) {
			continue
		}
		for _, v := range values {
			all = append(all, strings.ToLower(name)+"="+v)
		}
	}
	slices.Sort(all)
	return all
}

// theirs reads one request as net/http does.
func theirs(r *bufio.Reader) (s seen, err error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return s, err
	}
	path, query, _ := strings.Cut(req.RequestURI, "?")
	if req.URL.Host != "" && path[0] != '/' {
		// Cut the absolute form where the path begins.
		_, rest, _ := strings.Cut(req.RequestURI, "://")
		path, query = "/", ""
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			path, query, _ = strings.Cut(rest[i:], "?")
		} else if req.Method == "OPTIONS" {
			path = "*"
		}
		if path == "" {
			path = "/"
		}
	}
	s.line = req.Method + " " + path + " " + query + " " + req.Proto
	s.host, _ = message.ParseAuthority(req.Host)
	s.fields, s.closes = theirFields(req.Header), req.Close
	body, err := io.ReadAll(req.Body)
	s.body, s.trailer = string(body), theirTrailer(req.Trailer)
	return s, err
}

func (s *seen) differs(t *seen) bool {
	return s.line != t.line || s.host != t.host || s.body != t.body || s.closes != t.closes ||
		!slices.Equal(s.fields, t.fields) || !slices.Equal(s.trailer, t.trailer)
}

func knownDifference(err error, text string) bool {
	var escape url.EscapeError
	return asError(err, &escape) || strings.Contains(err.Error(), "too much non-data") ||
		strings.Contains(err.Error(), "invalid URL escape") ||
		strings.Contains(err.Error(), "bad trailer key") && strings.Contains(strings.ToLower(text), "trailer:")
}

func asError(err error, target *url.EscapeError) bool {
	e, ok := err.(url.EscapeError)
	*target = e
	return ok
}

// compareRequests is the property: with any cuts we see the same, and net/http sees
// it too.
func compareRequests(t *testing.T, text string, cuts []byte) {
	t.Helper()
	whole, refused := ours(cut(text, nil))
	pieces, refusedPieces := ours(cut(text, cuts))
	if len(whole) != len(pieces) || refused != refusedPieces {
		t.Fatalf("%q: %d requests and %d refused in one piece, %d and %d cut at %v", text, len(whole), refused, len(pieces), refusedPieces, cuts)
	}
	r := bufio.NewReaderSize(strings.NewReader(text), 1<<16)
	for i := range whole {
		if whole[i].differs(&pieces[i]) {
			t.Fatalf("%q cut at %v:\n%+v, in one piece\n%+v", text, cuts, pieces[i], whole[i])
		}
		other, err := theirs(r)
		if err != nil && knownDifference(err, text) {
			return
		}
		if err != nil || whole[i].differs(&other) {
			t.Fatalf("%q, request %d:\n ours   %+v\n theirs %+v, %v", text, i, whole[i], other, err)
		}
		// Both of us drop empty lines behind a body, or one of us refuses what follows.
		if b, _ := r.Peek(2); bytes.Equal(b, crlf) {
			_, _ = r.Discard(2)
		}
	}
}

var requestSeeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a?b HTTP/1.1\r\nHost: A.b:80\r\nX: 1\r\nx: 2\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\\\"\";c\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
	"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1]:80\r\nTE: trailers\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\r\n",
	"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

func TestRequestsAsNetHTTPReadsThem(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, seed := range requestSeeds {
		compareRequests(t, seed, nil)
		for range 300 {
			compareRequests(t, mutate(random, seed), randomCuts(random))
		}
	}
}

// mutate changes a few bytes of a message to others that mean something.
func mutate(random *rand.Rand, seed string) string {
	const alphabet = "\r\n \t:;,=\"0123456789aAfFxX/?#%+-_.*\x00\x0b\x7f\xc3chunkedcloseGET"
	b := []byte(seed)
	for range random.IntN(3) {
		at := random.IntN(len(b))
		c := alphabet[random.IntN(len(alphabet))]
		switch random.IntN(3) {
		case 0:
			b[at] = c
		case 1:
			b = slices.Insert(b, at, c)
		default:
			b = slices.Delete(b, at, at+1)
		}
	}
	return string(b)
}

func randomCuts(random *rand.Rand) []byte {
	cuts := make([]byte, random.IntN(60))
	for i := range cuts {
		cuts[i] = byte(random.IntN(1 + random.IntN(20)))
	}
	return cuts
}

func FuzzRequests(f *testing.F) {
	for _, seed := range requestSeeds {
		f.Add([]byte(seed), []byte{0, 0, 0, 5, 9})
	}
	f.Fuzz(func(t *testing.T, text, cuts []byte) {
		if len(text) > 8<<10 {
			return
		}
		compareRequests(t, string(text), cuts)
	})
}

// ourAnswer sends a request and reads the final answer out of text.
func ourAnswer(method string, conn *cutConn) (s seen, err error) {
	pool := &stubPool{}
	limits := ClientLimits{}.WithDefaults()
	c := NewClientConn(conn, &limits, pool)
	x, _ := newExchange()
	x.Request.Method = method
	if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
		return s, f
	}
	r := &x.Response
	s.line, s.fields = fmt.Sprint(r.Status), sortedFields(&r.Header)
	if r.Body != nil {
		s.body, err = drink(r.Body)
		s.trailer = sortedFields(r.Body.Trailer())
	}
	s.closes = pool.idle.Load() == 0
	if pool.idle.Load()+pool.dead.Load() != 1 {
		return s, fmt.Errorf("the pool heard of it %d times", pool.idle.Load()+pool.dead.Load())
	}
	return s, err
}

func theirAnswer(method, text string) (s seen, err error) {
	r := bufio.NewReaderSize(strings.NewReader(text), 1<<16)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return s, err
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode < 200 {
			continue
		}
		s.line, s.fields = fmt.Sprint(resp.StatusCode), theirFields(resp.Header)
		s.body, s.trailer, s.closes = string(body), theirTrailer(resp.Trailer), resp.Close
		return s, err
	}
}

func compareAnswers(t *testing.T, method, text string, cuts []byte) {
	t.Helper()
	whole, err := ourAnswer(method, cut(text, nil))
	pieces, errPieces := ourAnswer(method, cut(text, cuts))
	if (err == nil) != (errPieces == nil) && !strings.Contains(fmt.Sprint(err, errPieces), "followed by bytes") {
		// Whether bytes behind an answer without a body are there already depends on
		// the cuts; such a connection is not used again in any case.
		t.Fatalf("%s %q: in one piece %v, cut at %v: %v", method, text, err, cuts, errPieces)
	}
	if err != nil || errPieces != nil {
		return
	}
	whole.closes, pieces.closes = false, false // The same holds for bytes behind a body.
	if whole.differs(&pieces) {
		t.Fatalf("%s %q cut at %v:\n%+v, in one piece\n%+v", method, text, cuts, pieces, whole)
	}
	other, err := theirAnswer(method, text)
	if err != nil && knownDifference(err, text) {
		return
	}
	other.closes = false
	whole.fields = slices.DeleteFunc(whole.fields, func(s string) bool { return s == "te=trailers" })
	other.fields = slices.DeleteFunc(other.fields, func(s string) bool { return s == "te=trailers" })
	if err != nil || whole.differs(&other) {
		t.Fatalf("%s %q:\n ours   %+v\n theirs %+v, %v", method, text, whole, other, err)
	}
}

var answerSeeds = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
	"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
	"HTTP/1.1 200\r\nX: 1\r\nX: 2\r\nConnection: x-a\r\nX-A: 1\r\n\r\nuntil the end",
	"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
}

func TestAnswersAsNetHTTPReadsThem(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, seed := range answerSeeds {
		for _, method := range []string{"GET", "HEAD"} {
			compareAnswers(t, method, seed, nil)
			for range 200 {
				compareAnswers(t, method, mutate(random, seed), randomCuts(random))
			}
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for i, seed := range answerSeeds {
		f.Add(i%2 == 0, []byte(seed), []byte{0, 0, 0, 5, 9})
	}
	f.Fuzz(func(t *testing.T, head bool, text, cuts []byte) {
		if len(text) > 8<<10 {
			return
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		compareAnswers(t, method, string(text), cuts)
	})
}
