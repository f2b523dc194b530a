package http2

import (
	"io"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// serverStream is one exchange of a client connection. It implements message.Wire, and workers.Job: its
// goroutine is the one that owns the exchange. It is used for one exchange after the other.
type serverStream struct {
	stream
	conn *serverConn
	x    message.Exchange
	body requestBody

	started   bool // the head of the answer is on its way; written with the lock of the link
	call      bool // it is a gRPC call
	aborted   bool
	expects   bool              // the client waits for 100 before it sends its body
	handshake section.Handshake // of an extended CONNECT
	bytesOut  int64
	headBytes int64
	waited    int64 // nanoseconds in which nothing but the client held up the body
	bodyBytes int64
	bodyErr   error
}

var serverStreams = sync.Pool{New: func() any { return new(serverStream) }}

// begin is called by the reading goroutine when the head is complete.
func (s *serverStream) begin(c *serverConn, id uint32, h *section.Head, headBytes int64, endStream bool) {
	s.stream.init(&c.link, id)
	s.conn = c
	s.started, s.call, s.aborted, s.expects = false, false, false, false
	s.handshake = section.Handshake{}
	s.bytesOut, s.headBytes, s.waited, s.bodyBytes = 0, headBytes, 0, 0
	s.bodyErr = nil
	s.headSeen = true
	x := &s.x
	x.Begin(s)
	x.Shard = c.link.shard
	x.Client = c.client
	x.Response.Length = -1
	x.Times.Started = time.Now()
	s.in.announced, s.in.ended = h.Length, endStream
	problem := h.FillRequest(&x.Request, "HTTP/2", c.limits.Target, c.client.TLS != nil)
	if problem != nil {
		x.Deny(problem)
	}
	switch {
	case problem == nil && h.Protocol != "":
		s.handshake.Begin(&x.Request, h.Protocol)
	case !endStream:
		s.body.stream = s
		s.body.length = h.Length
		s.expects = h.Expect != ""
		s.call = message.IsGRPC(&x.Request)
		x.Request.ExpectContinue = s.expects
		x.Request.Body = &s.body
	}
}

// Run implements workers.Job: the exchange, from its first policy to its last byte.
func (s *serverStream) Run() {
	c := s.conn
	c.server.Handler.Serve(&s.x)
	s.runTunnel()
	s.finish()
	s.x.Reset()
	s.conn = nil
	serverStreams.Put(s)
	// Only now: who waits for the last exchange may go away with the connection.
	c.link.mu.Lock()
	c.oneLess()
	c.link.mu.Unlock()
}

// finish ends the stream in whatever state the exchange has left it (RFC 9113 §8.1): an answer
// that was cut off must not look whole.
func (s *serverStream) finish() {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case s.reset || l.closed || l.failing:
		s.detach()
	case !s.sendEnd && (s.aborted && !s.started || s.expired):
		s.stop(Cancel)
	case !s.sendEnd:
		s.stop(InternalError)
	default:
		l.floods.Earn(FloodReset, 1)
		s.end(s.conn.limits.Streams)
	}
}

// requestBody is the body of a request. It implements message.Body and message.Ready.
type requestBody struct {
	stream *serverStream
	length int64
}

// Length implements message.Body.
func (b *requestBody) Length() int64 { return b.length }

// Trailer implements message.Body.
func (b *requestBody) Trailer() *message.Header {
	if b.stream.in.trailer.Len() == 0 {
		return nil
	}
	return &b.stream.in.trailer
}

// Close implements message.Body. What is left is seen to when the exchange ends.
func (b *requestBody) Close() error { return nil }

// Ready implements message.Ready.
func (b *requestBody) Ready() bool { return b.stream.bodyErr != nil || b.stream.ready() }

// Complete implements message.Complete.
func (b *requestBody) Complete() int64 {
	s := b.stream
	if s.bodyBytes > 0 || s.bodyErr != nil {
		return -1
	}
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if !s.in.ended || s.reset || s.in.unwanted || s.in.trailer.Len() > 0 {
		return -1
	}
	return s.in.received
}

// Next implements message.Body.
func (b *requestBody) Next() ([]byte, error) {
	s := b.stream
	if s.bodyErr != nil {
		return nil, s.bodyErr
	}
	chunk, state := s.next(false, 0)
	if state == recvNothing {
		chunk, state = s.awaitBody()
	}
	switch state {
	case recvData:
		s.bodyBytes += int64(len(chunk))
		return chunk, nil
	case recvEnd:
		s.bodyErr = io.EOF
	case recvTooLate:
		s.bodyErr = message.RequestBodyTooSlow
	default:
		s.bodyErr = message.ClientGone
	}
	return nil, s.bodyErr
}

// awaitBody waits for more.
func (s *serverStream) awaitBody() ([]byte, recvState) {
	if s.expects {
		s.sendContinue()
	}
	limits := s.conn.limits
	for {
		limit, spared := s.patience()
		if !spared && limits.MinimumBodyRate > 0 && s.tooSlow() {
			return nil, recvTooLate
		}
		began := clock()
		chunk, state := s.next(true, limit)
		if limits.MinimumBodyRate > 0 {
			s.waited += clock() - began
		}
		if state == recvTooLate {
			if longer, _ := s.patience(); longer > limit { // The answer has begun meanwhile.
				s.forgive()
				continue
			}
		}
		return chunk, state
	}
}

// longestSilence is how long a client may be silent once its answer has begun. What is silent on both sides
// is ended by the limits of the answer, long before.
const longestSilence = time.Hour

// patience is how long the client may be silent. A request whose answer has begun is a conversation, and so is
// a call of gRPC: how fast the client speaks is its own affair, and spared says so.
func (s *serverStream) patience() (limit time.Duration, spared bool) {
	s.link.mu.Lock()
	started := s.started
	s.link.mu.Unlock()
	limits := s.conn.limits
	switch {
	case started:
		return max(longestSilence, limits.BodyTimeout), true
	case s.call:
		return max(limits.IdleTimeout, limits.BodyTimeout), true
	}
	return limits.BodyTimeout, false
}

// tooSlow says that a client keeps a body going by single bytes. Only the time that
// we waited for it counts, not the time that the origin took to read.
func (s *serverStream) tooSlow() bool {
	waited := s.waited - int64(s.conn.limits.BodyTimeout)/2
	return waited > 0 && s.bodyBytes < s.conn.limits.MinimumBodyRate*(waited/1e9)
}

// LendBody implements message.Wire.
func (s *serverStream) LendBody() {
	if s.expects {
		s.sendContinue()
	}
}

// StopBody implements message.Wire.
func (s *serverStream) StopBody() { s.unwant() }

// ReturnBody implements message.Wire.
func (s *serverStream) ReturnBody() {}

// Await implements message.Wire.
func (s *serverStream) Await(on message.Canceler) { s.waiting.await(on) }

// Arrived implements message.Wire.
func (s *serverStream) Arrived() { s.waiting.arrived() }

// Gone implements message.Wire.
func (s *serverStream) Gone() bool { return s.waiting.gone.Load() }

// Started implements message.Wire.
func (s *serverStream) Started() bool { return s.started }

// Abort implements message.Wire: it ends the stream, and no other one.
func (s *serverStream) Abort() { s.aborted = true }

// BytesIn implements message.Wire.
func (s *serverStream) BytesIn() int64 {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return s.headBytes + s.in.received
}

// BytesOut implements message.Wire.
func (s *serverStream) BytesOut() int64 { return s.bytesOut }
