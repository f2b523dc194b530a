package http3

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/message"
)

// ample is how long a machine that has much to do may take for what must happen.
const ample = time.Minute

// handler is a function as message.Handler.
type handler func(x *message.Exchange)

func (h handler) Serve(x *message.Exchange) { h(x) }

// rig is a server with a socket.
type rig struct {
	t         testing.TB
	server    *Server
	transport *quic.Transport
	address   string
	done      sync.WaitGroup
}

var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// newRig starts a server; it is shut down with the test.
func newRig(t testing.TB, limits Limits, h message.Handler) *rig {
	t.Helper()
	pair, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	setDefault(&limits.HandshakeTimeout, ample)
	r := &rig{t: t, server: NewServer("test", limits, h), transport: &quic.Transport{Conn: conn}, address: conn.LocalAddr().String()}
	early, err := r.transport.ListenEarly(&tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{Protocol}}, r.server.Config())
	if err != nil {
		t.Fatal(err)
	}
	r.done.Go(func() {
		for {
			qc, err := early.Accept(context.Background())
			if err != nil {
				return
			}
			r.server.Admit()
			r.done.Go(func() { r.server.ServeConn(qc) })
		}
	})
	t.Cleanup(func() {
		_ = early.Close()
		r.server.Close()
		r.done.Wait()
		_ = r.transport.Close()
		_ = conn.Close()
		if n := r.server.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return r
}

// hold keeps the patrol from walking: it comes to the connections when look is called, and takes the
// time that it is told.
func (r *rig) hold() (look func(now int64)) {
	p := &r.server.patrol
	nobody := new(serverConn)
	p.mu.Lock()
	p.conns, p.stop = map[*serverConn]struct{}{nobody: {}}, make(chan struct{})
	p.mu.Unlock()
	r.t.Cleanup(func() {
		p.mu.Lock()
		delete(p.conns, nobody)
		p.mu.Unlock()
	})
	return func(now int64) { p.each(func(c *serverConn) { c.look(now) }) }
}

// closedBy calls look until the connection has ended.
func (p *peer) closedBy(look func()) string {
	for end := time.Now().Add(ample); time.Now().Before(end); look() {
		select {
		case <-p.Context().Done():
			return p.closed()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return "open"
}

// peer is a client that sends what it likes.
type peer struct {
	t testing.TB
	*quic.Conn
}

// bare connects and says nothing.
func (r *rig) bare() *peer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	conn, err := quic.DialAddr(ctx, r.address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{Protocol}}, &quic.Config{HandshakeIdleTimeout: ample})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(NoError), "") })
	return &peer{r.t, conn}
}

// dial connects and says what a client has to.
func (r *rig) dial() *peer {
	p := r.bare()
	p.uni("\x00" + frame(frameSettings, ""))
	return p
}

// uni opens a stream and sends something on it.
func (p *peer) uni(data string) *quic.SendStream {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	s, err := p.OpenUniStreamSync(ctx)
	if err == nil {
		_, err = s.Write([]byte(data))
	}
	if err != nil && p.closed() == "open" { // A stream may know of the end before its connection says so.
		p.t.Fatal(err)
	}
	return s
}

// request opens a stream and sends something on it.
func (p *peer) request(data string, end bool) *quic.Stream {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	s, err := p.OpenStreamSync(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	if data != "" {
		_, _ = s.Write([]byte(data)) // That it cannot be taken shows in what comes.
	}
	if end {
		_ = s.Close()
	}
	_ = s.SetReadDeadline(time.Now().Add(ample))
	return s
}

// frame makes one frame.
func frame(kind uint64, payload string) string {
	return string(appendVarint(appendVarint(nil, kind), uint64(len(payload)))) + payload
}

// number is an integer as a payload.
func number(n uint64) string { return string(appendVarint(nil, n)) }

// section makes a HEADERS frame of "name: value" lines.
func headers(lines ...string) string {
	block := appendSection(nil)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(line, ":") {
			name, value, _ = strings.Cut(line[1:], ": ")
			name = ":" + name
		}
		block = rawField(block, name, value)
	}
	return frame(frameHeaders, string(block))
}

