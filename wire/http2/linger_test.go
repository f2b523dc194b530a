package http2

import "testing"

// What a client does wrong behind an answer that has come before its request had ended is told to it
// as if the answer had taken longer.
func TestWhatComesBehindAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, head, behind, want string }{
		{"no more window", postFrame(1, "/"), windowFrame(1, 0), "reset 1 PROTOCOL_ERROR"},
		{"too much window", postFrame(1, "/"), windowFrame(1, maxWindow), "reset 1 FLOW_CONTROL_ERROR"},
		{"trailers that do not end it", postFrame(1, "/"), frame(frameHeaders, flagEndHeaders, 1, field("x-sum", "1")), "reset 1 PROTOCOL_ERROR"},
		{"pseudo-fields in trailers", postFrame(1, "/"), frame(frameHeaders, endBoth, 1, field(":method", "GET")), "reset 1 PROTOCOL_ERROR"},
		{"more than was announced", lengthFrame(1, "1"), dataFrame(1, true, "test"), "reset 1 PROTOCOL_ERROR"},
		{"less than was announced", lengthFrame(1, "8"), dataFrame(1, true, "test"), "reset 1 PROTOCOL_ERROR"},
		{"less in two parts", lengthFrame(1, "9"), dataFrame(1, false, "test") + dataFrame(1, true, "test"), "reset 1 PROTOCOL_ERROR"},
		{"a head behind its reset", postFrame(1, "/"), resetFrame(1, 8) + getFrame(1, "/"), "goaway STREAM_CLOSED"},
		{"data behind its end", postFrame(1, "/"), dataFrame(1, true, "x") + dataFrame(1, true, "x"), "reset 1 STREAM_CLOSED"},
		{"nothing is wrong", postFrame(1, "/"), dataFrame(1, false, "x") + dataFrame(1, true, "x") + frame(framePing, 0, 0, "12345678"), "ping 12345678"},
		{"nor with trailers", postFrame(1, "/"), frame(frameHeaders, endBoth, 1, field("x-sum", "1")) + frame(framePing, 0, 0, "12345678"), "ping 12345678"},
		{"it has changed its mind", postFrame(1, "/"), resetFrame(1, 8) + frame(framePing, 0, 0, "12345678"), "ping 12345678"},
		{"it says nothing", postFrame(1, "/"), "", "reset 1 NO_ERROR"},
		{"what it sends does not fit", lengthFrame(1, "100000000"), "", "reset 1 NO_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, Limits{}, conformanceHandler)
			p := dialRaw(t, g.address()).send(greeting, c.head)
			p.until("end 1")
			p.send(c.behind)
			for {
				switch said := p.next(); said {
				case c.want:
					return
				case "window", "ack":
				default:
					t.Fatalf("got %q, want %q", said, c.want)
				}
			}
		})
	}
}

// lengthFrame is the head of a request with a body of an announced length.
func lengthFrame(id uint32, length string) string {
	return frame(frameHeaders, flagEndHeaders, id, pseudo("POST", "/")+field("content-length", length))
}

// Streams that linger do not take the room of others, and none is left behind.
func TestLingeringStreamsAreFew(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{Streams: 10}, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting)
	for i := range uint32(100) {
		id := 2*i + 1
		p.send(postFrame(id, "/"))
		p.until("end " + itoa(id))
	}
	p.send(getFrame(1001, "/"))
	p.until("end 1001")
	eventually(t, "streams are left", func() bool {
		open := 0
		g.server.each(func(c *serverConn) {
			c.link.mu.Lock()
			open += len(c.link.streams) + c.link.open
			c.link.mu.Unlock()
		})
		return open == 0
	})
}

// A head on a stream that ends while it is decoded is judged as it would have been before or behind that.
func TestLateHead(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/"))
	p.until("end 1")
	p.send(resetFrame(1, 8), lengthFrame(3, "100000000"))
	p.until("reset 3 NO_ERROR")
	g.server.each(func(c *serverConn) {
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		if f := c.link.lateHead(1); f == nil || f.code != StreamClosed {
			t.Errorf("on a stream that its client has ended: %v", f)
		}
		if f := c.link.lateHead(3); f != nil {
			t.Errorf("on a stream that we have reset: %v", f)
		}
	})
}
