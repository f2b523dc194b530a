package restart

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/test/rig"
)

// secured is a family that listens with TLS too.
func secured(t *testing.T) (f *family, secure string) {
	t.Helper()
	f, secure = newFamily(t, "10s"), free(t)
	f.write(fmt.Sprintf(`drain: { shutdown: %s }
admin: { address: "%s" }
listeners:
  - { name: web, address: "%s" }
  - { name: secure, address: "%s", tls: { self_signed: true } }
upstreams:
  - { name: origin, endpoints: ["http://%s"] }
routes:
  - { name: all, match: { path: /** }, upstream: origin }
`, f.drain, f.admin, f.web, secure, f.origin.address))
	return f, secure
}

// dialSecure makes a connection with TLS that speaks one protocol.
func dialSecure(address, protocol string) (*tls.Conn, error) {
	d := &net.Dialer{Timeout: rig.Patience}
	c, err := tls.DialWithDialer(d, "tcp", address, &tls.Config{
		ServerName: "localhost", NextProtos: []string{protocol},
		InsecureSkipVerify: true, // Each process makes a certificate of its own.
	})
	if err == nil && c.ConnectionState().NegotiatedProtocol != protocol {
		err = fmt.Errorf("%q was agreed on", c.ConnectionState().NegotiatedProtocol)
	}
	return c, err
}

// streaming is clients of HTTP/2 that ask all the time, several requests at once, and
// forgive nothing.
type streaming struct {
	t       *testing.T
	address string
	origin  *origin
	asked   atomic.Int64
	left    atomic.Int64 // connections that the gateway has brought to their end
	stop    atomic.Bool
	clients sync.WaitGroup
}

// The number of clients and of requests that each has under way.
const (
	streamingClients = 3
	streamingAtOnce  = 4
)

func newStreaming(t *testing.T, address string, o *origin) *streaming {
	a := &streaming{t: t, address: address, origin: o}
	for n := range streamingClients {
		a.clients.Go(func() {
			for turn := 0; !a.stop.Load(); turn++ {
				if err := a.connection(fmt.Sprint("client ", n, " connection ", turn)); err != nil {
					t.Errorf("client %d, connection %d: %v", n, turn, err)
					return
				}
			}
		})
	}
	t.Cleanup(a.end)
	return a
}

// multiplexed is one connection.
type multiplexed struct {
	*streaming
	who     string
	framer  *http2.Framer
	encoder *hpack.Encoder
	head    bytes.Buffer
	next    uint32
	open    map[uint32]*asked
	goAways []uint32 // the last streams that they name
}

// asked is a request that is under way.
type asked struct {
	body, got string
	status    string
}

// connection asks on one connection until the gateway ends it.
func (a *streaming) connection(who string) error {
	nc, err := dialSecure(a.address, "h2")
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	out := bufio.NewWriter(nc)
	c := &multiplexed{streaming: a, who: who, framer: http2.NewFramer(out, nc), next: 1, open: map[uint32]*asked{}}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.head)
	_, _ = out.WriteString(http2.ClientPreface) // The errors of a buffer come with Flush.
	_ = c.framer.WriteSettings()
	for {
		for len(c.open) < streamingAtOnce && len(c.goAways) == 0 && !a.stop.Load() {
			c.ask()
		}
		if len(c.open) == 0 && a.stop.Load() {
			return nil
		}
		if err := out.Flush(); err != nil {
			return err
		}
		_ = nc.SetDeadline(time.Now().Add(rig.Patience))
		f, err := c.framer.ReadFrame()
		if errors.Is(err, io.EOF) {
			return c.farewell()
		}
		if err == nil {
			err = c.take(f)
		}
		if err != nil {
			return fmt.Errorf("with %d requests under way, after GOAWAY of %v: %w", len(c.open), c.goAways, err)
		}
	}
}

// ask sends a request that must not be repeated by anybody.
func (c *multiplexed) ask() {
	body := fmt.Sprint(c.who, " request ", c.next)
	c.head.Reset()
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/once"}} {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // Into memory.
	}
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.head.Bytes(), EndHeaders: true})
	_ = c.framer.WriteData(c.next, true, []byte(body))
	c.open[c.next] = &asked{body: body}
	c.next += 2
}

