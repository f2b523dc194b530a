package http1

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// respondTunnel sends the 101 and joins the two connections until one of them ends or
// both are silent for too long. Not one byte flows before the 101 (RFC 9110
// §7.8): what the client sent too early is still in our buffer.
func (c *serverConn) respondTunnel(x *message.Exchange) error {
	tunnel := x.Response.Tunnel
	defer func() { _ = tunnel.Close() }()
	c.closing = true
	out := appendStatusLine(c.work.out[:0], 101)
	for _, f := range x.Response.Header.Fields() {
		out = appendField(out, f.Name, f.Value)
	}
	out = append(out, "Connection: upgrade\r\n\r\n"...)
	if err := c.flush(out, nil); err != nil {
		return err
	}
	early := append([]byte(nil), c.stream.buf[c.stream.r:c.stream.w]...)
	c.stream.r, c.stream.w = 0, 0
	c.join(tunnel, early)
	return nil
}

// tunnelBuffer is the size of a tunnel's two buffers. Tunnels are many and mostly idle.
const tunnelBuffer = 4 << 10

// join copies in both directions: the origin's bytes on this goroutine, the
// client's on another, which has ended when join returns.
func (c *serverConn) join(tunnel message.Tunnel, early []byte) {
	_ = c.stream.sock.nc.SetReadDeadline(time.Time{})
	c.stream.sock.readBy = 0
	upDone := make(chan struct{})
	var halfClosed atomic.Bool
	go func() {
		defer close(upDone)
		c.copyUp(tunnel, early, &halfClosed)
	}()
	buf := make([]byte, tunnelBuffer)
	for {
		n, err := tunnel.Read(buf)
		if n > 0 && c.flush(buf[:n], nil) != nil {
			break
		}
		if err != nil {
			if err == io.EOF && c.closeWrite() {
				// The client may still have something to say. From now on nobody but its own
				// silence would end that.
				halfClosed.Store(true)
				_ = c.stream.sock.nc.SetReadDeadline(time.Now().Add(c.limits.IdleTimeout))
				<-upDone
			}
			break
		}
	}
	c.stream.sock.interruptRead()
	_ = tunnel.Close()
	<-upDone
}

func (c *serverConn) copyUp(tunnel message.Tunnel, early []byte, halfClosed *atomic.Bool) {
	if len(early) > 0 {
		if _, err := tunnel.Write(early); err != nil {
			_ = tunnel.Close()
			return
		}
	}
	buf := make([]byte, tunnelBuffer)
	for {
		if halfClosed.Load() {
			c.stream.sock.allowRead(clock(), c.limits.IdleTimeout)
		}
		n, err := c.stream.sock.read(buf)
		if n > 0 {
			c.tunnelIn += int64(n)
			if _, werr := tunnel.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err == io.EOF && tunnel.CloseWrite() == nil {
			return
		}
		if err != nil {
			break
		}
	}
	_ = tunnel.Close()
}

func (c *serverConn) closeWrite() bool {
	type halfCloser interface{ CloseWrite() error }
	hc, ok := c.stream.sock.nc.(halfCloser)
	return ok && hc.CloseWrite() == nil
}
