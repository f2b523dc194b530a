package http1

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
	"github.com/sluice-gateway/sluice/message"
)

// ClientConn is one connection to an origin. It carries one exchange at a time
// and is used by one goroutine, but for Cancel. It implements message.Canceler
// and, for the answer that is under way, is the body's owner.
type ClientConn struct {
	// For is the client connection that the origin was told of, by the PROXY protocol; nil
	// where it was told of none. The pool sets it, and lets nobody else use it.
	For *proxyprotocol.Ends

	limits *ClientLimits
	pool   ConnPool

	stream  stream
	body    body
	buffers *buffers
	framing framing
	upload  *upload // a request body that is still being sent

	waitBy     int64 // clock until which the body is waited for; 0 is as long as allowed
	silentFrom int64 // clock of the first wait since the last byte; 0 is none

	reusable  bool
	answered  bool // an interim answer has come
	cancelled atomic.Bool
	used      int          // exchanges so far
	since     int64        // clock when it became idle
	deadline  atomic.Int64 // clock of the exchange's deadline; 0 is none. What sends a body reads it too
	lastWrite atomic.Int64
	closeOnce sync.Once
	x         *message.Exchange
}

// ConnPool gets a connection back. One of its methods is called once for each
// RoundTrip, on the goroutine that used the answer's body.
type ConnPool interface {
	// Idle takes a connection that can carry another exchange.
	Idle(c *ClientConn)
	// Dead forgets a connection, which is closed already.
	Dead(c *ClientConn)
}

// NewClientConn makes a connection of a socket. limits is shared and not changed.
func NewClientConn(nc net.Conn, limits *ClientLimits, pool ConnPool) *ClientConn {
	c := &ClientConn{limits: limits, pool: pool}
	c.stream.sock.init(nc)
	c.body.st, c.body.owner = &c.stream, c
	c.body.trailerLimit, c.body.extensionLimit, c.body.maxFields = limits.TrailerBytes, limits.ChunkExtension, limits.HeaderFields
	c.since = clock()
	return c
}

// WithDefaults fills in what was left at zero.
func (l ClientLimits) WithDefaults() ClientLimits { return l.withDefaults() }

// Used is the number of exchanges that the connection has carried.
func (c *ClientConn) Used() int { return c.used }

// IdleSince is how long the connection has been unused.
func (c *ClientConn) IdleSince() time.Duration { return time.Duration(clock() - c.since) }

// Quiet says whether an idle connection is still as it should be: open, and
// nothing has arrived.
func (c *ClientConn) Quiet() bool {
	if c.stream.sock.tcp != nil {
		return !c.stream.sock.peerGone() // Below TLS bytes may arrive that are no answer.
	}
	if c.stream.sock.raw == nil {
		return true
	}
	quiet := false
	_ = c.stream.sock.raw.Control(func(fd uintptr) { quiet = peekQuiet(fd) })
	return quiet
}

// Close closes an idle connection.
func (c *ClientConn) Close() { _ = c.stream.sock.nc.Close() }

// Cancel implements message.Canceler: it ends the wait for the origin.
func (c *ClientConn) Cancel() {
	c.cancelled.Store(true)
	c.stream.sock.interruptRead()
}

// Failure is why RoundTrip did not get an answer.
type Failure struct {
	Problem *message.Problem
	// Sent says that bytes of the request may have reached the origin; Answered
	// that a byte of the answer came back.
	Sent     bool
	Answered bool
	Cause    error
}

func (f *Failure) Error() string {
	if f.Cause == nil {
		return f.Problem.Error()
	}
	return f.Problem.Error() + ": " + f.Cause.Error()
}

func (f *Failure) Unwrap() error { return f.Problem }

// RoundTrip sends req and reads the head of the answer into resp, whose Body is then
// this connection: it goes back to its pool when the body has ended or is closed.
// After an error the connection is closed and forgotten.
func (c *ClientConn) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) *Failure {
	c.begin(x)
	head := c.appendRequest(c.buffers.out[:0], req)
	failure := c.send(x, req, head)
	for interim := 0; failure == nil; interim++ {
		if failure = c.readHead(resp); failure != nil || resp.Status >= 200 || resp.Status == 101 {
			break
		}
		c.answered = true
		if interim == maxInterim {
			failure = c.malformedHead("too many interim answers")
			break
		}
		if resp.Status > 100 {
			x.Wire().Inform(resp.Status, &resp.Header)
		}
		resp.Reset()
	}
	x.Wire().Arrived()
	if failure == nil {
		if by, other := x.BodyDeadline(); other {
			c.stopBy(by)
		}
		failure = c.startAnswer(req, resp)
	}
	if failure != nil {
		c.abandon()
		resp.Reset()
		return failure
	}
	return nil
}

// maxInterim is how many interim answers an origin may send for one request.
const maxInterim = 100

