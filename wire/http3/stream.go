package http3

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// serverStream is one exchange of a client connection. It implements message.Wire, and workers.Job: its
// goroutine is the one that owns the exchange. It is used for one exchange after the other.
type serverStream struct {
	conn       *serverConn
	quic       *quic.Stream
	next, prev *serverStream // guarded by the lock of the connection

	x       message.Exchange
	in      input
	body    requestBody
	decoder decoder
	head    section.Head
	waiting waiting
	out     []byte

	reading, writing mark

	started   bool        // the head of the answer is on its way
	answering atomic.Bool // the same, for who reads the body and for the patrol; not for a tunnel
	call      bool        // it is a gRPC call
	ended     bool        // and so is its end
	aborted   bool
	expired   bool                         // the exchange took longer than it may
	expects   bool                         // the client waits for 100 before it sends its body
	handshake section.Handshake            // of an extended CONNECT
	joint     atomic.Pointer[tunnel.Joint] // while it is a tunnel
	bytesOut  int64
	spoiled   atomic.Pointer[fault] // what the client did wrong; set by who reads or who writes
}

var serverStreams = sync.Pool{New: func() any {
	s := new(serverStream)
	s.in.stream, s.body.stream = s, s
	return s
}}

// begin is called by the goroutine that takes the streams of a connection.
func (s *serverStream) begin(c *serverConn, qs *quic.Stream) {
	s.conn, s.quic = c, qs
	s.started, s.ended, s.aborted, s.expects = false, false, false, false
	s.bytesOut, s.handshake, s.expired = 0, section.Handshake{}, false
	s.answering.Store(false)
	s.call = false
	s.spoiled.Store(nil)
	s.joint.Store(nil)
	s.in.reset()
	s.body.reset()
	s.waiting.clear()
	s.reading.late.Store(false)
	s.writing.late.Store(false)
}

// mostOut is how much room an exchange keeps for what the next one sends.
const mostOut = 32 << 10

// forget gives the stream back for the next exchange.
func (s *serverStream) forget() {
	s.x.Reset()
	s.in.release()
	s.conn, s.quic = nil, nil
	if cap(s.out) > mostOut {
		s.out = nil
	}
	serverStreams.Put(s)
}

// Run implements workers.Job: the exchange, from the first byte of its head to the last of its answer.
func (s *serverStream) Run() {
	c := s.conn
	if s.readRequest() {
		c.server.Handler.Serve(&s.x)
		s.runTunnel()
	}
	s.finish()
	c.leave(s)
	s.forget()
}

// readRequest reads the head and makes a request of it. Without one there is no exchange.
func (s *serverStream) readRequest() bool {
	c, x, h := s.conn, &s.x, &s.head
	h.Begin(section.Request, &x.Request.Header, c.limits.HeaderBytes, c.limits.HeaderFields)
	if f := s.in.readHead(h); f != nil {
		s.spoil(f)
		return false
	}
	x.Begin(s)
	x.Shard = c.shard
	x.Client = c.client
	x.Response.Length = -1
	x.Times.Started = time.Now()
	if s.in.tooLong { // Nobody has decoded it.
		x.Request.Protocol = "HTTP/3"
		x.Deny(message.HeaderTooLarge)
		return true
	}
	if h.CheckRequest() != "" {
		s.spoil(faultMalformed)
		return false
	}
	problem := h.FillRequest(&x.Request, "HTTP/3", c.limits.Target, true)
	if problem != nil {
		x.Deny(problem)
	}
	s.in.announced = h.Length
	if problem == nil && c.isEarly() && !s.admitEarly() {
		s.spoil(faultGone)
		return false
	}
	if problem == nil && h.Protocol != "" {
		s.handshake.Begin(&x.Request, h.Protocol)
		return true
	}
	s.call = message.IsGRPC(&x.Request)
	return s.attachBody(problem == nil && h.Expect != "")
}

// attachBody gives the request its body, if it has one. That is known when the stream has ended; for
// methods that usually have none it is waited for, so that the origin is not sent an
// empty body of unknown length.
func (s *serverStream) attachBody(expects bool) bool {
	x := &s.x
	if !s.in.ended() && !expects && x.Problem() == nil && x.Request.Method != "POST" && x.Request.Method != "PUT" && x.Request.Method != "PATCH" {
		if f := s.in.awaitBody(); f != nil {
			s.spoil(f)
			return false
		}
	}
	if s.in.ended() {
		if s.in.announced > 0 {
			s.spoil(faultLength)
			return false
		}
		return true
	}
	s.expects = expects
	x.Request.ExpectContinue = expects
	x.Request.Body = &s.body
	return true
}

// admitEarly lets a request in that came before the handshake was complete, so that somebody may have
// recorded and repeated it. One that is safe to repeat goes on, and the origin is told; another one
// waits until the client has proved that it is there (RFC 8470 §3, §5.1).
func (s *serverStream) admitEarly() bool {
	req := &s.x.Request
	switch {
	case req.Method != "GET" && req.Method != "HEAD" && req.Method != "OPTIONS":
		select {
		case <-s.conn.quic.HandshakeComplete():
			return true
		case <-s.quic.Context().Done():
			return false
		}
	default:
		req.Header.Del("Early-Data")
		req.Header.Append("early-data", "1")
		s.conn.server.Counters.Early.Add(s.conn.shard, 1)
	}
	return true
}

