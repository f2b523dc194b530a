package http2

import (
	"errors"
	"io"

	"github.com/sluice-gateway/sluice/internal/date"
	"github.com/sluice-gateway/sluice/internal/headerblock"
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
	plan := section.PlanBody(x)
	err := s.sendHead(x, plan)
	if err == nil && plan.Send {
		err = s.sendBody(resp.Body, plan.Length)
	}
	resp.CloseBody()
	return err
}

// sendHead puts the head of the answer into the queue; it leaves when there is nothing more to be
// had that could go with it.
func (s *serverStream) sendHead(x *message.Exchange, plan section.Plan) error {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.waitRoom(); err != nil {
		return s.writeProblem(err)
	}
	s.stallBy = 0
	s.started = true
	out, at := l.beginHead(s.id)
	out = headerblock.AppendStatus(out, x.Response.Status)
	hasDate := false
	for _, f := range x.Response.Header.Fields() {
		if section.ConnectionField(f.Name) {
			continue
		}
		if len(f.Name) == 4 && message.EqualFold(f.Name, "date") {
			hasDate = true
		}
		out = l.encoder.Field(out, f.Name, f.Value)
	}
	if !hasDate {
		out = append(out, 0x0f, 33-15, byte(date.Length)) // RFC 7541 §6.2.2, with the name of entry 33.
		out = s.conn.server.date.Append(out, x.Times.Started)
	}
	if plan.Length >= 0 {
		out = headerblock.AppendLength(out, plan.Length)
	}
	l.endHead(out, at, s.id, !plan.Send)
	s.bytesOut += int64(len(l.writer.out) - at)
	if !plan.Send {
		s.sentEnd()
		l.kick()
	}
	return nil
}

// sendBody sends the body behind its head. What is there already leaves together with the
// head; nothing waits for what is not.
func (s *serverStream) sendBody(body message.Body, length int64) error {
	ready, _ := body.(message.Ready)
	left := length
	s.flushUnless(ready)
	for {
		chunk, err := body.Next()
		if err == io.EOF {
			if length >= 0 && left != 0 {
				return message.UpstreamBodyBroken.WithDetail("the body is shorter than announced")
			}
			return s.endBody(body)
		}
		if err != nil {
			s.flush()
			s.expired = errors.Is(err, message.DeadlineExceeded)
			return section.BrokenBody(err)
		}
		if length >= 0 {
			if left -= int64(len(chunk)); left < 0 {
				return message.UpstreamBodyBroken.WithDetail("the body is longer than announced")
			}
		}
		n, err := s.send(chunk, false)
		s.bytesOut += n
		if err != nil {
			return s.writeProblem(err)
		}
		s.flushUnless(ready)
	}
}

// flushUnless makes what is queued leave, if the next part of the body is not there.
func (s *serverStream) flushUnless(ready message.Ready) {
	if ready == nil || !ready.Ready() {
		s.flush()
	}
}

func (s *serverStream) flush() {
	s.link.mu.Lock()
	s.link.kick()
	s.link.mu.Unlock()
}

// endBody ends the stream, with a trailer section if there is one.
func (s *serverStream) endBody(body message.Body) error {
	var err error
	if t := body.Trailer(); t != nil && t.Len() > 0 {
		var n int64
		n, err = s.sendTrailer(t)
		s.bytesOut += n
	} else {
		err = s.sendEndStream()
	}
	if err != nil {
		return s.writeProblem(err)
	}
	return nil
}

// writeProblem says why an answer could not be sent.
func (s *serverStream) writeProblem(err error) error {
	if err == errStalled {
		s.link.counters.Floods[FloodStall].Add(s.link.shard, 1)
		return message.ClientTooSlow
	}
	return message.ClientWriteFailed
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
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.started || s.sendError() != nil {
		return
	}
	out, at := l.beginHead(s.id)
	out = headerblock.AppendStatus(out, status)
	if header != nil {
		for _, f := range header.Fields() {
			if !section.ConnectionField(f.Name) {
				out = l.encoder.Field(out, f.Name, f.Value)
			}
		}
	}
	l.endHead(out, at, s.id, false)
	s.bytesOut += int64(len(l.writer.out) - at)
	l.kick()
}
