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
	conn    *ClientConn
	wire    message.Wire
	length  int64 // announced to the origin; -1 in chunks
	sent    int64 // bytes of the body; used by the sending goroutine only
	done    chan struct{}
	whole   bool         // sent to its end; valid once done is closed
	last    atomic.Bool  // all of the body was taken: its last piece is being sent, or was
	endedAt atomic.Int64 // clock when nothing more was to be sent; 0 before
	err     atomic.Pointer[message.Problem]
}

// problem is why the body could not be had, if that is so.
func (u *upload) problem() *message.Problem { return u.err.Load() }

// uploadProblem is the same for a connection that may have no upload.
func (c *ClientConn) uploadProblem() *message.Problem {
	if c.upload == nil {
		return nil
	}
	return c.upload.problem()
}

// unfinished says whether there is still something of the body to take. An answer to the
// last piece may be here before the goroutine that has sent it has said so.
func (u *upload) unfinished() bool {
	if u == nil || u.last.Load() {
		return false
	}
	select {
	case <-u.done:
		return false
	default:
		return true
	}
}

// fail says why there is no more of the body and wakes the reader of the answer.
func (u *upload) fail(p *message.Problem) {
	u.err.Store(p)
	u.conn.stream.sock.interruptRead()
}

// sendStreaming sends the head and then the body from another goroutine.
func (c *ClientConn) sendStreaming(x *message.Exchange, req *message.Request, head, first []byte, whole bool) *Failure {
	u := &upload{conn: c, wire: x.Wire(), length: req.Body.Length(), done: make(chan struct{})}
	c.upload = u
	x.Wire().LendBody()
	go u.run(req.Body, head, first, whole)
	x.Wire().Await(c)
	n, err := c.readAnswer()
	if err != nil {
		return c.failure(err, true, false)
	}
	c.stream.put(n)
	return nil
}

func (u *upload) run(body message.Body, out, chunk []byte, whole bool) {
	defer close(u.done)
	chunked := u.length < 0
	for {
		// What is behind the announced length would be read as another request.
		if u.sent += int64(len(chunk)); !chunked && u.sent > u.length {
			u.fail(message.Internal.WithDetail("the request body is longer than announced"))
			return
		}
		if whole || u.sent == u.length {
			u.last.Store(true)
		}
		if err := u.write(out, chunk, chunked && len(chunk) > 0); err != nil {
			u.endedAt.Store(clock()) // The reader of the answer sees why, or waits no longer than allowed.
			return
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
			u.fail(message.BodyProblem(err))
			return
		}
	}
	if !chunked && u.sent != u.length {
		u.fail(message.Internal.WithDetail("the request body is shorter than announced"))
		return
	}
	if chunked {
		u.last.Store(true)
		out = append(out, "0\r\n"...)
		if t := body.Trailer(); t != nil {
			for _, f := range t.Fields() {
				out = appendField(out, f.Name, f.Value)
			}
		}
		out = append(out, "\r\n"...)
		if u.write(out, nil, false) != nil {
			u.endedAt.Store(clock())
			return
		}
	}
	u.whole = true
	u.endedAt.Store(clock())
}

func (u *upload) write(out, chunk []byte, framed bool) error {
	c := u.conn
	now := clock()
	c.lastWrite.Store(now)
	c.allowWrite(now)
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
