package http1

import (
	"errors"
	"io"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// fillBody implements bodyOwner: it reads more of a request's body.
func (c *serverConn) fillBody() error {
	if c.expects {
		c.sendContinue()
	}
	if !c.stream.room() {
		if c.stream.large != nil {
			return message.BadRequestBody.WithDetail("a line of the body's framing is too long")
		}
		c.stream.grow()
	}
	now := clock()
	// A request whose answer has begun is a conversation: how fast the client speaks is its own
	// affair.
	answering := c.answering.Load()
	switch {
	case c.discardBy != 0:
		c.stream.sock.setReadBy(c.discardBy)
	case answering:
		c.stream.sock.allowRead(now, max(longestSilence, c.limits.BodyTimeout))
	default:
		c.stream.sock.allowRead(now, c.limits.BodyTimeout)
	}
	if c.stopped.Load() { // StopBody may have come before the deadline was moved.
		c.stream.sock.setReadBy(clock() + int64(stopGrace))
	}
	if !answering && c.tooSlow() {
		return message.RequestBodyTooSlow
	}
	n, err := c.stream.sock.read(c.stream.buf[c.stream.w:])
	if err != nil {
		switch {
		case isTimeout(err) && !c.stopped.Load():
			if !answering && c.answering.Load() { // It has begun meanwhile.
				return c.fillBody()
			}
			return message.RequestBodyTooSlow
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return message.BadRequestBody.WithDetail("the request body ended early")
		}
		return message.ClientGone
	}
	c.stream.put(n)
	if c.limits.MinimumBodyRate > 0 {
		c.waited += clock() - now
	}
	return nil
}

// longestSilence is how long a client may be silent once its answer has begun. What is silent on both sides
// is ended by the limits of the answer, long before.
const longestSilence = time.Hour

// tooSlow says that a client keeps a body going by single bytes. Only the time that
// we waited for it counts, not the time that the origin took to read.
func (c *serverConn) tooSlow() bool {
	waited := c.waited - int64(c.limits.BodyTimeout)/2
	return waited > 0 && c.stream.total-c.headEnd < c.limits.MinimumBodyRate*(waited/1e9)
}

// malformed implements bodyOwner.
func (c *serverConn) malformed(why string) error { return message.BadRequestBody.WithDetail(why) }

// bodyDone implements bodyOwner. What is left unread is seen to when the exchange ends.
func (c *serverConn) bodyDone(bool) {}

// LendBody implements message.Wire.
func (c *serverConn) LendBody() {
	if c.expects {
		c.sendContinue()
	}
	c.lent = true
}

// StopBody implements message.Wire. What is left of the body is often no more than its end, on
// its way already: a read that is waiting gets a moment for it, because a read that is
// interrupted costs the connection.
func (c *serverConn) StopBody() {
	c.stopped.Store(true)
	_ = c.stream.sock.nc.SetReadDeadline(time.Now().Add(stopGrace))
}

// stopGrace is that moment.
const stopGrace = 200 * time.Millisecond

// ReturnBody implements message.Wire. A body that was stopped between two reads has lost
// nothing: what is left of it is seen to when the exchange ends.
func (c *serverConn) ReturnBody() {
	c.lent = false
	if !c.stopped.Load() {
		return
	}
	if err := c.body.err; err != nil && err != io.EOF {
		c.closing = true
		return
	}
	c.stopped.Store(false)
	c.stream.sock.setReadBy(clock() + int64(c.limits.BodyTimeout))
}
