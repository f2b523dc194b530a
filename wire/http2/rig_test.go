package http2

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/leaktest"
	"github.com/sluice-gateway/sluice/message"
)

// TestMain sees that no goroutine of this package outlives the tests.
func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, "wire/http2")) }

// handlerFunc is a message.Handler.
type handlerFunc func(x *message.Exchange)

func (f handlerFunc) Serve(x *message.Exchange) { f(x) }

// say answers with a text; a problem that the wire has found is answered with its
// code.
func say(x *message.Exchange, status int, text string) error {
	if p := x.Problem(); p != nil {
		status, text = p.Status, p.Code+" "+p.Detail
	}
	x.Response.Status = status
	x.Response.SetBody([]byte(text))
	err := x.Wire().Respond(x)
	if err != nil {
		x.Wire().Abort()
	}
	return err
}

// hello answers every request.
var hello = handlerFunc(func(x *message.Exchange) { _ = say(x, 200, "hello") })

// echo answers with the request's body, as it comes.
var echo = handlerFunc(func(x *message.Exchange) {
	if p := x.Problem(); p != nil {
		_ = say(x, p.Status, p.Code)
		return
	}
	x.Response.Status = 200
	x.Response.Header.Append("X-Method", x.Request.Method)
	x.Response.Header.Append("X-Target", x.Request.RawPath+"?"+x.Request.Query)
	x.Response.Body = x.Request.Body
	if x.Wire().Respond(x) != nil {
		x.Wire().Abort()
	}
})

// gateway is a Server on a loopback socket.
type gateway struct {
	t      testing.TB
	server *Server
	socket net.Listener
	conns  sync.WaitGroup
}

// serve starts a server, which must have ended all of its connections when the test ends.
func serve(t testing.TB, limits Limits, handler message.Handler) *gateway {
	return serveTLS(t, limits, handler, nil)
}

func serveTLS(t testing.TB, limits Limits, handler message.Handler, config *tls.Config) *gateway {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, server: NewServer("test", limits, handler), socket: socket}
	g.conns.Go(func() {
		for {
			nc, err := socket.Accept()
			if err != nil {
				return
			}
			if config != nil {
				secure := tls.Server(nc, config)
				if secure.Handshake() != nil {
					continue
				}
				nc = secure
			}
			g.server.Admit()
			g.conns.Go(func() { g.server.ServeConn(nc, netip.AddrPort{}) })
		}
	})
	t.Cleanup(func() {
		_ = socket.Close()
		g.server.Close()
		g.conns.Wait()
		if n := g.server.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return g
}

func (g *gateway) address() string { return g.socket.Addr().String() }

func (g *gateway) url(path string) string { return "http://" + g.address() + path }

// get asks through the twin.
func get(t testing.TB, tr http.RoundTripper, method, url string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: body after %d bytes: %v", method, url, len(data), err)
	}
	return resp, data
}

// pattern is a body in which every part can be told from the others.
func pattern(n int) []byte {
	b := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz-"), n/37+1)
	return b[:n]
}

// eventually waits for what other goroutines do.
func eventually(t testing.TB, otherwise string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testPatience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}
