package http2

import (
	"errors"
	"time"

	"github.com/sluice-gateway/sluice/internal/headerblock"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// Failure is why RoundTrip did not get an answer.
type Failure struct {
	Problem *message.Problem
	// Sent says that bytes of the request may have reached the origin; Answered
	// that a byte of the answer came back.
	Sent     bool
	Answered bool
	// Refused says that the origin has certainly not processed the request, whatever was sent
	// (RFC 9113 §8.7): it may be sent again, whatever its method.
	Refused bool
	// BodyTaken says that part of the request's body is gone, if it was not in memory.
	BodyTaken bool
	Cause     error
}

func (f *Failure) Error() string {
	if f.Cause == nil {
		return f.Problem.Error()
	}
	return f.Problem.Error() + ": " + f.Cause.Error()
}

func (f *Failure) Unwrap() error { return f.Problem }

// ResetError is the cause of a failure: what the origin said.
type ResetError struct{ Code ErrCode }

func (e ResetError) Error() string { return "http2: the origin reset the stream: " + e.Code.String() }

// Why a request cannot be sent over a connection.
var (
	errNoRoom    = errors.New("http2: the connection takes no more streams")
	errNoTunnels = errors.New("http2: the origin does not know extended CONNECT")
	errClosed    = errors.New("http2: the connection was closed")
	errForeign   = errors.New("http2: the origin answers in HTTP/1")
)

// NoTunnels says that a request was not sent because it wants a tunnel, which the origin does not
// offer over HTTP/2 (RFC 8441 §3).
func NoTunnels(cause error) bool { return cause == errNoTunnels }

// AnswersHTTP1 says that an origin that was to speak HTTP/2 by prior knowledge speaks HTTP/1.
func AnswersHTTP1(cause error) bool { return cause == errForeign }

// Lost says that the connection ended under an exchange, which nobody has reset.
func Lost(cause error) bool { return cause == errClosed }

// WantsHTTP1 says that the origin has not processed a request because it wants it over HTTP/1.1
// (RFC 9113 §7).
func WantsHTTP1(cause error) bool { return cause == ResetError{HTTP11Required} }

// RoundTrip sends req and reads the head of the answer into resp, whose Body then streams the
// rest. It waits on the goroutine of the exchange; a client that goes away ends the wait. A body
// that is not there as a whole is sent by another goroutine, which has ended when the body of the
// answer is closed.
func (c *ClientConn) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) *Failure {
	first, whole, err := message.FirstChunk(req.Body)
	if err != nil {
		return &Failure{Problem: message.BodyProblem(err)}
	}
	if whole && req.Body != nil {
		req.Hold(first)
	}
	s := clientStreams.Get().(*clientStream)
	s.begin(c, x, req)
	deadline := int64(0)
	if !x.Deadline.IsZero() {
		deadline = clockOf(x.Deadline)
	}
	failure := c.openStream(s, req, first, whole, deadline)
	if failure != nil {
		if !whole && len(first) > 0 {
			req.PutBack(first)
		}
		s.conn, s.wire = nil, nil
		clientStreams.Put(s)
		return failure
	}
	if !whole {
		s.sendStreaming(req.Body, first)
	}
	failure = s.awaitHead()
	if failure == nil {
		if by, other := x.BodyDeadline(); other {
			s.stopBy(by)
		}
		failure = s.deliver(req, resp)
	}
	if failure != nil {
		failure.Sent, failure.BodyTaken = true, !whole
		resp.Reset()
		s.end()
		return failure
	}
	return nil
}

