package upstream

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// offering is a Security that believes everybody.
type offering []string

func (o offering) Config(string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: o}
}

// fickle is an origin over TLS that says in each answer what it was asked over. What it agrees to
// changes while it runs.
type fickle struct {
	address string
	agrees  atomic.Pointer[[]string]
	server  *httptest.Server
}

func newFickle(t testing.TB, agrees ...string) *fickle {
	t.Helper()
	f := &fickle{server: httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Proto)
	}))}
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.TLS = &tls.Config{}
	f.server.StartTLS()
	base := f.server.TLS
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.GetConfigForClient, c.NextProtos = nil, *f.agrees.Load()
		return c, nil
	}
	f.agree(agrees...)
	f.address = f.server.Listener.Addr().String()
	t.Cleanup(f.server.Close)
	return f
}

func (f *fickle) agree(protocols ...string) { f.agrees.Store(&protocols) }

// secured makes an upstream of one endpoint over TLS.
func secured(t testing.TB, p Protocol, address string) *Upstream {
	t.Helper()
	c := Config{Name: "orders", Endpoints: []EndpointConfig{{Address: address, Secure: true}}, Protocol: p, ConnectTimeout: 10 * time.Second}
	u, _ := newUpstream(t, c)
	if p == HTTP2 {
		u.Secure(offering{"h2"})
	} else {
		u.Secure(offering{"h2", "http/1.1"})
	}
	return u
}

// TestAuto follows an origin that changes what it speaks.
func TestAuto(t *testing.T) {
	t.Parallel()
	o := newFickle(t, "h2", "http/1.1")
	u := secured(t, Auto, o.address)
	get := func(want string) {
		t.Helper()
		for range 2 {
			if got := mustAsk(t, u, exchange(&wire{}, "GET", nil)); got != want {
				t.Errorf("asked over %s, not %s", got, want)
			}
		}
	}
	get("HTTP/2.0")
	for _, to := range []struct {
		agrees []string
		want   string
	}{
		{[]string{"http/1.1"}, "HTTP/1.1"}, {[]string{"h2"}, "HTTP/2.0"}, {nil, "HTTP/1.1"}, {[]string{"h2", "http/1.1"}, "HTTP/2.0"},
	} {
		o.agree(to.agrees...)
		o.server.CloseClientConnections() // As if it began anew.
		gone(t, u)
		get(to.want)
	}
}

// gone waits until no connection of HTTP/2 is left.
func gone(t testing.TB, u *Upstream) {
	t.Helper()
	e := u.Endpoints()[0]
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if open, _ := e.h2.size(); open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("connections of HTTP/2 are left")
		}
	}
}

// TestAutoAtOnce lets many ask before anybody knows what is spoken.
func TestAutoAtOnce(t *testing.T) {
	t.Parallel()
	for agreed, want := range map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"} {
		o := newFickle(t, agreed)
		u := secured(t, Auto, o.address)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				x := exchange(&wire{}, "POST", message.NewBytes([]byte("hello")))
				if status, body, err := ask(u, x); status != 200 || body != want || err != nil {
					t.Errorf("%s: %d %q %v", agreed, status, body, err)
				}
			})
		}
		all.Wait()
		atRest(t, u)
	}
}

// TestAutoWithoutTLS speaks HTTP/1.1.
func TestAutoWithoutTLS(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.Protocol = Auto
	u, _ := newUpstream(t, c)
	mustAsk(t, u, exchange(&wire{}, "GET", nil))
	atRest(t, u)
}

// TestNotAgreed has origins that cannot be spoken to over what is configured.
func TestNotAgreed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocol Protocol
		agrees   []string
		detail   string
	}{
		{HTTP2, nil, "auto or http/1.1"},
		{HTTP2, []string{"http/1.1"}, "offered"},
		{Auto, []string{"spdy/3"}, "offered"},
	} {
		o := newFickle(t, c.agrees...)
		u := secured(t, c.protocol, o.address)
		_, _, err := ask(u, exchange(&wire{}, "GET", nil))
		if !errors.Is(err, message.UpstreamProtocol) || !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%v %v: %v", c.protocol, c.agrees, err)
		}
		atRest(t, u)
	}
}

// strict is an origin that agrees to HTTP/2 and then wants requests over HTTP/1.1: it answers each with
// the given frames. Over HTTP/1.1 it answers, also to an upgrade.
func strict(t testing.TB, frames func(stream uint32) string) (address string, overHTTP2 *atomic.Int64) {
	t.Helper()
	base := newFickle(t).server.TLS.Clone()
	base.GetConfigForClient, base.NextProtos = nil, []string{"h2", "http/1.1"}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	overHTTP2 = new(atomic.Int64)
	go func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = nc.Close() }()
				secure := nc.(*tls.Conn)
				if secure.Handshake() != nil {
					return
				}
				if secure.ConnectionState().NegotiatedProtocol == "h2" {
					refuseStreams(secure, frames, overHTTP2)
				} else {
					answerHTTP1(secure)
				}
			}()
		}
	}()
	return listener.Addr().String(), overHTTP2
}

