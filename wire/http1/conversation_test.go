package http1

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/attempt"
)

// TestConversation has a client and an origin that are each silent for longer than a body may be, but not both, once
// the answer has begun.
func TestConversation(t *testing.T) {
	t.Parallel()
	attempt.Run(t, originSilence, converse)
}

// The client speaks each time when it was silent for too long, but for an origin.
const (
	clientSilence = 500 * time.Millisecond
	speaksEach    = 600 * time.Millisecond
	originSilence = 2 * time.Second
	says          = 5
)

func converse(t *attempt.T) {
	const piece, end = "1\r\nx\r\n", "0\r\n\r\n"
	heard := make(chan struct{}, says)
	g, k := proxy(t, Limits{BodyTimeout: clientSilence, MinimumBodyRate: 1 << 40}, ClientLimits{BodyTimeout: originSilence}, func(_ int, p *peer) {
		defer close(heard)
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range says {
			p.expect(piece)
			heard <- struct{}{}
		}
		p.expect(end)
		p.send("5\r\nwhole\r\n" + end)
		_, _ = p.rest()
	})
	c := g.dial()
	c.send("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatal(head)
	}
	t.Within(clientSilence)
	for range says {
		time.Sleep(speaksEach)
		c.send(piece)
		<-heard
		t.Within(originSilence)
	}
	c.send(end)
	c.expect("5\r\nwhole\r\n" + end)
	t.Within(originSilence)
	// The next request is bounded as before.
	c.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9\r\n\r\nx")
	if rest, _ := c.rest(); !strings.Contains(rest, "408") && !strings.Contains(rest, "502") {
		t.Errorf("%q", rest)
	}
	k.closeIdle()
}