// openStream sends the head, and a body that is there as a whole. Numbers rise in the order in which
// heads leave.
func (c *ClientConn) openStream(s *clientStream, req *message.Request, body []byte, whole bool, deadline int64) *Failure {
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if deadline != 0 && deadline <= clock() {
		return &Failure{Problem: message.DeadlineExceeded, Refused: true}
	}
	if s.tunnel {
		if failure := c.awaitTunnels(deadline); failure != nil {
			return failure
		}
	}
	if c.room() == 0 {
		if c.goneAway && c.awayCode == HTTP11Required {
			return &Failure{Problem: message.UpstreamClosed, Refused: true, Cause: ResetError{HTTP11Required}}
		}
		if l.closed || l.failing || l.reader.leaving {
			return &Failure{Problem: message.UpstreamClosed, Refused: true, Cause: errClosed}
		}
		return &Failure{Problem: message.UpstreamBusy, Refused: true, Cause: errNoRoom}
	}
	s.stream.init(l, c.nextID)
	if deadline != 0 {
		s.deadline = deadline
		l.tickBy(deadline)
	}
	l.reader.lastStream.Store(c.nextID)
	c.nextID += 2
	c.used++
	s.counted = true
	l.open++
	l.streams[s.id] = &s.stream
	endStream := whole && len(body) == 0 && !s.tunnel
	out, at := l.beginHead(s.id)
	out = c.appendRequest(out, req, s.tunnel)
	l.endHead(out, at, s.id, endStream)
	switch {
	case endStream:
		s.sentEnd()
	case whole && !s.tunnel && s.allowance(len(body)) == len(body):
		s.appendData(body)
		l.writer.out[s.lastFrame+4] |= flagEndStream
		s.sentEnd()
	case whole && !s.tunnel:
		s.beginUpload(req.Body, body)
	}
	l.kick()
	return nil
}

// stopBy changes the deadline; the zero time is none.
func (s *clientStream) stopBy(at time.Time) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.deadline = 0; !at.IsZero() {
		s.deadline = clockOf(at)
		l.tickBy(s.deadline)
	}
}

// awaitTunnels waits for the origin's settings, which say whether it knows extended CONNECT.
func (c *ClientConn) awaitTunnels(deadline int64) *Failure {
	l := &c.link
	l.kick()
	late := clock() + int64(c.limits.ResponseTimeout)
	for !l.greeted && !l.closed && !l.failing {
		switch now := clock(); {
		case now >= late:
			return &Failure{Problem: message.UpstreamTimeout, Refused: true}
		case deadline != 0 && now >= deadline:
			return &Failure{Problem: message.DeadlineExceeded, Refused: true}
		case deadline != 0:
			l.tickBy(deadline)
		}
		l.changed.Wait()
	}
	if l.closed || l.failing {
		return &Failure{Problem: message.UpstreamClosed, Refused: true, Cause: errClosed}
	}
	if !l.peer.connect {
		return &Failure{Problem: message.UpstreamConnect, Refused: true, Cause: errNoTunnels}
	}
	return nil
}

// appendRequest writes the fields of a request. They were checked when they came in or were
// set.
func (c *ClientConn) appendRequest(out []byte, req *message.Request, tunnel bool) []byte {
	e := &c.link.encoder
	switch {
	case tunnel:
		out = headerblock.AppendLiteral(out, 0x00, 4, 2, ":method", "CONNECT")
		out = e.Field(out, ":protocol", message.LowerASCII(req.Upgrade))
	case req.Method == "GET":
		out = append(out, 0x80|2)
	case req.Method == "POST":
		out = append(out, 0x80|3)
	default:
		out = headerblock.AppendLiteral(out, 0x00, 4, 2, ":method", req.Method)
	}
	if c.secure {
		out = append(out, 0x80|7)
	} else {
		out = append(out, 0x80|6)
	}
	out = appendPath(out, req)
	if req.Authority != "" {
		out = e.Field(out, ":authority", req.Authority)
	}
	for _, f := range req.Header.Fields() {
		if skipRequestField(f.Name, f.Value, tunnel) {
			continue
		}
		out = e.Field(out, f.Name, f.Value)
	}
	if tunnel {
		return out
	}
	if req.Body != nil {
		if n := req.Body.Length(); n >= 0 {
			out = headerblock.AppendLength(out, n)
		}
	} else if req.Method == "POST" || req.Method == "PUT" || req.Method == "PATCH" {
		out = headerblock.AppendLength(out, 0) // RFC 9110 §8.6.
	}
	return out
}

// appendPath appends :path without building it first.
func appendPath(out []byte, req *message.Request) []byte {
	if req.Path == "/" && !req.HasQuery {
		return append(out, 0x80|4)
	}
	n := len(req.Path)
	if req.HasQuery {
		n += 1 + len(req.Query)
	}
	out = append(out, 0x04)
	out = headerblock.AppendInt(out, 0, 7, uint64(n))
	out = append(out, req.Path...)
	if req.HasQuery {
		out = append(out, '?')
		out = append(out, req.Query...)
	}
	return out
}