// refuseStreams plays HTTP/2 up to the head of each request.
func refuseStreams(nc net.Conn, frames func(stream uint32) string, n *atomic.Int64) {
	r := bufio.NewReader(nc)
	_, _ = r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	_, _ = io.WriteString(nc, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
	for {
		var h [9]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return
		}
		_, _ = r.Discard(int(h[0])<<16 | int(h[1])<<8 | int(h[2]))
		if h[3] == 1 { // HEADERS
			n.Add(1)
			_, _ = io.WriteString(nc, frames(binary.BigEndian.Uint32(h[5:])))
		}
	}
}

func answerHTTP1(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if req.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(nc, r)
			return
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
	}
}

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func resetWith(code uint32) func(uint32) string {
	return func(stream uint32) string { return "\x00\x00\x04\x03\x00" + u32(stream) + u32(code) }
}

func goAwayWith(code uint32) func(uint32) string {
	return func(uint32) string { return "\x00\x00\x08\x07\x00" + u32(0) + u32(0) + u32(code) }
}

// TestHTTP1Required sends over HTTP/1.1 what an origin wants so, or says what to change.
func TestHTTP1Required(t *testing.T) {
	t.Parallel()
	for name, frames := range map[string]func(uint32) string{"reset": resetWith(0xd), "goaway": goAwayWith(0xd)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, n := strict(t, frames)
			u := secured(t, Auto, address)
			for range 3 {
				x := exchange(&wire{}, "POST", message.NewBytes([]byte("hello")))
				if got := mustAsk(t, u, x); got != "plain" || x.Facts.Tries != 1 {
					t.Errorf("%q after %d tries", got, x.Facts.Tries)
				}
			}
			if n.Load() == 0 {
				t.Error("it was never asked over HTTP/2")
			}
			u = secured(t, HTTP2, address)
			_, _, err := ask(u, exchange(&wire{}, "GET", nil))
			if !errors.Is(err, message.UpstreamProtocol) || !strings.Contains(err.Error(), "wants this request over HTTP/1.1") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTunnelOverHTTP1 has an origin that speaks HTTP/2 and offers no tunnels over it.
func TestTunnelOverHTTP1(t *testing.T) {
	t.Parallel()
	address, n := strict(t, resetWith(0))
	u := secured(t, Auto, address)
	for range 2 {
		x := exchange(&wire{}, "GET", nil)
		x.Request.Upgrade = "websocket"
		if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil || x.Response.Status != 101 || x.Response.Tunnel == nil {
			t.Fatalf("%d %v", x.Response.Status, err)
		}
		tunnel := x.Response.Tunnel
		if _, err := io.WriteString(tunnel, "hello"); err != nil {
			t.Error(err)
		}
		if got, err := tunnel.Next(); err != nil || string(got) != "hello" {
			t.Errorf("%q %v", got, err)
		}
		_ = tunnel.Close()
	}
	if n.Load() != 0 {
		t.Error("a tunnel was asked for over HTTP/2")
	}
	u = secured(t, HTTP2, address)
	x := exchange(&wire{}, "GET", nil)
	x.Request.Upgrade = "websocket"
	err := u.RoundTrip(x, &x.Request, &x.Response)
	if !errors.Is(err, message.UpstreamProtocol) || !strings.Contains(err.Error(), "WebSockets") {
		t.Errorf("%v", err)
	}
}

// TestOriginSpeaksTheOther says what to change where protocol is not what the origin speaks: nothing in plain text tells before.
func TestOriginSpeaksTheOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		protocol Protocol
		greeting string
		detail   string
	}{
		"HTTP/2":                   {HTTP1, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", "set protocol of the upstream to h2"},
		"HTTP/2 with a line end":   {HTTP1, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\n", "set protocol of the upstream to h2"},
		"HTTP/1":                   {HTTP2, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "set protocol of the upstream to http/1.1"},
		"neither, asked in HTTP/1": {HTTP1, "SSH-2.0-OpenSSH_9.9\r\n", ""},
		"neither, asked in HTTP/2": {HTTP2, "SSH-2.0-OpenSSH_9.9\r\n", ""},
	} {
		o := newOrigin(t, func(played *played) {
			_, _ = played.in.ReadString('\n')
			_, _ = io.WriteString(played, c.greeting)
			_, _ = io.Copy(io.Discard, played.in)
		})
		config := to(o.address)
		config.Protocol = c.protocol
		u, _ := newUpstream(t, config)
		x := exchange(&wire{}, "GET", nil)
		_, _, err := ask(u, x)
		var problem *message.Problem
		if !errors.As(err, &problem) || (problem.Code == message.UpstreamProtocol.Code) != (c.detail != "") || !strings.Contains(problem.Detail, c.detail) {
			t.Errorf("%s: %v %+v", name, err, problem)
		}
	}
}
