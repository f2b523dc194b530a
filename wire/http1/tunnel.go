package http1

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
)

// respondTunnel sends the 101. Not one byte flows before that (RFC 9110 §7.8): what the client sent
// too early is still in our buffer.
func (c *serverConn) respondTunnel(x *message.Exchange) error {
	c.closing = true
	out := appendStatusLine(c.work.io.out[:0], 101)
	for _, f := range x.Response.Header.Fields() {
		out = appendField(out, f.Name, f.Value)
	}
	out = append(out, "Connection: upgrade\r\n\r\n"...)
	if err := c.flush(out, nil); err != nil {
		return err
	}
	client := &clientEnd{conn: c, early: append([]byte(nil), c.stream.buf[c.stream.r:c.stream.w]...)}
	c.stream.r, c.stream.w = 0, 0
	c.returnRoom()
	_ = c.stream.sock.nc.SetReadDeadline(time.Time{})
	c.stream.sock.readBy = 0

	joint := tunnel.New(client, x.Response.Tunnel, message.EqualFold(x.Request.Upgrade, "websocket"))
	c.joint.Store(joint)
	x.SetLeaver(joint)
	if c.server.draining.Load() { // Drain may have looked before.
		joint.Leave()
	}
	return nil
}

// runTunnel joins the two connections until one of them ends or both are silent for too long. A
// tunnel lives long and is mostly idle, so it does not keep the stack that grew while the exchange
// was decided about, nor a buffer.
func (c *serverConn) runTunnel() {
	c.joint.Load().Run()
	c.joint.Store(nil)
	c.work.x.Finish()
	c.endExchange()
	c.lingerAndFinish()
	c.end()
}

// tunnelBuffer is what one direction of a tunnel needs while bytes pass.
type tunnelBuffer [16 << 10]byte

var tunnelBuffers = sync.Pool{New: func() any { return new(tunnelBuffer) }}

// lentBuffer is the buffer of one direction, while there is something in it. It implements leaser.
type lentBuffer struct {
	buffer *tunnelBuffer
	first  [1]byte // what a connection with TLS waits with
}

func (l *lentBuffer) takeBuffer() []byte {
	if l.buffer == nil {
		l.buffer = tunnelBuffers.Get().(*tunnelBuffer)
	}
	return l.buffer[:]
}

func (l *lentBuffer) returnBuffer() {
	if l.buffer != nil {
		tunnelBuffers.Put(l.buffer)
		l.buffer = nil
	}
}

// wakeup ends a wait for bytes from another goroutine, by the deadline of the socket.
type wakeup struct {
	asked  atomic.Bool
	closed atomic.Bool
}

func (w *wakeup) wake(s *socket) {
	w.asked.Store(true)
	s.interruptRead()
}

// read waits for bytes and reads into a buffer that is lent when they are there.
//
// TLS cannot be waited for without a place for what it has read, so one byte is waited for. The rest of its
// record is there then, and is read under a deadline that is over: that neither waits nor breaks anything.
func (w *wakeup) read(s *socket, l *lentBuffer) (int, error) {
	if s.tcp == nil {
		return s.readIdle(l)
	}
	if n, err := s.nc.Read(l.first[:]); n == 0 {
		return 0, err
	}
	p := l.takeBuffer()
	p[0] = l.first[0]
	_ = s.nc.SetReadDeadline(past)
	n, _ := s.nc.Read(p[1:]) // An error comes again.
	if s.readBy == 0 {
		_ = s.nc.SetReadDeadline(time.Time{})
	} else {
		s.setReadBy(s.readBy)
	}
	if w.asked.Load() {
		s.interruptRead() // It may have come before the deadline was moved.
	}
	return 1 + n, nil
}

// taken says whether a read failed because of wake, and what Next returns then.
func (w *wakeup) taken(s *socket) (error, bool) {
	if !w.asked.Swap(false) {
		return nil, false
	}
	_ = s.nc.SetReadDeadline(time.Time{})
	s.readBy = 0
	if w.closed.Load() { // Behind the deadline: who closes comes before it, or after it.
		return io.ErrClosedPipe, true
	}
	return tunnel.ErrWoken, true
}

// clientEnd is the client's side of a tunnel. It implements tunnel.Side.
type clientEnd struct {
	conn  *serverConn
	early []byte // what came before the 101
	lent  lentBuffer
	wakeup
	halfClosed atomic.Bool
}

// Next implements tunnel.Side. There is no limit for the silence of the client alone, until the
// origin has said everything: nobody but the client would end the tunnel then.
func (e *clientEnd) Next() ([]byte, error) {
	c := e.conn
	if p := e.early; len(p) > 0 {
		e.early = nil
		c.tunnelIn += int64(len(p))
		return p, nil
	}
	s := &c.stream.sock
	e.lent.returnBuffer()
	if e.halfClosed.Load() {
		s.allowRead(clock(), c.limits.IdleTimeout)
		if e.asked.Load() {
			s.interruptRead() // It may have come before the deadline was moved.
		}
	}
	n, err := e.read(s, &e.lent)
	if err == nil {
		c.tunnelIn += int64(n)
		return e.lent.buffer[:n], nil
	}
	e.lent.returnBuffer()
	if isTimeout(err) {
		if woken, ok := e.taken(s); ok {
			return nil, woken
		}
	}
	return nil, err
}

// Write implements tunnel.Side.
func (e *clientEnd) Write(p []byte) (int, error) { return len(p), e.conn.flush(p, nil) }

// CloseWrite implements tunnel.Side. From now on the client has the idle timeout for what it still has
// to say.
func (e *clientEnd) CloseWrite() error {
	type halfCloser interface{ CloseWrite() error }
	hc, ok := e.conn.stream.sock.nc.(halfCloser)
	if !ok {
		return io.ErrClosedPipe
	}
	if err := hc.CloseWrite(); err != nil {
		return err
	}
	e.halfClosed.Store(true)
	e.Wake() // The deadline belongs to Next: it may be just now that of a read that must not wait.
	return nil
}

// Wake implements tunnel.Side.
func (e *clientEnd) Wake() { e.wake(&e.conn.stream.sock) }

// Close implements tunnel.Side. The connection itself is closed by who serves it, after what was
// written has arrived.
func (e *clientEnd) Close() error {
	e.closed.Store(true)
	e.Wake()
	return nil
}
