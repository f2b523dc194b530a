package http1

import (
	"github.com/sluice-gateway/sluice/message"
)

// startTunnel accepts a 101 only if it was asked for, and for the protocol that was
// asked for.
func (c *ClientConn) startTunnel(req *message.Request, resp *message.Response) *Failure {
	f := &c.framing
	if req.Upgrade == "" || f.upgrade == "" || !f.wantsUp || !message.HasToken(req.Upgrade, f.upgrade) {
		return c.malformedHead("the origin switches to a protocol that nobody asked for")
	}
	resp.Header.Append("Upgrade", f.upgrade)
	resp.Tunnel = &originEnd{conn: c}
	return nil
}

// originEnd is the origin's side of a tunnel. It implements message.Tunnel.
type originEnd struct {
	conn *ClientConn
	lent lentBuffer
	wakeup
}

// Next implements message.Tunnel. It fails when both directions were silent for ClientLimits.BodyTimeout.
func (e *originEnd) Next() ([]byte, error) {
	c := e.conn
	if c.stream.buffered() > 0 { // It came with the 101.
		p := c.stream.buf[c.stream.r:c.stream.w]
		c.stream.r = c.stream.w
		return p, nil
	}
	if c.buffers != nil { // A tunnel lives long: it keeps no more than it needs.
		c.release()
	}
	e.lent.returnBuffer()
	s := &c.stream.sock
	for {
		now := clock()
		s.allowRead(now, c.limits.BodyTimeout)
		if e.asked.Load() {
			s.interruptRead() // It may have come before the deadline was moved.
		}
		n, err := e.read(s, &e.lent)
		if err == nil {
			return e.lent.buffer[:n], nil
		}
		e.lent.returnBuffer()
		if isTimeout(err) {
			if woken, ok := e.taken(s); ok {
				return nil, woken
			}
			if c.wroteSince(now) {
				continue // Only one direction is silent.
			}
		}
		return nil, err
	}
}

func (c *ClientConn) wroteSince(start int64) bool { return c.lastWrite.Load() >= start }

// Write implements message.Tunnel.
func (e *originEnd) Write(p []byte) (int, error) {
	c := e.conn
	now := clock()
	c.lastWrite.Store(now)
	c.stream.sock.allowWrite(now, c.limits.BodyTimeout)
	return c.stream.sock.write(p, nil)
}

// CloseWrite implements message.Tunnel.
func (e *originEnd) CloseWrite() error {
	type halfCloser interface{ CloseWrite() error }
	if hc, ok := e.conn.stream.sock.nc.(halfCloser); ok {
		return hc.CloseWrite()
	}
	return e.conn.stream.sock.nc.Close()
}

// Wake implements message.Tunnel.
func (e *originEnd) Wake() { e.wake(&e.conn.stream.sock) }

// Close implements message.Tunnel. The connection is never reused.
func (e *originEnd) Close() error {
	c := e.conn
	e.closed.Store(true)
	err := c.stream.sock.nc.Close()
	c.closeOnce.Do(func() { c.pool.Dead(c) })
	return err
}
