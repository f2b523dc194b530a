package http3

import (
	"io"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/message"
)

// requestBody is the body of a request. It implements message.Body and message.Ready. Who does not
// ask for the next chunk holds up the client.
type requestBody struct {
	stream   *serverStream
	err      error
	unwanted atomic.Bool
	waited   int64 // nanoseconds in which nothing but the client held up the body
}

func (b *requestBody) reset() {
	b.err, b.waited = nil, 0
	b.unwanted.Store(false)
}

// Length implements message.Body.
func (b *requestBody) Length() int64 { return b.stream.in.announced }

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
func (b *requestBody) Ready() bool {
	in := &b.stream.in
	return b.err != nil || in.r < in.w && in.left > 0 || in.ended()
}

// Next implements message.Body.
func (b *requestBody) Next() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	s := b.stream
	limits := s.conn.limits
	ready := b.Ready()
	if !ready && s.expects {
		s.sendContinue()
	}
	var began int64
	if limits.MinimumBodyRate > 0 && !ready {
		if began = clock(); b.tooSlow(limits) {
			return nil, b.fail(faultLate)
		}
	}
	patience := limits.BodyTimeout
	if s.call {
		patience = max(limits.IdleTimeout, limits.BodyTimeout)
	}
	chunk, f := s.in.next(patience)
	if began != 0 {
		b.waited += clock() - began
	}
	switch {
	case f != nil:
		return nil, b.fail(f)
	case chunk == nil:
		b.err = io.EOF
		return nil, b.err
	}
	return chunk, nil
}

// fail remembers why there is no more.
func (b *requestBody) fail(f *fault) error {
	switch {
	case b.unwanted.Load():
		b.err = message.ClientGone // Nobody asks why.
	case f == faultLate:
		b.err = message.RequestBodyTooSlow
	default:
		b.stream.spoil(f)
		b.err = message.ClientGone
	}
	return b.err
}

// tooSlow says that a client keeps a body going by single bytes. Only the time that
// we waited for it counts, not the time that the origin took to read. A request whose answer has begun is a
// conversation, and so is a call of gRPC: how fast the client speaks is its own affair.
func (b *requestBody) tooSlow(limits *Limits) bool {
	if b.stream.call || b.stream.answering.Load() {
		return false
	}
	waited := b.waited - int64(limits.BodyTimeout)/2
	return waited > 0 && b.stream.in.received < limits.MinimumBodyRate*(waited/1e9)
}

// LendBody implements message.Wire.
func (s *serverStream) LendBody() {
	if s.expects {
		s.sendContinue()
	}
}

// StopBody implements message.Wire: nobody will read on, so the client need not send on (RFC 9114
// §4.1).
func (s *serverStream) StopBody() {
	s.body.unwanted.Store(true)
	s.quic.CancelRead(quic.StreamErrorCode(NoError))
}

// ReturnBody implements message.Wire.
func (s *serverStream) ReturnBody() {}
