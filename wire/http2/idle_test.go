package http2

import (
	"testing"
	"time"
)

// A connection that has nothing to do gives its large buffer back, and works on afterwards.
func TestIdleConnectionsKeepNoLargeBuffer(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{WriteTimeout: 8 * time.Millisecond}, hello) // The timeouts say how often it looks.
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
	p.until("end 1")
	var l *link
	g.server.each(func(c *serverConn) { l = &c.link })
	eventually(t, "the buffer is kept", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !l.largeHeld && !l.nudged && len(l.streams) == 0
	})
	p.send(getFrame(3, "/"))
	p.until("end 3")
	p.alive()
}