func (c *ClientConn) begin(x *message.Exchange) {
	if c.buffers == nil {
		c.buffers = buffersPool.Get().(*buffers)
		c.stream.buf = c.buffers.in[:]
	}
	c.stream.r, c.stream.w = 0, 0
	c.x = x
	c.used++
	c.reusable, c.answered = true, false
	c.stopBy(x.Deadline)
	c.framing = framing{}
	c.waitBy, c.silentFrom = 0, 0
}

// send writes the request and waits for the first bytes of the answer.
func (c *ClientConn) send(x *message.Exchange, req *message.Request, head []byte) *Failure {
	// Policies may have taken any time since the exchange began, so its start is no
	// moment from which to count.
	now := clock()
	if c.expired(now) {
		return c.failure(errExpired, false, false)
	}
	c.allowWrite(now)
	c.allowRead(now, c.limits.ResponseTimeout)
	if req.Body == nil {
		return c.sendAndAwait(x, head)
	}
	// What leaves in one piece is preceded by a look at the connection in any case.
	small, ok := req.Body.(*message.Bytes)
	if ok = ok && small.Length() <= int64(cap(head)-len(head)); !ok && !c.Quiet() {
		return c.failure(errNotQuiet, false, false) // Before anything of the body is taken.
	}
	first, whole, err := message.FirstChunk(req.Body)
	if err != nil {
		return &Failure{Problem: message.BodyProblem(err)}
	}
	if whole {
		req.Hold(first)
	}
	if whole && len(head)+len(first) <= cap(head) {
		return c.sendAndAwait(x, append(head, first...))
	}
	return c.sendStreaming(x, req, head, first, whole)
}

// sendAndAwait sends what is in memory and reads the first bytes of the answer.
func (c *ClientConn) sendAndAwait(x *message.Exchange, out []byte) *Failure {
	x.Wire().Await(c)
	n, sent, err := c.stream.sock.sendAndRead(out, c.stream.buf)
	if err != nil {
		return c.failure(err, sent > 0, false)
	}
	c.stream.put(n)
	return nil
}

// failure turns an error of the socket into its problem.
func (c *ClientConn) failure(err error, sent, answered bool) *Failure {
	f := &Failure{Sent: sent, Answered: answered, Cause: err}
	if p := c.uploadProblem(); p != nil {
		f.Problem = p
		return f
	}
	switch {
	case c.cancelled.Load():
		f.Problem = message.ClientGone
	case isTimeout(err) && c.expired(clock()):
		f.Problem = message.DeadlineExceeded
	case isTimeout(err):
		f.Problem = message.UpstreamTimeout
	default:
		f.Problem = message.UpstreamClosed
	}
	return f
}

func (c *ClientConn) malformedHead(why string) *Failure {
	return &Failure{Problem: message.UpstreamMalformed.WithDetail(why), Sent: true, Answered: true}
}

// appendRequest writes the head of a request. Its fields were checked when they
// came in or were set.
func (c *ClientConn) appendRequest(out []byte, req *message.Request) []byte {
	out = append(out, req.Method...)
	out = append(out, ' ')
	out = append(out, req.Path...)
	if req.HasQuery {
		out = append(out, '?')
		out = append(out, req.Query...)
	}
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, req.Authority...)
	out = append(out, "\r\n"...)
	for _, f := range req.Header.Fields() {
		out = appendField(out, f.Name, f.Value)
		if len(f.Name) == 2 && message.EqualFold(f.Name, "TE") {
			out = append(out, "Connection: TE\r\n"...) // RFC 9110 §10.1.4.
		}
	}
	if req.Upgrade != "" {
		out = append(out, "Connection: upgrade\r\n"...)
		out = appendField(out, "Upgrade", req.Upgrade)
	}
	if req.Body != nil {
		if n := req.Body.Length(); n >= 0 {
			out = append(out, "Content-Length: "...)
			out = strconv.AppendInt(out, n, 10)
			out = append(out, "\r\n"...)
		} else {
			out = append(out, "Transfer-Encoding: chunked\r\n"...)
		}
	} else if wantsLength(req.Method) {
		out = append(out, "Content-Length: 0\r\n"...)
	}
	return append(out, "\r\n"...)
}

