package http2

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// awaitSender waits until a stream waits for window.
func (g *gateway) awaitSender() {
	g.t.Helper()
	eventually(g.t, "no stream waits for window", func() (waits bool) {
		g.server.each(func(c *serverConn) {
			c.link.mu.Lock()
			defer c.link.mu.Unlock()
			for _, s := range c.link.streams {
				waits = waits || s.sendBy != 0
			}
		})
		return waits
	})
}

// awaitStreams waits until so many are there.
func (g *gateway) awaitStreams(n int) {
	g.t.Helper()
	eventually(g.t, "another number of streams", func() (right bool) {
		g.server.each(func(c *serverConn) {
			c.link.mu.Lock()
			right = len(c.link.streams) == n
			c.link.mu.Unlock()
		})
		return right
	})
}

// Streams that wait already go on when their window opens, whichever way that is (RFC 9113 §6.9).
func TestWindowThatOpensLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ settings, more string }{
		"of the stream":     {settingFrame(settingWindow, 0) + windowFrame(0, 1<<20), windowFrame(1, 1<<20)},
		"by SETTINGS":       {settingFrame(settingWindow, 0) + windowFrame(0, 1<<20), settingFrame(settingWindow, 1<<20)},
		"of the connection": {settingFrame(settingWindow, 1<<20), windowFrame(0, 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, Limits{}, conformanceHandler)
			p := dialRaw(t, g.address()).send(preface, c.settings, getFrame(1, "/big"))
			g.awaitSender()
			p.send(c.more)
			p.until("end 1")
			if p.data[1] != 200_000 {
				t.Errorf("%d bytes", p.data[1])
			}
		})
	}
}

// A client that makes its table smaller hears nothing any more of what is not in it (RFC 9113 §4.3.1).
func TestSmallerTable(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Header.Append("X-Same", "the value of each answer")
		_ = say(x, 200, "hello")
	}))
	p := dialRaw(t, g.address()).send(greeting)
	p.until("ack")
	id := uint32(1)
	for _, size := range []uint32{4096, 0, 4096, 100} {
		p.send(settingFrame(settingTableSize, size))
		p.until("ack")
		p.decoder.SetAllowedMaxDynamicTableSize(size)
		p.decoder.SetMaxDynamicTableSize(min(size, 100)) // Less than it may be: what was there is gone.
		for range 4 {
			p.send(getFrame(id, "/"))
			p.until("end " + itoa(id))
			id += 2
		}
	}
}

// Heads that are not served are decoded all the same: those behind them are coded with the same table (RFC 9113 §4.3).
func TestHeadsThatAreNotServed(t *testing.T) {
	t.Parallel()
	indexed := frame(frameHeaders, endBoth, 3, pseudo("GET", "/")+indexedField("x-late", strings.Repeat("v", 20)))
	t.Run("behind a GOAWAY", func(t *testing.T) {
		t.Parallel()
		g := serve(t, Limits{}, conformanceHandler)
		p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/read"))
		g.awaitStreams(1)
		g.server.Drain()
		p.until("asked " + drainPing)
		p.send(frame(framePing, flagAck, 0, drainPing))
		p.until("goaway NO_ERROR")
		p.send(indexed, frame(frameHeaders, endBoth, 1, "\xbe"))
		p.until("end 1")
		p.until("closed")
	})
	t.Run("on a stream that we have reset", func(t *testing.T) {
		t.Parallel()
		g := serve(t, Limits{}, conformanceHandler)
		p := dialRaw(t, g.address()).send(greeting, postFrame(3, "/wait"), windowFrame(3, 0))
		p.until("reset 3 PROTOCOL_ERROR")
		g.awaitStreams(0)
		p.send(indexed, frame(frameHeaders, endBoth, 5, pseudo("GET", "/")+"\xbe"))
		p.until("end 5")
	})
}

// A head that does not fit into one frame is cut up (RFC 9113 §4.2), and trailers belong to no connection of HTTP/1.
func TestLargeHeadAndTrailers(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("v", 50_000)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Header.Append("X-Large", large)
		trailer := new(message.Header)
		trailer.Append("X-Sum", "1")
		trailer.Append("Connection", "close")
		x.Response.Status = 200
		x.Response.Body = &streamed{pieces: [][]byte{[]byte("body")}, length: -1, trailer: trailer}
		if err := x.Wire().Respond(x); err != nil {
			t.Error(err)
		}
	}))
	resp, data := get(t, g.transport(), "GET", g.url("/"), nil)
	if resp.Header.Get("X-Large") != large || string(data) != "body" || resp.Trailer.Get("X-Sum") != "1" || resp.Trailer.Get("Connection") != "" {
		t.Errorf("%d bytes, %q, %v", len(resp.Header.Get("X-Large")), data, resp.Trailer)
	}
}

// An origin that begins with something else than SETTINGS speaks no HTTP/2 (RFC 9113 §3.4).
func TestOriginWithoutSettings(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	o.send(frame(framePing, 0, 0, "12345678"))
	<-o.pool.dead
}
