package http1

import (
	"os"
	"time"
)

// errExpired is a deadline that is over before anything was sent; it is a timeout.
var errExpired error = os.ErrDeadlineExceeded

// stopBy sets the deadline; the zero time is none.
func (c *ClientConn) stopBy(at time.Time) {
	by := int64(0)
	if !at.IsZero() {
		by = clockOf(at)
	}
	if by != c.deadline.Load() { // To store costs more than to look.
		c.deadline.Store(by)
	}
}

// expired says whether the deadline of the exchange is over.
func (c *ClientConn) expired(now int64) bool {
	deadline := c.deadline.Load()
	return deadline != 0 && now >= deadline
}

// allowRead lets the origin be silent for timeout, but not beyond the exchange's deadline,
// which is kept exactly.
func (c *ClientConn) allowRead(now int64, timeout time.Duration) {
	if c.near(now, timeout) {
		c.stream.sock.setReadBy(min(c.deadline.Load(), now+int64(timeout+timeout/4)))
		return
	}
	c.stream.sock.allowRead(now, timeout)
}

// allowWrite is the same for an origin that does not read.
func (c *ClientConn) allowWrite(now int64) {
	timeout := c.limits.BodyTimeout
	if c.near(now, timeout) {
		c.stream.sock.setWriteBy(min(c.deadline.Load(), now+int64(timeout+timeout/4)))
		return
	}
	c.stream.sock.allowWrite(now, timeout)
}

// near says whether the exchange's deadline may come before the end of a coarse timeout.
func (c *ClientConn) near(now int64, timeout time.Duration) bool {
	deadline := c.deadline.Load()
	return deadline != 0 && deadline < now+int64(timeout+timeout/2)
}

// allowBody is allowRead for the body of an answer. A wait that ends early does not buy the origin
// time.
func (c *ClientConn) allowBody(now int64) {
	if c.waitBy == 0 {
		c.allowRead(now, c.limits.BodyTimeout)
		return
	}
	if c.silentFrom == 0 {
		c.silentFrom = now
	}
	by := min(c.waitBy, c.silentFrom+int64(c.limits.BodyTimeout))
	if deadline := c.deadline.Load(); deadline != 0 {
		by = min(by, deadline)
	}
	c.stream.sock.setReadBy(by)
}

// mayWait says that nothing has come in the time of a wait, and that the origin has more.
func (c *ClientConn) mayWait(now int64) bool {
	return c.waitBy != 0 && now < c.silentFrom+int64(c.limits.BodyTimeout) && !c.expired(now)
}
