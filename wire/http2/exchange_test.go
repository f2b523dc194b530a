package http2

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// What a handler sees of a request.
func TestRequestAsSeen(t *testing.T) {
	t.Parallel()
	seen := make(chan *message.Request, 1)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		r := x.Request
		r.Header = message.Header{}
		r.Header.CopyFrom(&x.Request.Header)
		seen <- &r
		_ = say(x, 200, "")
	}))
	p := dialRaw(t, g.address()).send(greeting, frame(frameHeaders, endBoth, 1, fields(
		":method", "PUT", ":scheme", "https", ":authority", "EXAMPLE.com.:80", ":path", "/A%2f?x=%zz?",
		"cookie", "a=1", "x-one", "1", "cookie", "b=2", "te", "trailers", "trailer", "x", "proxy-authorization", "secret",
		"http2-settings", "x", "cookie", "c=3")))
	r := <-seen
	if r.Method != "PUT" || r.Scheme != "http" || r.Authority != "example.com:80" || r.RawPath != "/A%2f" || r.Query != "x=%zz?" ||
		!r.HasQuery || r.Protocol != "HTTP/2" || r.Body != nil {
		t.Errorf("%+v", r)
	}
	var got []string
	for _, f := range r.Header.Fields() {
		got = append(got, f.Name+": "+f.Value)
	}
	if want := "cookie: a=1; b=2; c=3|x-one: 1|te: trailers"; strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
	p.until("headers 1 200")
}

// What leaves is lower case and belongs to no connection of HTTP/1.
func TestAnswerAsSent(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		h := &x.Response.Header
		for _, f := range [][2]string{
			{"Content-Type", "text/plain"}, {"X-Mixed-CASE", "Value"}, {"Connection", "close"}, {"Keep-Alive", "5"},
			{"Transfer-Encoding", "chunked"}, {"Upgrade", "h2c"}, {"Proxy-Connection", "x"}, {"Content-Length", "77"},
			{"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"},
		} {
			h.Append(f[0], f[1])
		}
		_ = say(x, 200, "hello")
	}))
	tr := g.transport()
	for range 3 { // The table of fields fills meanwhile.
		resp, body := get(t, tr, "GET", g.url("/"), nil)
		if string(body) != "hello" || resp.ContentLength != 5 {
			t.Errorf("%q %d", body, resp.ContentLength)
		}
		for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Proxy-Connection"} {
			if resp.Header.Get(name) != "" {
				t.Errorf("%s was sent", name)
			}
		}
		if resp.Header.Get("X-Mixed-Case") != "Value" || len(resp.Header["Set-Cookie"]) != 2 || resp.Header.Get("Date") == "" {
			t.Errorf("%v", resp.Header)
		}
	}
}

// The head, a body that is there and the end of the stream leave in one piece.
func TestAnswerLeavesInOnePiece(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, hello)
	p := dialRaw(t, g.address()).send(greeting)
	p.until("ack")
	p.send(getFrame(1, "/"))
	if _, err := p.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	head, _ := p.read()
	data, _ := p.read()
	if head.kind != frameHeaders || data.kind != frameData || data.flags != flagEndStream || string(data.payload) != "hello" {
		t.Errorf("%+v %+v", head.frameHeader, data)
	}
}

func TestInterimAnswers(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		var h message.Header
		h.Append("Link", "</a.css>; rel=preload")
		h.Append("Connection", "close")
		x.Wire().Inform(103, &h)
		data, _ := x.Request.ReadBody(100)
		_ = say(x, 200, string(data))
	}))
	tr := g.transport()
	var codes []int
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") == "" || h.Get("Connection") != "" {
				t.Error(h)
			}
			codes = append(codes, code)
			return nil
		},
	}
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "POST", g.url("/"), strings.NewReader("body"))
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(data) != "body" || len(codes) != 1 || codes[0] != 103 {
		t.Errorf("%q %v", data, codes)
	}
}

func TestTrailersBothWays(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, echo)
	tr := g.transport()
	req, _ := http.NewRequest("POST", g.url("/"), io.MultiReader(strings.NewReader("hello")))
	req.Trailer = http.Header{"X-Sum": {"42"}, "Authorization": {"no"}, "X-Consumer-Name": {"no"}, "X_consumer_name": {"no"}}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(data) != "hello" || resp.Trailer.Get("X-Sum") != "42" || len(resp.Trailer) != 1 {
		t.Errorf("%q %v", data, resp.Trailer)
	}
}

// A client that resets a stream ends what its exchange waits for, at once, and the others go on.
func TestResetCancelsAtOnce(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/wait"), postFrame(3, "/read"), resetFrame(1, 8), dataFrame(3, true, "x"))
	p.until("end 3")
	p.alive()
}

// Heads on a stream that we have reset may still come while other streams end.
func TestHeadsOfResetStreamWhileOthersEnd(t *testing.T) {
	t.Parallel()
	limits := Limits{Streams: 1000, Floods: Floods{Resets: 10_000, Unknown: 10_000}}
	g := serve(t, limits, handlerFunc(func(x *message.Exchange) { x.Wire().Abort() }))
	p := dialRaw(t, g.address()).send(greeting)
	const last = 2*uint32(len(recent{}.ring)) - 1 // Of as many streams as are remembered.
	for id := uint32(1); id <= last; id += 2 {
		p.send(getFrame(id, "/"))
		p.until("reset " + itoa(id) + " CANCEL")
	}
	const others = 100
	var all strings.Builder
	for i := range uint32(others) {
		all.WriteString(getFrame(last+2+2*i, "/") + getFrame(last, "/late"))
	}
	p.send(all.String())
	for range others {
		if said := p.until("reset"); !strings.HasSuffix(said, " CANCEL") {
			t.Error(said)
		}
	}
	p.alive()
}

