package http3

import (
	"errors"
	"io"

	"github.com/sluice-gateway/sluice/internal/date"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// Respond implements message.Wire.
func (s *serverStream) Respond(x *message.Exchange) error {
	resp := &x.Response
	if resp.Status == 101 && resp.Tunnel != nil {
		return s.respondTunnel(x)
	}
	if err := resp.Settle(); err != nil {
		return err
	}
	if err := s.handshake.Declined(resp); err != nil {
		return err
	}
	if s.quic.Context().Err() != nil {
		resp.CloseBody()
		s.spoil(faultGone)
		return message.ClientWriteFailed
	}
	plan := section.PlanBody(x)
	s.out = s.appendHead(s.out[:0], x, plan)
	var err error
	if plan.Send {
		err = s.sendBody(resp.Body, plan.Length)
	} else {
		err = s.flushEnd()
	}
	resp.CloseBody()
	return err
}

// appendHead appends the head of the answer.
func (s *serverStream) appendHead(out []byte, x *message.Exchange, plan section.Plan) []byte {
	out, at := beginHeaders(out)
	out = appendStatus(out, x.Response.Status)
	hasDate := false
	for _, f := range x.Response.Header.Fields() {
		if section.ConnectionField(f.Name) {
			continue
		}
		if len(f.Name) == 4 && message.EqualFold(f.Name, "date") {
			hasDate = true
		}
		out = appendField(out, f.Name, f.Value)
	}
	if !hasDate {
		out = append(out, nameStatic|staticDate, byte(date.Length))
		out = s.conn.server.date.Append(out, x.Times.Started)
	}
	if plan.Length >= 0 {
		out = appendLength(out, plan.Length)
	}
	return endHeaders(out, at)
}

// flush sends what was put together.
func (s *serverStream) flush() error {
	out := s.out
	s.out = s.out[:0]
	if len(out) == 0 {
		return nil
	}
	if !s.started {
		s.started = true
		s.answering.Store(!s.handshake.Asked())
	}
	return s.write(out)
}

// flushEnd sends it together with the end of the stream.
func (s *serverStream) flushEnd() error {
	if err := s.flush(); err != nil {
		return err
	}
	if s.quic.Close() != nil {
		s.spoil(faultGone)
		return message.ClientWriteFailed
	}
	s.ended = true
	return nil
}

// sendBody sends the body behind its head. What is there already leaves together with the
// head; nothing waits for what is not. A body whose length is known is one DATA frame, another one a
// frame for each chunk.
func (s *serverStream) sendBody(body message.Body, length int64) error {
	ready, _ := body.(message.Ready)
	left := length
	if length > 0 {
		s.out = appendVarint(append(s.out, frameData), uint64(length))
	}
	for {
		if ready == nil || !ready.Ready() {
			if err := s.flush(); err != nil {
				return err
			}
		}
		chunk, err := body.Next()
		if err == io.EOF {
			if length >= 0 && left != 0 {
				return message.UpstreamBodyBroken.WithDetail("the body is shorter than announced")
			}
			return s.endBody(body)
		}
		if err != nil {
			_ = s.flush()
			s.expired = errors.Is(err, message.DeadlineExceeded)
			return section.BrokenBody(err)
		}
		if length >= 0 {
			if left -= int64(len(chunk)); left < 0 {
				return message.UpstreamBodyBroken.WithDetail("the body is longer than announced")
			}
		} else {
			s.out = appendVarint(append(s.out, frameData), uint64(len(chunk)))
		}
		if err := s.queue(chunk); err != nil {
			return err
		}
	}
}

// queue puts a chunk behind what is to be sent, and sends it where that is much.
func (s *serverStream) queue(chunk []byte) error {
	if len(s.out)+len(chunk) <= turnSize {
		s.out = append(s.out, chunk...)
		return nil
	}
	// Large chunks are not copied, but for as much as fills what is there.
	n := min(len(chunk), max(turnSize-len(s.out), 0))
	s.out = append(s.out, chunk[:n]...)
	if err := s.flush(); err != nil {
		return err
	}
	return s.write(chunk[n:])
}

// endBody ends the stream, with a trailer section if there is one.
func (s *serverStream) endBody(body message.Body) error {
	if t := body.Trailer(); t != nil && t.Len() > 0 {
		out, at := beginHeaders(s.out)
		for _, f := range t.Fields() {
			if !section.ConnectionField(f.Name) {
				out = appendField(out, f.Name, f.Value)
			}
		}
		s.out = endHeaders(out, at)
	}
	return s.flushEnd()
}

// sendContinue tells the client to send its body (RFC 9110 §10.1.1).
func (s *serverStream) sendContinue() {
	s.expects = false
	s.interim(100, nil)
}

// Inform implements message.Wire.
func (s *serverStream) Inform(status int, header *message.Header) {
	if status >= 102 && status <= 199 {
		s.interim(status, header)
	}
}

func (s *serverStream) interim(status int, header *message.Header) {
	if s.started || s.Gone() {
		return
	}
	out, at := beginHeaders(s.out[:0])
	out = appendStatus(out, status)
	if header != nil {
		for _, f := range header.Fields() {
			if !section.ConnectionField(f.Name) {
				out = appendField(out, f.Name, f.Value)
			}
		}
	}
	s.out = endHeaders(out, at)
	_ = s.write(s.out) // One that cannot be sent is not missed.
	s.out = s.out[:0]
}
