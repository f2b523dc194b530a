package http1

import (
	"strings"
	"testing"
	"time"
)

// TestConversation has a client and an origin that are each silent for longer than a body may be, but not both, once
// the answer has begun.
func TestConversation(t *testing.T) {
	t.Parallel()
	const piece, end = "1\r\nx\r\n", "0\r\n\r\n"
	g, k := proxy(t, Limits{BodyTimeout: 60 * time.Millisecond, MinimumBodyRate: 1 << 40}, ClientLimits{BodyTimeout: time.Second}, func(_ int, p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		p.expect(strings.Repeat(piece, 16) + end)
		p.send("5\r\nwhole\r\n" + end)
		_, _ = p.rest()
	})
	c := g.dial()
	c.send("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatal(head)
	}
	for range 16 {
		time.Sleep(100 * time.Millisecond)
		c.send(piece)
	}
	c.send(end)
	c.expect("5\r\nwhole\r\n" + end)
	// The next request is bounded as before.
	c.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9\r\n\r\nx")
	if rest, _ := c.rest(); !strings.Contains(rest, "408") && !strings.Contains(rest, "502") {
		t.Errorf("%q", rest)
	}
	k.closeIdle()
}