// rawField encodes a field as it is, upper case too.
func rawField(out []byte, name, value string) []byte {
	out = appendInt(out, nameLiteral, 3, uint64(len(name)))
	out = append(out, name...)
	out = appendInt(out, 0, 7, uint64(len(value)))
	return append(out, value...)
}

// get and post are the heads of requests.
func get(path string, more ...string) string {
	return headers(append([]string{":method: GET", ":scheme: https", ":authority: a.example.com", ":path: " + path}, more...)...)
}

func post(path string, more ...string) string {
	return headers(append([]string{":method: POST", ":scheme: https", ":authority: a.example.com", ":path: " + path}, more...)...)
}

// answer is what came back on a stream.
type answer struct {
	status  string
	interim []string
	fields  []message.Field
	body    string
	trailer []message.Field
	frames  int // DATA frames
	end     string
}

// String says what happened in a few words.
func (a *answer) String() string {
	if a.end == "end" {
		return a.status
	}
	return strings.TrimSpace(a.status + " " + a.end)
}

// receive reads a stream to its end.
func receive(s *quic.Stream) *answer {
	a := &answer{end: "end"}
	all, err := io.ReadAll(s)
	if err != nil {
		a.end = ending(err)
	}
	for len(all) > 0 {
		h, n := parseFrame(all)
		if n == 0 || uint64(len(all)-n) < h.length {
			if a.end == "end" {
				a.end = "cut"
			} else if h.kind == frameData && n > 0 {
				a.body += string(all[n:])
			}
			break
		}
		payload := all[n : n+int(h.length)]
		all = all[n+int(h.length):]
		switch h.kind {
		case frameHeaders:
			a.head(payload)
		case frameData:
			a.frames++
			a.body += string(payload)
		}
	}
	return a
}

func (a *answer) head(block []byte) {
	var d decoder
	var fields []message.Field
	if !d.raw(block, &fields) {
		a.end = "undecodable"
		return
	}
	switch {
	case a.status != "":
		a.trailer = fields
	case fields[0].Value[0] == '1':
		a.interim = append(a.interim, fields[0].Value)
	default:
		a.status, a.fields = fields[0].Value, fields[1:]
	}
}

// raw decodes without judging.
func (d *decoder) raw(block []byte, to *[]message.Field) bool {
	block = block[2:]
	for len(block) > 0 {
		var ok bool
		if block, ok = d.line(block); !ok {
			return false
		}
	}
	text, at := string(d.text), 0
	for _, f := range d.fields {
		name, value := text[at:f.nameEnd], text[f.nameEnd:f.textEnd]
		if f.static >= 0 {
			name = staticTable[f.static].name
			if !f.value {
				value = staticTable[f.static].value
			}
		}
		at = f.textEnd
		*to = append(*to, message.Field{Name: name, Value: value})
	}
	return true
}

// ending says in a word why something ended.
func ending(err error) string {
	var stream *quic.StreamError
	var app *quic.ApplicationError
	switch {
	case errors.As(err, &stream):
		return fmt.Sprintf("reset %#x", uint64(stream.ErrorCode))
	case errors.As(err, &app):
		return fmt.Sprintf("closed %#x", uint64(app.ErrorCode))
	}
	return err.Error()
}

// closed waits for the end of the connection.
func (p *peer) closed() string {
	select {
	case <-p.Context().Done():
		return ending(context.Cause(p.Context()))
	case <-time.After(ample):
		return "open"
	}
}

// answer is a handler that answers with a text, and reads the request's body before.
func echo(x *message.Exchange) {
	if x.Problem() != nil {
		x.Response.Status = x.Problem().Status
		_ = x.Wire().Respond(x)
		return
	}
	body, err := message.ReadAll(x.Request.Body, 64<<20)
	if err != nil {
		x.Wire().Abort()
		return
	}
	x.Response.Status = 200
	x.Response.Header.Append("x-seen", x.Request.Method+" "+x.Request.RawPath)
	x.Response.Body = message.NewBytes(body)
	_ = x.Wire().Respond(x)
}
