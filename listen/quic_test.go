package listen

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluice-gateway/sluice/listen/certificates"
	wire "github.com/sluice-gateway/sluice/wire/http3"
)

// A machine that has much to do takes its time; a test that waits for nothing fails all the same.
const (
	patience          = 60 * time.Second
	handshakePatience = 30 * time.Second
)

// both is a listener that speaks HTTP/3 beside the others.
func both(name, address string) Spec {
	return Spec{
		Name: name, Address: address, Protocols: []string{HTTP1, HTTP2, HTTP3},
		TLS:   &certificates.Spec{SelfSigned: &certificates.SelfSigned{}},
		HTTP3: wire.Limits{HandshakeTimeout: handshakePatience},
	}
}

// overQUIC is a client of HTTP/3 with one connection, whose end it tells.
func overQUIC(t testing.TB, address string) (client *http.Client, conn *quic.Conn, err error) {
	t.Helper()
	return overQUICWithin(t, address, patience)
}

func overQUICWithin(t testing.TB, address string, limit time.Duration) (client *http.Client, conn *quic.Conn, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	secure := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{HTTP3}}
	conn, err = quic.DialAddr(ctx, address, secure, &quic.Config{HandshakeIdleTimeout: handshakePatience})
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") })
	transport := &http3.Transport{}
	return &http.Client{Transport: transport.NewClientConn(conn), Timeout: patience}, conn, nil
}

// asked is the answer to a GET, or why there is none.
func asked(c *http.Client, path string) string {
	resp, err := c.Get("https://localhost" + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return resp.Proto + " " + string(body)
}

func TestHTTP3(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	r.apply(both("a", at))
	c, conn, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(c, "/"); got != "HTTP/3.0 a" {
		t.Fatal(got)
	}
	if n := r.Status()[0].Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
	// A reload that changes nothing keeps the socket and the connection; a new name only names the next one.
	r.apply(both("a", at))
	if got := asked(c, "/"); got != "HTTP/3.0 a" {
		t.Errorf("after a reload: %s", got)
	}
	r.apply(both("b", at))
	other, _, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(other, "/"); got != "HTTP/3.0 b" {
		t.Errorf("a connection after a rename: %s", got)
	}
	select {
	case <-conn.Context().Done(): // That of the listener that has gone drains.
	case <-time.After(patience):
		t.Error("the connection of the old name does not end")
	}
}

// What is answered over TCP says where HTTP/3 is, as long as it is there.
func TestAltSvc(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	for _, speaks := range []bool{true, false, true} {
		spec := both("a", at)
		want := ""
		if speaks {
			_, port, _ := net.SplitHostPort(at)
			want = `h3=":` + port + `"; ma=86400`
		} else {
			spec.Protocols = spec.Protocols[:2]
		}
		r.apply(spec)
		for name, l := range map[string]interface{ Text() string }{"HTTP/1": &r.open[0].server.AltSvc, "HTTP/2": &r.open[0].h2.AltSvc, "HTTP/3": &r.open[0].h3.AltSvc} {
			if got := l.Text(); got != want {
				t.Errorf("%s announces %q, wanted %q", name, got, want)
			}
		}
		limit := patience
		if !speaks {
			limit = 5 * time.Second // Nobody answers.
		}
		_, _, err := overQUICWithin(t, at, limit)
		if (err == nil) != speaks {
			t.Errorf("h3 is spoken: %v, %v", speaks, err)
		}
	}
}

// A connection that is there when h3 is taken out ends in peace.
func TestHTTP3GoesAway(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	r.apply(both("a", at))
	c, conn, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan string)
	go func() { slow <- asked(c, "/slow") }()
	<-r.site.begun
	spec := both("a", at)
	spec.Protocols = spec.Protocols[:2]
	r.apply(spec)
	close(r.site.goOn)
	if got := <-slow; got != "HTTP/3.0 a" {
		t.Error(got)
	}
	select {
	case <-conn.Context().Done():
	case <-time.After(patience):
		t.Error("the connection does not end")
	}
	until(func() bool {
		l, err := net.ListenPacket("udp", at)
		if err == nil {
			_ = l.Close()
		}
		return err == nil
	})
}

