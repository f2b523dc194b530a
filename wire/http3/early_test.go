package http3

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/message"
)

// gate is a client's socket that keeps what the server sends to itself until it is opened. With it shut
// no handshake is completed, and the client's connection does not change the parameters that
// it remembers while streams are opened with them, which quic-go does without a lock.
type gate struct {
	net.PacketConn
	open chan struct{}
}

func (g *gate) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := g.PacketConn.ReadFrom(p)
	<-g.open
	return n, from, err
}

// tickets is a session cache that says when there is a ticket.
type tickets struct {
	tls.ClientSessionCache
	came chan struct{}
}

func (c *tickets) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	if state != nil {
		c.came <- struct{}{}
	}
}

// gated connects through a gate that is shut until open is called, with the session in the cache; without
// one the gate is open.
func (r *rig) gated(cache tls.ClientSessionCache, resumes bool) (p *peer, open func()) {
	r.t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		r.t.Fatal(err)
	}
	server, err := net.ResolveUDPAddr("udp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	g := &gate{socket, make(chan struct{})}
	if open = sync.OnceFunc(func() { close(g.open) }); !resumes {
		open()
	}
	transport := &quic.Transport{Conn: g}
	r.t.Cleanup(func() {
		open()
		_, _ = transport.Close(), socket.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	secure := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{Protocol}, ClientSessionCache: cache}
	conn, err := transport.DialEarly(ctx, server, secure, &quic.Config{Allow0RTT: true, HandshakeIdleTimeout: ample})
	if err != nil {
		r.t.Fatal(err)
	}
	p = &peer{r.t, conn}
	p.uni("\x00" + frame(frameSettings, ""))
	return p, open
}

// awaitRead waits until the server has read n bytes of a request, and some time in which it might serve it.
func (r *rig) awaitRead(n int) {
	r.t.Helper()
	for end := time.Now().Add(ample); ; time.Sleep(5 * time.Millisecond) {
		all := int64(0)
		r.server.patrol.each(func(c *serverConn) {
			c.mu.Lock()
			for s := c.first; s != nil; s = s.next {
				all += s.in.bytes.Load()
			}
			c.mu.Unlock()
		})
		if all == int64(n) {
			break
		}
		if time.Now().After(end) {
			r.t.Fatalf("%d of %d bytes were read before the handshake was complete", all, n)
		}
	}
	time.Sleep(50 * time.Millisecond)
}

// A request that came before the handshake was complete is told to the origin, or waits.
func TestEarlyData(t *testing.T) {
	t.Parallel()
	var shut atomic.Bool // the handshake cannot be complete
	served := make(chan bool, 10)
	r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
		served <- shut.Load()
		x.Response.Status = 200
		if x.Request.Header.Count("early-data") == 1 {
			x.Response.Header.Append("x-early", x.Request.Header.Get("early-data"))
		}
		_ = x.Wire().Respond(x)
	}))
	cache := &tickets{tls.NewLRUClientSessionCache(1), make(chan struct{}, 10)}
	for i, c := range []struct{ head, want string }{
		{get("/"), ""}, // Without a ticket nothing is early.
		{get("/"), "1"}, {get("/", "early-data: 1"), "1"}, {post("/"), ""},
		{headers(":method: OPTIONS", ":scheme: https", ":authority: a.example.com", ":path: /"), "1"},
		{headers(":method: DELETE", ":scheme: https", ":authority: a.example.com", ":path: /"), ""},
	} {
		shut.Store(i > 0)
		p, open := r.gated(cache, i > 0)
		s := p.request(c.head, true)
		if i > 0 {
			if c.want == "" {
				r.awaitRead(len(c.head))
			} else {
				select {
				case <-served:
				case <-time.After(ample):
					t.Fatalf("%q waits for the handshake", c.head)
				}
			}
			shut.Store(false)
			open()
		}
		a := receive(s)
		if a.String() != "200" || field(a, "x-early") != c.want {
			t.Fatalf("%q: %s, %v", c.head, a, a.fields)
		}
		if c.want == "" && <-served {
			t.Errorf("%q was served early", c.head)
		}
		select {
		case <-cache.came:
		case <-p.Context().Done():
			t.Fatal("no ticket came")
		}
		if used := p.ConnectionState().Used0RTT; used != (i > 0) {
			t.Errorf("%q: early data: %v", c.head, used)
		}
		_ = p.CloseWithError(0x100, "")
	}
	if n := r.server.Counters.Early.Value(); n != 3 {
		t.Errorf("%d requests were counted", n)
	}
}
