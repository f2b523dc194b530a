package http2

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// byteConn is a connection from which a fixed text is read; what is written is dropped.
type byteConn struct {
	net.Conn
	r io.Reader
}

func (c *byteConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *byteConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *byteConn) Close() error                     { return nil }
func (c *byteConn) SetReadDeadline(time.Time) error  { return nil }
func (c *byteConn) SetWriteDeadline(time.Time) error { return nil }
func (c *byteConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *byteConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// Whatever a client sends, the server comes to an end, and no exchange breaks a rule of the border.
func FuzzServer(f *testing.F) {
	for _, c := range conformanceCases {
		f.Add([]byte(c.send), uint8(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		s := NewServer("fuzz", Limits{}, handlerFunc(func(x *message.Exchange) {
			checkRequest(t, x)
			if x.Problem() == nil {
				_, _ = x.Request.ReadBody(1 << 16)
			}
			_ = say(x, 200, "hello")
		}))
		var r io.Reader = io.MultiReader(strings.NewReader(greeting), strings.NewReader(string(data)))
		if piece > 0 {
			r = &pieces{r, int(piece)}
		}
		s.Admit()
		s.ServeConn(&byteConn{r: r}, netip.AddrPort{})
		if s.Connections() != 0 {
			t.Error("a connection is left")
		}
	})
}

// pieces reads in small pieces.
type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }

// checkRequest is what everybody behind the wire may believe.
func checkRequest(t *testing.T, x *message.Exchange) {
	r := &x.Request
	if x.Problem() != nil {
		return
	}
	if !message.ValidName(r.Method) || r.Authority == "" || r.RawPath == "" || r.RawPath != "*" && r.RawPath[0] != '/' {
		t.Errorf("%q %q %q", r.Method, r.Authority, r.RawPath)
	}
	for _, s := range []string{r.RawPath, r.Query} {
		for i := range len(s) {
			if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
				t.Errorf("target %q %q", r.RawPath, r.Query)
			}
		}
	}
	for _, f := range r.Header.Fields() {
		if !message.ValidName(f.Name) || f.Name != message.LowerASCII(f.Name) || !message.ValidValue(f.Value) || f.Value != message.TrimOWS(f.Value) {
			t.Errorf("field %q: %q", f.Name, f.Value)
		}
		if section.ConnectionField(f.Name) || f.Name == "host" || f.Name == "expect" || f.Name == "te" && f.Value != "trailers" {
			t.Errorf("field %q is on the border", f.Name)
		}
	}
}

// Whatever an origin sends, the client comes to an end.
func FuzzClient(f *testing.F) {
	f.Add([]byte(emptySettings+frame(frameHeaders, flagEndHeaders, 1, field(":status", "200"))+dataFrame(1, true, "x")), uint8(0))
	f.Add([]byte(emptySettings+frame(frameHeaders, endBoth, 1, field(":status", "204"))), uint8(1))
	f.Add([]byte(emptySettings+frame(frameHeaders, flagEndHeaders, 1, field(":status", "103"))+frame(frameGoAway, 0, 0, u32(0)+u32(0))), uint8(3))
	limits := ClientLimits{}.WithDefaults()
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		sent := make(chan struct{})
		var r io.Reader = io.MultiReader(&gate{sent}, strings.NewReader(string(data)))
		if piece > 0 {
			r = &pieces{r, int(piece)}
		}
		pool := &countingPool{dead: make(chan struct{})}
		c := NewClientConn(&byteConn{r: r}, &limits, new(Counters), pool)
		x := ask(new(quietWire), "POST", "/", message.NewBytes([]byte("body")))
		go func() { // The answer must not come before the request.
			for c.Streams() == 0 && c.CanTake() {
				time.Sleep(time.Microsecond)
			}
			close(sent)
		}()
		if failure := c.RoundTrip(x, &x.Request, &x.Response); failure == nil {
			if x.Response.Status < 200 || x.Response.Status > 599 {
				t.Errorf("status %d", x.Response.Status)
			}
			_, _ = message.ReadAll(x.Response.Body, 1<<20)
			x.Response.CloseBody()
		}
		<-pool.dead
		if c.Streams() != 0 {
			t.Error("a stream is left")
		}
	})
}

// gate is an empty text that comes when a channel is closed.
type gate struct{ open chan struct{} }

func (g *gate) Read([]byte) (int, error) {
	<-g.open
	return 0, io.EOF
}

// A header block is accepted only if all of its fields may stand before an HTTP/1 parser.
func FuzzHead(f *testing.F) {
	for _, c := range conformanceCases {
		if len(c.send) > frameHeaderLen && c.send[3] == frameHeaders {
			f.Add([]byte(c.send[frameHeaderLen:]))
		}
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		var l link
		limits := Limits{}.withDefaults()
		l.init(&byteConn{}, nil, limits.bounds())
		var h message.Header
		l.reader.head.Begin(section.Request, &h, 4096, 20)
		fault := l.decodeBlock(block)
		twin := hpack.NewDecoder(4096, nil)
		_, err := twin.DecodeFull(block)
		if _, two, _ := section.ReadInt(block, 5); len(block) > 0 && block[0]&0xe0 == 0x20 && len(two) > 0 && two[0]&0xe0 == 0x20 {
			return // The twin takes two changes of the table's size only while its table is empty.
		}
		if err != nil && fault == nil {
			t.Fatalf("decoded, although %v", err)
		}
		x := new(message.Exchange)
		if fault != nil || l.reader.head.CheckRequest() != "" {
			return
		}
		x.Request.Header.CopyFrom(&h)
		if p := l.reader.head.FillRequest(&x.Request, "HTTP/2", 4096, false); p != nil {
			return
		}
		checkRequest(t, x)
	})
}