func TestHTTP3Limit(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	spec := both("a", at)
	spec.MaxConnections = 1
	r.apply(spec)
	first, conn, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(first, "/"); got != "HTTP/3.0 a" {
		t.Fatal(got)
	}
	if _, _, err := overQUIC(t, at); err == nil || !strings.Contains(err.Error(), "CONNECTION_REFUSED") {
		t.Errorf("a second connection: %v", err)
	}
	if r.metrics.refused.Load() == 0 {
		t.Error("nothing was counted")
	}
	_ = conn.CloseWithError(0x100, "")
	until(func() bool { // Its place is free soon after it has gone.
		_, _, err := overQUIC(t, at)
		if err != nil && !strings.Contains(err.Error(), "CONNECTION_REFUSED") {
			t.Fatalf("after the first has gone: %v", err)
		}
		return err == nil
	})
}

// An address that cannot be had leaves everything as it was.
func TestHTTP3IsAllOrNothing(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	spec := both("a", at)
	spec.Protocols = spec.Protocols[:2]
	r.apply(spec)
	busy, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prepare([]Spec{both("a", at)}); err == nil || !strings.Contains(err.Error(), "listener a: for h3:") {
		t.Error(err)
	}
	_ = busy.Close()
	c, err := r.Prepare([]Spec{both("a", at)})
	if err != nil {
		t.Fatal(err)
	}
	c.Rollback()
	again, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatalf("Rollback has left the socket open: %v", err)
	}
	_ = again.Close()
}

func TestHTTP3Shutdown(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	r.apply(both("a", at))
	c, _, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan string, 1)
	go func() { slow <- asked(c, "/slow") }()
	<-r.site.begun
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	time.AfterFunc(50*time.Millisecond, func() { close(r.site.goOn) })
	if cut := r.Shutdown(ctx); cut != 0 {
		t.Errorf("%d connections were cut", cut)
	}
	if got := <-slow; got != "HTTP/3.0 a" {
		t.Error(got)
	}
	l, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatalf("the socket is still open: %v", err)
	}
	_ = l.Close()
}

// ear is a client's socket that hears Retry packets (RFC 9000 §17.2.5), or nothing at all.
type ear struct {
	net.PacketConn
	deaf  bool
	heard atomic.Int64 // Retry packets
}

func (e *ear) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := e.PacketConn.ReadFrom(p)
		if err == nil && n > 0 && p[0]&0xf0 == 0xf0 {
			e.heard.Add(1)
		}
		if err != nil || !e.deaf {
			return n, from, err
		}
	}
}

// dial connects, and closes. It ends when ctx does.
func (e *ear) dial(ctx context.Context, transport *quic.Transport, address string) error {
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	secure := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{HTTP3}}
	conn, err := transport.Dial(ctx, to, secure, &quic.Config{HandshakeIdleTimeout: handshakePatience})
	if err == nil {
		err = conn.CloseWithError(0x100, "")
	}
	return err
}

func newEar(t *testing.T, deaf bool) (*ear, *quic.Transport) {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	e := &ear{PacketConn: socket, deaf: deaf}
	transport := &quic.Transport{Conn: e}
	t.Cleanup(func() { _, _ = transport.Close(), socket.Close() })
	return e, transport
}

// While many clients are in the middle of their handshake, the next one has to prove its address.
func TestHTTP3Retry(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	r.apply(both("a", at))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	hears, transport := newEar(t, false)
	if err := hears.dial(ctx, transport, at); err != nil || hears.heard.Load() != 0 {
		t.Errorf("the first one: %v, %d times asked for its address", err, hears.heard.Load())
	}
	deaf, mute := newEar(t, true)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range mostHandshakes + 1 {
		all.Go(func() { _ = deaf.dial(ctx, mute, at) })
	}
	until(func() bool { return r.open[0].socket.udp.pending.Load() > mostHandshakes })
	if err := hears.dial(ctx, transport, at); err != nil || hears.heard.Load() == 0 {
		t.Errorf("among many: %v, %d times asked for its address", err, hears.heard.Load())
	}
}

// A client that hears nothing is no connection for long, and counts as a handshake that has failed.
func TestHTTP3HandshakeFails(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	spec := both("a", at)
	spec.HTTP3.HandshakeTimeout = 100 * time.Millisecond
	r.apply(spec)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	deaf, mute := newEar(t, true)
	var dial sync.WaitGroup
	defer dial.Wait()
	defer cancel()
	dial.Go(func() { _ = deaf.dial(ctx, mute, at) })
	until(func() bool { return r.metrics.failed.Load() > 0 && r.open[0].socket.udp.pending.Load() == 0 })
}
