package http1

import (
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// upload is a request body that is sent by a goroutine of its own while the answer
// is awaited: an origin may answer before it has read everything, and a body of
// any size must not be held in memory.
type upload struct {
	conn   *ClientConn
	wire   message.Wire
	done   chan struct{}
	whole  bool         // sent to its end; valid once done is closed
	sentAt atomic.Int64 // clock when the last byte was sent; 0 before
	err    atomic.Pointer[message.Problem]
}

// problem is why the body could not be read from the client, if that is so.
func (u *upload) problem() *message.Problem { return u.err.Load() }

// sendStreaming sends the head and then the body from another goroutine.
func (c *ClientConn) sendStreaming(x *message.Exchange, req *message.Request, head, first []byte, whole bool) *Failure {
	u := &upload{conn: c, wire: x.Wire(), done: make(chan struct{})}
	c.upload = u
	x.Wire().LendBody()
	chunked := req.Body.Length() < 0
	go u.run(req.Body, head, first, whole, chunked)
	x.Wire().Await(c)
	for {
		n, err := c.stream.sock.read(c.stream.buf)
		if err == nil {
			c.stream.w = n
			return nil
		}
		if !isTimeout(err) || c.cancelled.Load() || u.problem() != nil {
			return c.failure(err, true, false)
		}
		// The time for the answer begins to run when the body has been sent; how long
		// that takes is bounded by the client's and the origin's own silence.
		now := clock()
		sent := u.sentAt.Load()
		if sent != 0 && now-sent >= int64(c.limits.ResponseTimeout) {
			return c.failure(err, true, false)
		}
		c.stream.sock.setReadBy(now + int64(c.limits.ResponseTimeout))
		if c.cancelled.Load() || u.problem() != nil { // They may have spoken before the deadline was moved.
			return c.failure(err, true, false)
		}
	}
}

func (u *upload) run(body message.Body, out, chunk []byte, whole, chunked bool) {
	defer close(u.done)
	for {
		if err := u.write(out, chunk, chunked && len(chunk) > 0); err != nil {
			return // The reader of the answer sees why.
		}
		out = out[:0]
		if whole {
			break
		}
		var err error
		chunk, err = body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			u.err.Store(bodyProblem(err))
			u.conn.stream.sock.interruptRead()
			return
		}
	}
	if chunked {
		out = append(out, "0\r\n"...)
		if t := body.Trailer(); t != nil {
			for _, f := range t.Fields() {
				out = appendField(out, f.Name, f.Value)
			}
		}
		out = append(out, "\r\n"...)
		if u.write(out, nil, false) != nil {
			return
		}
	}
	u.whole = true
	u.sentAt.Store(clock())
}

func (u *upload) write(out, chunk []byte, framed bool) error {
	c := u.conn
	c.stream.sock.allowWrite(clock(), c.limits.BodyTimeout)
	if !framed {
		_, err := c.stream.sock.write(out, chunk)
		return err
	}
	out = strconv.AppendUint(out, uint64(len(chunk)), 16)
	out = append(out, "\r\n"...)
	if _, err := c.stream.sock.write(out, chunk); err != nil {
		return err
	}
	_, err := c.stream.sock.write(crlf, nil)
	return err
}

var crlf = []byte("\r\n")

// uploadGrace is how long a body that is nearly sent may take when the answer is
// already complete.
const uploadGrace = 50 * time.Millisecond

// endUpload waits for the goroutine that sends the body, and says whether the body
// was sent to its end. One that is in the middle when the answer is complete is
// stopped: the origin has said all that it had to say.
func (c *ClientConn) endUpload(clean bool) bool {
	u := c.upload
	if u == nil {
		return true
	}
	c.upload = nil
	if clean {
		select {
		case <-u.done:
		case <-time.After(uploadGrace):
		}
	}
	select {
	case <-u.done:
	default:
		u.wire.StopBody()
		_ = c.stream.sock.nc.Close()
		<-u.done
	}
	u.wire.ReturnBody()
	return u.whole
}