// spoil notes what the client did wrong first. The stream, or the connection, ends for it.
func (s *serverStream) spoil(f *fault) { s.spoiled.CompareAndSwap(nil, f) }

// finish ends the stream in whatever state the exchange has left it (RFC 9114 §4.1): an answer
// that was cut off must not look whole, and a body that nobody wanted is not waited for.
func (s *serverStream) finish() {
	c := s.conn
	code := NoError
	if !s.ended {
		if s.quic.Context().Err() != nil {
			s.spoil(faultGone)
		}
		code = InternalError
		if s.aborted && !s.started || s.expired {
			code = RequestCancelled
		}
	}
	if f := s.spoiled.Load(); f != nil {
		s.punish(f)
		code = f.code
	}
	if !s.in.whole {
		s.quic.CancelRead(quic.StreamErrorCode(code))
	}
	if !s.ended {
		s.quic.CancelWrite(quic.StreamErrorCode(code))
	} else if s.spoiled.Load() == nil {
		c.mu.Lock()
		c.floods.Earn(FloodReset, 1)
		c.floods.Earn(FloodUnknown, 2)
		c.mu.Unlock()
	}
	s.quic.ReleaseStreamCredit()
}

// punish counts what a client did wrong, and ends the connection where it must.
func (s *serverStream) punish(f *fault) {
	c := s.conn
	switch {
	case !f.stream:
		c.fail(f)
		return
	case f == faultGone:
		c.server.Counters.Reset.Add(c.shard, 1)
	default:
		c.server.Counters.Malformed.Add(c.shard, 1)
	}
	c.spend(FloodReset, 1)
}

// mark says since when somebody waits for the client, without a look at the clock: the number is
// odd while he does, and the patrol remembers when it saw which.
type mark struct {
	number atomic.Uint32
	late   atomic.Bool
	// These are the patrol's.
	seen  uint32
	since int64
}

// overdue says whether the wait has been the same for longer than limit.
func (m *mark) overdue(now int64, limit time.Duration) bool {
	n := m.number.Load()
	if n != m.seen {
		m.seen, m.since = n, now
		return false
	}
	return n%2 == 1 && now-m.since >= int64(limit)
}

var longAgo = time.Unix(1, 0)

// longestSilence is how long a client may be silent once its answer has begun. What is silent on both sides
// is ended by the limits of the answer, long before.
const longestSilence = time.Hour

// look is called by the patrol, with the lock of the connection.
func (s *serverStream) look(now int64) {
	limits := s.conn.limits
	patience := time.Duration(s.in.patience.Load())
	if s.answering.Load() { // Who began to wait may not have known.
		patience = max(patience, longestSilence)
	}
	if s.reading.overdue(now, patience) {
		s.in.giveUp()
	}
	if s.writing.overdue(now, limits.WriteTimeout) && !s.writing.late.Swap(true) {
		_ = s.quic.SetWriteDeadline(longAgo)
	}
	s.cancelIfGone()
}

// turnSize is how much is sent at a time: what a client has to take within the write timeout.
const turnSize = 16 << 10

// write sends p, and waits while the client takes nothing.
func (s *serverStream) write(p []byte) error {
	for len(p) > 0 {
		turn := p[:min(len(p), turnSize)]
		s.writing.number.Add(1)
		n, err := s.quic.Write(turn)
		s.writing.number.Add(1)
		s.bytesOut += int64(n)
		if err != nil {
			return s.writeProblem(err)
		}
		p = p[n:]
	}
	return nil
}

// writeProblem says why an answer could not be sent.
func (s *serverStream) writeProblem(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.conn.server.Counters.Floods[FloodStall].Add(s.conn.shard, 1)
		return message.ClientTooSlow
	}
	s.spoil(faultGone)
	return message.ClientWriteFailed
}

// waiting is what an exchange waits for while its client may go away. The lock makes
// sure that what it waited for is not touched afterwards.
type waiting struct {
	mu   sync.Mutex
	on   message.Canceler
	gone atomic.Bool
}

func (w *waiting) clear() {
	w.on = nil
	w.gone.Store(false)
}

// cancelIfGone ends what the exchange waits for, if its client does not want the answer any more.
func (s *serverStream) cancelIfGone() {
	if why := context.Cause(s.quic.Context()); why == nil || why == quic.ErrStreamClosed {
		return
	}
	w := &s.waiting
	w.gone.Store(true)
	w.mu.Lock()
	if w.on != nil {
		w.on.Cancel()
		w.on = nil
	}
	w.mu.Unlock()
}

// Await implements message.Wire. A client that is gone already ends the wait at once.
func (s *serverStream) Await(on message.Canceler) {
	w := &s.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone.Load() {
		on.Cancel()
		return
	}
	w.on = on
}

// Arrived implements message.Wire.
func (s *serverStream) Arrived() {
	s.waiting.mu.Lock()
	s.waiting.on = nil
	s.waiting.mu.Unlock()
}

// Gone implements message.Wire.
func (s *serverStream) Gone() bool { return s.waiting.gone.Load() }

// Started implements message.Wire.
func (s *serverStream) Started() bool { return s.started }

// Abort implements message.Wire: it ends the stream, and no other one.
func (s *serverStream) Abort() { s.aborted = true }

// BytesIn implements message.Wire.
func (s *serverStream) BytesIn() int64 { return s.in.bytes.Load() }

// BytesOut implements message.Wire.
func (s *serverStream) BytesOut() int64 { return s.bytesOut }