// A body that fails in the middle must not look whole.
func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]*streamed{
		"an error":  {pieces: [][]byte{[]byte("half")}, length: -1, err: errors.New("gone")},
		"too short": {pieces: [][]byte{[]byte("half")}, length: 8},
		"too long":  {pieces: [][]byte{[]byte("half")}, length: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := make(chan error, 1)
			g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
				x.Response.Status, x.Response.Body = 200, body
				err := x.Wire().Respond(x)
				failed <- err
				x.Wire().Abort()
			}))
			p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
			p.until("reset 1 INTERNAL_ERROR")
			if err := <-failed; !errors.Is(err, message.UpstreamBodyBroken) {
				t.Errorf("%v", err)
			}
			p.alive()
		})
	}
}

// A stopped body fails its borrower, which may be waiting.
func TestStopBody(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Wire().LendBody()
		failed := make(chan error)
		body := x.Request.Body
		go func() {
			_, err := body.Next()
			if err == nil {
				_, err = body.Next()
			}
			failed <- err
		}()
		x.Wire().StopBody()
		if err := <-failed; err != message.ClientGone {
			t.Errorf("%v", err)
		}
		x.Wire().ReturnBody()
		_ = say(x, 200, "enough")
	}))
	p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/", "expect", "100-continue"), dataFrame(1, false, "x"))
	p.until("headers 1 100")
	p.until("headers 1 200")
	p.until("reset 1 NO_ERROR")
	p.alive()
}

// A consumer that does not read holds up the sender: no more than the window is taken.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	g := serve(t, Limits{StreamWindow: 70_000}, handlerFunc(func(x *message.Exchange) {
		if x.Request.Method == "GET" {
			_ = say(x, 200, "")
			return
		}
		<-hold
		n := 0
		for {
			chunk, err := x.Request.Body.Next()
			if n += len(chunk); err != nil {
				break
			}
		}
		_ = say(x, 200, strings.Repeat("x", n/1000))
	}))
	p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/"))
	chunk := strings.Repeat("x", 10_000)
	for range 7 {
		p.send(dataFrame(1, false, chunk))
	}
	p.send(getFrame(3, "/"))
	p.until("headers 3 200") // Others are not held up.
	close(hold)
	for {
		f, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.kind == frameWindowUpdate && f.id == 1 {
			break
		}
	}
	p.send(dataFrame(1, true, chunk))
	p.until("end 1")
	if p.data[1] != 80 {
		t.Errorf("%d", p.data[1])
	}
}

// What is above the window ends the stream.
func TestStreamWindowIsEnforced(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	g := serve(t, Limits{StreamWindow: 70_000}, handlerFunc(func(x *message.Exchange) { <-hold }))
	p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/"))
	for range 8 {
		p.send(dataFrame(1, false, strings.Repeat("x", 10_000)))
	}
	p.until("reset 1 FLOW_CONTROL_ERROR")
	close(hold)
}

// What went over the wire is counted, and who is there is known.
func TestFactsOfAnExchange(t *testing.T) {
	t.Parallel()
	type facts struct {
		in, out int64
		client  message.Client
		shard   uint32
	}
	got := make(chan facts, 1)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		_, _ = x.Request.ReadBody(1 << 20)
		_ = say(x, 200, strings.Repeat("x", 50_000))
		got <- facts{x.Wire().BytesIn(), x.Wire().BytesOut(), x.Client, x.Shard}
	}))
	p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/"), dataFrame(1, true, strings.Repeat("y", 1000)))
	p.until("end 1")
	f := <-got
	if f.in < 1000+50 || f.in > 1200 || f.out < 50_000 || f.out > 50_200 || f.shard == 0 {
		t.Errorf("%+v", f)
	}
	if f.client.Listener != "test" || f.client.AddressText != "127.0.0.1" || !f.client.Peer.IsValid() || f.client.TLS != nil {
		t.Errorf("%+v", f.client)
	}
}

// The window of the connection bounds all streams together.
func TestConnectionWindowIsEnforced(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	g := serve(t, Limits{ConnectionWindow: 100_000}, handlerFunc(func(x *message.Exchange) { <-hold }))
	p := dialRaw(t, g.address()).send(greeting)
	chunk := strings.Repeat("x", 15_000)
	for id := uint32(1); id < 20; id += 2 {
		p.send(postFrame(id, "/"), dataFrame(id, false, chunk))
	}
	p.until("goaway FLOW_CONTROL_ERROR")
	close(hold)
}

// selfSigned is a certificate for a test.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	config := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2"}}
	g := serveTLS(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Header.Append("X-Scheme", x.Request.Scheme)
		echo(x)
	}), config)
	tr := secureTransport(t)
	for _, size := range []int{0, 100, 100_000, 2_000_000} {
		want := pattern(size)
		resp, got := get(t, tr, "POST", "https://"+g.address()+"/", bytes.NewReader(want))
		if resp.StatusCode != 200 || !bytes.Equal(got, want) || resp.Header.Get("X-Scheme") != "https" {
			t.Errorf("%d bytes: %d, %d bytes, %v", size, resp.StatusCode, len(got), resp.Header)
		}
	}
}