// skipRequestField says whether a field does not go to the origin: those of a connection, and the
// key of a WebSocket, which HTTP/2 does not use (RFC 8441 §5).
func skipRequestField(name, value string, tunnel bool) bool {
	switch len(name) {
	case 2:
		return message.EqualFold(name, "te") && value != "trailers"
	case 4:
		return message.EqualFold(name, "host")
	case 17:
		return section.ConnectionField(name) || tunnel && message.EqualFold(name, "sec-websocket-key")
	}
	return section.ConnectionField(name)
}

// sendStreaming sends what is there of the body on this goroutine, and leaves the rest to
// another one.
func (s *clientStream) sendStreaming(body message.Body, first []byte) {
	l := s.link
	s.wire.LendBody()
	l.mu.Lock()
	s.beginUpload(body, first)
	s.upload.lent = true
	l.mu.Unlock()
}

// beginUpload has another goroutine send the body; the lock is held.
func (s *clientStream) beginUpload(body message.Body, first []byte) {
	s.upload = upload{stream: s, body: body, chunk: first, length: body.Length()}
	s.uploading = true
	s.link.workers.Do(&s.upload)
}

// awaitHead waits for the final head of the answer and passes interim ones on.
func (s *clientStream) awaitHead() *Failure {
	s.wire.Await(s)
	defer s.wire.Arrived()
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if len(s.interims) > 0 {
			in := s.interims[0]
			s.interims = append(s.interims[:0], s.interims[1:]...)
			l.mu.Unlock()
			s.wire.Inform(in.status, &in.header)
			l.mu.Lock()
			continue
		}
		switch {
		case s.headSeen:
			return nil
		case s.reset || s.uploadErr != nil:
			return s.failure()
		case s.recvLate && !s.stillSending():
			s.resetLocked(Cancel)
			return &Failure{Problem: message.UpstreamTimeout, Answered: s.informed > 0}
		}
		s.recvLate = false
		s.recvBy = clock() + int64(s.conn.limits.ResponseTimeout)
		l.near()
		s.cond.Wait()
		s.recvBy = 0
	}
}

// stillSending says whether the time for the answer has not begun yet, or only lately: it runs from
// the end of the request's body.
func (s *clientStream) stillSending() bool {
	return s.uploading || s.uploadEnd != 0 && clock()-s.uploadEnd < int64(s.conn.limits.ResponseTimeout)
}

// failure says why there is no answer; the lock is held.
func (s *clientStream) failure() *Failure {
	f := &Failure{Answered: s.informed > 0}
	switch {
	case s.uploadErr != nil:
		f.Problem = s.uploadErr
	case s.cancelled:
		f.Problem = message.ClientGone
	case s.expired:
		f.Problem = message.DeadlineExceeded
	case s.tooLarge:
		f.Problem, f.Answered = message.UpstreamHeaderLimit, true
	case s.why != "":
		f.Problem, f.Answered = message.UpstreamMalformed.WithDetail(s.why), true
	case s.unprocessed:
		f.Problem, f.Refused, f.Cause = message.UpstreamClosed, true, ResetError{RefusedStream}
		if s.resetCode == HTTP11Required {
			f.Cause = ResetError{HTTP11Required}
		}
	case s.resetByPeer:
		f.Problem, f.Cause = message.UpstreamClosed, ResetError{s.resetCode}
		f.Refused = s.resetCode == RefusedStream || s.resetCode == HTTP11Required
	default:
		f.Problem, f.Cause = message.UpstreamClosed, errClosed
		if s.link.foreign {
			f.Cause = errForeign
		}
	}
	return f
}

// deliver fills the answer and hands over its body.
func (s *clientStream) deliver(req *message.Request, resp *message.Response) *Failure {
	l := s.link
	l.mu.Lock()
	resp.Status = s.status
	resp.Header.CopyFrom(&s.fields)
	resp.Length = s.length
	// The origin may have answered before the goroutine that has sent it all says so.
	resp.Early = s.uploading && !s.sendEnd && (s.in.ended || s.status >= 400)
	done := s.in.ended && !s.in.waiting()
	bodiless := !message.BodyAllowed(s.method, s.status)
	if s.tunnel && s.status/100 == 2 {
		l.mu.Unlock()
		return s.startTunnel(req, resp)
	}
	if bodiless && s.why != "" {
		defer l.mu.Unlock()
		return s.failure()
	}
	l.mu.Unlock()
	if done && s.in.trailer.Len() == 0 || bodiless {
		// A bidirectional exchange whose answer is complete is over (RFC 9113 §8.1).
		s.ended = true
		s.end()
		return nil
	}
	resp.SetStream(s)
	return nil
}