// wantsLength says whether an origin may expect a body (RFC 9110 §8.6).
func wantsLength(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

var errHTTP2 = errors.New("http1: the origin answers in HTTP/2")

// AnswersHTTP2 says that an origin that was to speak HTTP/1 speaks HTTP/2.
func AnswersHTTP2(cause error) bool { return cause == errHTTP2 }

// isSettings says whether what came is the SETTINGS frame with which a server of HTTP/2 begins, without being
// asked (RFC 9113 §3.4): less than 64 KiB long, of type 4, without flags, on stream 0.
func isSettings(p []byte) bool {
	return len(p) >= 9 && p[0] == 0 && string(p[3:9]) == "\x04\x00\x00\x00\x00\x00"
}

// readHead reads one head, final or interim.
func (c *ClientConn) readHead(resp *message.Response) *Failure {
	var scan headScan
	for {
		end, ok := scan.scan(c.stream.buf[c.stream.r:c.stream.w])
		switch {
		case c.used == 1 && isSettings(c.stream.buf[c.stream.r:c.stream.w]):
			return &Failure{Problem: message.UpstreamMalformed, Sent: true, Answered: true, Cause: errHTTP2}
		case !ok:
			return c.malformedHead("a line of the head does not end in CRLF")
		case end > c.limits.HeaderBytes, end == 0 && c.stream.buffered() > c.limits.HeaderBytes, scan.lines-1 > c.limits.HeaderFields:
			return &Failure{Problem: message.UpstreamHeaderLimit, Sent: true, Answered: true}
		case end > 0:
			text := string(c.stream.buf[c.stream.r : c.stream.r+end])
			c.stream.r += end
			c.framing = framing{}
			if why := parseResponse(text, scan.first, resp, &c.framing); why != "" {
				return c.malformedHead(string(why))
			}
			return nil
		}
		if !c.stream.room() && !c.widen() {
			return &Failure{Problem: message.UpstreamHeaderLimit, Sent: true, Answered: true}
		}
		n, err := c.readAnswer()
		if err != nil {
			return c.failure(err, true, c.answered || c.stream.buffered() > 0)
		}
		c.stream.put(n)
	}
}

// readAnswer reads more of the answer's head. The time for the answer begins to run
// when the request's body has been sent; how long that takes is bounded by the
// client's and the origin's own silence.
func (c *ClientConn) readAnswer() (int, error) {
	for {
		n, err := c.stream.sock.read(c.stream.buf[c.stream.w:])
		if err == nil || !isTimeout(err) || !c.stillSending() {
			return n, err
		}
	}
}

// stillSending moves the deadline for the answer's head, if the request's body is
// still being sent or was sent only lately.
func (c *ClientConn) stillSending() bool {
	u := c.upload
	if u == nil || c.cancelled.Load() || u.problem() != nil {
		return false
	}
	now := clock()
	by := now + int64(c.limits.ResponseTimeout)
	if ended := u.endedAt.Load(); ended != 0 {
		by = ended + int64(c.limits.ResponseTimeout)
	}
	if deadline := c.deadline.Load(); deadline != 0 {
		by = min(by, deadline)
	}
	if by <= now {
		return false
	}
	c.stream.sock.setReadBy(by)
	// They may have spoken before the deadline was moved.
	return !c.cancelled.Load() && u.problem() == nil
}

// widen makes room for a head that does not fit into the small buffer.
func (c *ClientConn) widen() bool {
	if c.stream.large != nil {
		return false
	}
	c.stream.grow()
	return true
}

// abandon closes the connection in the middle of an exchange.
func (c *ClientConn) abandon() {
	_ = c.stream.sock.nc.Close()
	c.endUpload(false)
	c.release()
	c.pool.Dead(c)
}

// release gives the buffers back.
func (c *ClientConn) release() {
	c.stream.dropLarge()
	if c.buffers != nil {
		c.stream.buf = nil
		buffersPool.Put(c.buffers)
		c.buffers = nil
	}
	c.x = nil
}

// fillBody implements bodyOwner.
func (c *ClientConn) fillBody() error {
	if !c.stream.room() {
		if !c.widen() {
			return c.malformed("a line of the body's framing is too long")
		}
	}
	now := clock()
	c.allowBody(now)
	// The client's part may have failed before the deadline was moved.
	if p := c.uploadProblem(); p != nil {
		return p
	}
	x := c.x
	x.Wire().Await(c)
	n, err := c.stream.sock.read(c.stream.buf[c.stream.w:])
	x.Wire().Arrived()
	if err == nil {
		c.silentFrom = 0
		c.stream.put(n)
		return nil
	}
	if p := c.uploadProblem(); p != nil {
		return p
	}
	switch {
	case c.cancelled.Load():
		return message.ClientGone
	case isTimeout(err) && c.mayWait(clock()):
		return errNotYet
	case isTimeout(err) && c.upload != nil && c.wroteSince(now) && !c.expired(clock()):
		c.silentFrom = 0
		return c.fillBody() // Only the origin is silent.
	case err == io.EOF && c.body.kind == untilClose:
		return io.EOF
	case isTimeout(err) && c.expired(clock()):
		return message.DeadlineExceeded
	case isTimeout(err):
		return message.UpstreamBodyBroken.WithDetail("the origin stopped sending in the middle of the body")
	}
	return message.UpstreamBodyBroken.WithDetail("the origin closed the connection in the middle of the body")
}

// malformed implements bodyOwner.
func (c *ClientConn) malformed(why string) error { return message.UpstreamBodyBroken.WithDetail(why) }

// bodyDone implements bodyOwner: the exchange is over.
func (c *ClientConn) bodyDone(clean bool) {
	uploaded := c.endUpload(clean)
	if !clean || !uploaded || !c.reusable || c.cancelled.Load() || c.stream.buffered() > 0 {
		c.abandon()
		return
	}
	c.release()
	c.since = clock()
	c.pool.Idle(c)
}
