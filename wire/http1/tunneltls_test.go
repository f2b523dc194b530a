package http1

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
)

// echoTunnel gives back what it gets. It implements message.Tunnel.
type echoTunnel struct {
	parts chan string
	woken chan struct{}
}

func (e *echoTunnel) Next() ([]byte, error) {
	select {
	case p, ok := <-e.parts:
		if !ok {
			return nil, io.EOF
		}
		return []byte(p), nil
	case <-e.woken:
		return nil, message.ErrWoken
	}
}

func (e *echoTunnel) Write(p []byte) (int, error) {
	e.parts <- string(p)
	return len(p), nil
}

func (e *echoTunnel) CloseWrite() error { close(e.parts); return nil }
func (e *echoTunnel) Wake()             { e.woken <- struct{}{} }
func (e *echoTunnel) Close() error      { return nil }

// A tunnel over TLS holds no buffer while it waits, and loses nothing of what comes in records of any size.
func TestTunnelOverTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	ended := make(chan struct{})
	server := NewServer("", Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Status = 101
		x.Response.Tunnel = &echoTunnel{make(chan string, 1000), make(chan struct{}, 1)}
		_ = x.Wire().Respond(x)
	}))
	server.Ended = func() { close(ended) }
	go func() {
		if nc, err := socket.Accept(); err == nil {
			server.Admit()
			server.ServeConn(tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}), netip.AddrPort{})
		}
	}()
	nc, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, nc).send(upgrade)
	p.head()
	for _, n := range []int{1, 1, 2, 125, 16383, 16384, 16385, 50000, 1} {
		text := strings.Repeat("x", n-1) + "."
		p.send(text).expect(text)
	}
	for i := range 50 { // Many records at once.
		p.send(strings.Repeat(string(rune('a'+i%26)), i+1))
	}
	for i := range 50 {
		p.expect(strings.Repeat(string(rune('a'+i%26)), i+1))
	}
	if err := nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.closed()
	<-ended
	if n := server.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// oneByteRecord is a connection under TLS with one record of one byte. It runs between when the deadline is
// moved so that nothing else is waited for.
type oneByteRecord struct {
	cutConn
	between  func()
	deadline time.Time
	held     bool // a read would have waited
}

func (c *oneByteRecord) Read(p []byte) (int, error) {
	if c.deadline.Equal(past) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.cutConn.Read(p)
	if err == io.EOF { // There is nothing yet.
		c.held, err = true, os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *oneByteRecord) SetReadDeadline(at time.Time) error {
	c.deadline = at
	if between := c.between; between != nil && at.Equal(past) {
		c.between = nil
		between()
	}
	return nil
}

func (c *oneByteRecord) CloseWrite() error { return nil }

// The origin ends while a record of one byte is read: the byte is passed on at once, and from then on the client
// has the idle timeout.
func TestCloseWriteWhileOneByteIsRead(t *testing.T) {
	t.Parallel()
	nc := &oneByteRecord{cutConn: *cut("x", nil)}
	limits := Limits{IdleTimeout: time.Hour}.withDefaults()
	e := &clientEnd{conn: &serverConn{limits: &limits}}
	s := &e.conn.stream.sock
	s.nc, s.tcp = nc, tcpBelow{}
	nc.between = func() {
		if err := e.CloseWrite(); err != nil {
			t.Error(err)
		}
	}
	if p, err := e.Next(); string(p) != "x" || err != nil || nc.held {
		t.Fatalf("%q, %v; held %v", p, err, nc.held)
	}
	if _, err := e.Next(); err != tunnel.ErrWoken || nc.held {
		t.Fatalf("%v; held %v", err, nc.held)
	}
	if _, err := e.Next(); !isTimeout(err) || !nc.held {
		t.Fatalf("%v; held %v", err, nc.held)
	}
	if left := time.Until(nc.deadline); left < 30*time.Minute || left > 90*time.Minute {
		t.Errorf("the client has %v", left)
	}
}

// tcpBelow says that there is TCP below TLS.
type tcpBelow struct{ syscall.RawConn }