// take takes a frame.
func (c *multiplexed) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			return fmt.Errorf("GOAWAY %v", f.ErrCode)
		}
		c.goAways = append(c.goAways, f.LastStreamID)
		for id := range c.open {
			if id > f.LastStreamID {
				return fmt.Errorf("request %d is not going to be served", id)
			}
		}
	case *http2.RSTStreamFrame:
		return fmt.Errorf("request %d is reset: %v", f.StreamID, f.ErrCode)
	case *http2.MetaHeadersFrame:
		c.open[f.StreamID].status = f.PseudoValue("status")
		if f.StreamEnded() {
			return c.answered(f.StreamID)
		}
	case *http2.DataFrame:
		c.open[f.StreamID].got += string(f.Data())
		if n := len(f.Data()); n > 0 {
			_ = c.framer.WriteWindowUpdate(0, uint32(n))
		}
		if f.StreamEnded() {
			return c.answered(f.StreamID)
		}
	}
	return nil
}

// answered checks an answer that is complete.
func (c *multiplexed) answered(id uint32) error {
	a := c.open[id]
	delete(c.open, id)
	if a.status != "200" || a.got != a.body {
		return fmt.Errorf("%q is answered %s %q", a.body, a.status, a.got)
	}
	c.asked.Add(1)
	return nil
}

// farewell checks how the gateway has ended the connection: in two steps, and with
// nothing under way (RFC 9113 §6.8).
func (c *multiplexed) farewell() error {
	if len(c.open) > 0 {
		return fmt.Errorf("the connection ends with %d requests under way", len(c.open))
	}
	if len(c.goAways) != 2 || c.goAways[0] != math.MaxInt32 || c.goAways[1] != c.next-2 {
		return fmt.Errorf("GOAWAY names %v, the last request was %d", c.goAways, c.next-2)
	}
	c.left.Add(1)
	return nil
}

// flows waits until many more requests were answered.
func (a *streaming) flows() {
	a.t.Helper()
	before := a.asked.Load()
	err := rig.Eventually(func() error {
		if n := a.asked.Load() - before; n < 100 {
			return fmt.Errorf("only %d requests were answered", n)
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// end ends the clients.
func (a *streaming) end() {
	a.stop.Store(true)
	a.clients.Wait()
}

// once checks that the origin has got each request that was answered, and none twice.
func (a *streaming) once() {
	a.t.Helper()
	a.origin.mu.Lock()
	defer a.origin.mu.Unlock()
	if n := a.asked.Load(); int64(len(a.origin.seen)) != n {
		a.t.Errorf("%d requests were answered, the origin has got %d", n, len(a.origin.seen))
	}
	for body, times := range a.origin.seen {
		if times != 1 {
			a.t.Errorf("the origin has got %q %d times", body, times)
		}
	}
}

// Clients with TLS, of HTTP/1.1 and of HTTP/2, notice nothing of restarts under load: no
// connection is refused, no request lost, and none is served twice.
func TestUpgradesUnderSecureTraffic(t *testing.T) {
	t.Parallel()
	f, secure := secured(t)
	pid := f.start()
	f.ready()
	plain := newTrafficOver(t, func() (*visitor, error) {
		c, err := dialSecure(secure, "http/1.1")
		if err != nil {
			return nil, err
		}
		return &visitor{c, bufio.NewReader(c)}, nil
	})
	many := newStreaming(t, secure, f.origin)
	for n := range 3 {
		plain.flows()
		many.flows()
		next := f.upgrade(pid)
		f.exits(pid, 0)
		pid = next
		err := rig.Eventually(func() error {
			if left, want := many.left.Load(), int64(streamingClients*(n+1)); left != want {
				return fmt.Errorf("after %d restarts %d connections were brought to their end, want %d", n+1, left, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	plain.flows()
	many.flows()
	many.end()
	plain.end()
	many.once()
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	f.gone()
}
