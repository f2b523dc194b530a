package http2

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// clientStream is one exchange with an origin. It implements message.Canceler, and the body of
// the answer: message.Body and message.Ready. It is used for one exchange after the other.
type clientStream struct {
	stream
	conn    *ClientConn
	wire    message.Wire
	method  string
	started time.Time // of the exchange
	tunnel  bool      // an extended CONNECT

	// Guarded by the lock of the link.
	status    int
	fields    message.Header
	interims  []interim
	informed  int // interim answers so far
	cancelled bool
	tooLarge  bool // the head of the answer
	uploading bool
	uploadEnd int64 // clock
	uploadErr *message.Problem

	upload  upload
	bodyErr error
	ended   bool // Close was called
}

type interim struct {
	status int
	header message.Header
}

var clientStreams = sync.Pool{New: func() any {
	s := new(clientStream)
	s.stream.client = s
	return s
}}

func (s *clientStream) begin(c *ClientConn, x *message.Exchange, req *message.Request) {
	s.conn, s.wire, s.method = c, x.Wire(), req.Method
	s.started, s.tunnel = x.Times.Started, req.Upgrade != ""
	s.status, s.informed, s.cancelled, s.tooLarge = 0, 0, false, false
	s.fields.Reset()
	clear(s.interims)
	s.interims = s.interims[:0]
	s.uploading, s.uploadEnd, s.uploadErr = false, 0, nil
	s.bodyErr, s.ended = nil, false
}

// maxInterim is how many interim answers an origin may send for one request.
const maxInterim = 100

// takeHead is called by the reading goroutine, with the lock, for a decoded head (RFC 9113
// §8.3.2).
func (s *clientStream) takeHead(h *section.Head, fields *message.Header, endStream bool) *fault {
	status, ok := parseStatus(h.Status)
	switch {
	case h.Wrong != "":
		return spoiled(s.id, ProtocolError, h.Wrong)
	case !ok:
		return spoiled(s.id, ProtocolError, ":status is not three digits between 100 and 599")
	case h.TooLarge:
		s.tooLarge = true
		return spoiled(s.id, Cancel, "the head of the answer is too large")
	case status == 101:
		return spoiled(s.id, ProtocolError, "HTTP/2 has no status 101")
	case status < 200:
		return s.takeInterim(status, h, fields, endStream)
	case status == 204 && h.Length > 0:
		return spoiled(s.id, ProtocolError, "an answer that has no body announces one")
	}
	allowed := message.BodyAllowed(s.method, status)
	if endStream && h.Length > 0 && allowed {
		return spoiled(s.id, ProtocolError, "content-length announces a body that does not come")
	}
	s.status = status
	s.fields.CopyFrom(fields)
	s.headSeen = true
	s.in.announced = h.Length
	s.length = h.Length
	if !allowed {
		s.in.announced = 0 // No data may come, whatever is announced.
	}
	if endStream {
		s.receivedEnd()
	}
	s.cond.Broadcast()
	return nil
}

func (s *clientStream) takeInterim(status int, h *section.Head, fields *message.Header, endStream bool) *fault {
	switch s.informed++; {
	case endStream:
		return spoiled(s.id, ProtocolError, "an interim answer ends its stream")
	case h.Length > 0:
		return spoiled(s.id, ProtocolError, "an answer that has no body announces one")
	case s.informed > maxInterim:
		return spoiled(s.id, EnhanceYourCalm, "too many interim answers")
	}
	if status != 100 {
		s.interims = append(s.interims, interim{status: status})
		s.interims[len(s.interims)-1].header.CopyFrom(fields)
		s.cond.Broadcast()
	}
	return nil
}

func parseStatus(v string) (int, bool) {
	if len(v) != 3 {
		return 0, false
	}
	n, ok := message.ParseLength(v)
	return int(n), ok && n >= 100 && n <= 599
}

// Cancel implements message.Canceler: the client is gone, so nobody wants the answer.
func (s *clientStream) Cancel() {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.reset {
		return
	}
	s.cancelled = true
	s.resetLocked(Cancel)
}

// resetLocked ends the stream from our side.
func (s *clientStream) resetLocked(code ErrCode) {
	l := s.link
	if s.reset {
		return
	}
	s.resetByUs = true
	s.conn.doubt(s)
	l.floods.expectLate()
	if !l.closed && !l.failing && !(s.sendEnd && s.in.ended) {
		l.writer.out = appendReset(l.writer.open(), s.id, code)
		l.kick()
	}
	s.lose()
}

// expire gives up a stream whose deadline is over, unless the answer is here as a whole; the
// lock is held.
func (s *clientStream) expire() {
	s.deadline = 0
	if s.reset || s.in.ended {
		return
	}
	s.expired = true
	s.resetLocked(Cancel)
}

// Length implements message.Body.
func (s *clientStream) Length() int64 { return s.length }

// Trailer implements message.Body.
func (s *clientStream) Trailer() *message.Header {
	if s.in.trailer.Len() == 0 {
		return nil
	}
	return &s.in.trailer
}

// Ready implements message.Ready.
func (s *clientStream) Ready() bool { return s.bodyErr != nil || s.ready() }

// Next implements message.Body.
func (s *clientStream) Next() ([]byte, error) {
	if s.bodyErr != nil {
		return nil, s.bodyErr
	}
	chunk, state := s.next(false, 0)
	if state == recvNothing {
		s.wire.Await(s)
		chunk, state = s.awaitNext()
		s.wire.Arrived()
	}
	switch state {
	case recvData:
		return chunk, nil
	case recvEnd:
		s.bodyErr = io.EOF
	default:
		s.bodyErr = s.bodyProblem(state)
	}
	return nil, s.bodyErr
}

// awaitNext waits for more of the body. An origin that is silent while the client speaks is not too late.
func (s *clientStream) awaitNext() (chunk []byte, state recvState) {
	for {
		s.link.mu.Lock()
		sent := s.sent
		s.link.mu.Unlock()
		chunk, state = s.next(true, s.conn.limits.BodyTimeout)
		if state != recvTooLate {
			return chunk, state
		}
		s.link.mu.Lock()
		silent := s.sent == sent
		s.link.mu.Unlock()
		if silent {
			return chunk, state
		}
		s.forgive()
	}
}

// Wait implements message.Waiter.
func (s *clientStream) Wait(d time.Duration) bool {
	if s.Ready() {
		return true
	}
	s.wire.Await(s)
	defer s.wire.Arrived()
	return s.waitFor(d, s.conn.limits.BodyTimeout)
}

// bodyProblem says why the body did not come to its end.
func (s *clientStream) bodyProblem(state recvState) *message.Problem {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case s.uploadErr != nil:
		return s.uploadErr
	case s.cancelled:
		return message.ClientGone
	case s.expired:
		return message.DeadlineExceeded
	case state == recvTooLate:
		return message.UpstreamBodyBroken.WithDetail("the origin stopped sending in the middle of the body")
	case s.why != "":
		return message.UpstreamBodyBroken.WithDetail(s.why)
	case !s.resetByUs && s.resetCode != 0:
		return message.UpstreamBodyBroken.WithDetail("the origin reset the stream in the middle of the body: " + s.resetCode.String())
	}
	return message.UpstreamBodyBroken.WithDetail("the origin closed the connection in the middle of the body")
}

// Close implements message.Body: the exchange is over. A stream that has not come to its end is
// cancelled.
func (s *clientStream) Close() error {
	if s.ended {
		return nil
	}
	s.ended = true
	s.end()
	return nil
}

// end takes the stream off its connection, once nobody else uses it.
func (s *clientStream) end() {
	c := s.conn
	l := s.link
	l.mu.Lock()
	if s.uploading && s.in.ended && !s.resetByUs {
		s.awaitUpload()
	}
	if !(s.sendEnd && s.in.ended) {
		s.resetLocked(Cancel)
	}
	if s.in.ended {
		l.floods.Earn(FloodReset, 1)
		l.floods.Earn(FloodUnknown, 2) // A reset may come behind a whole answer.
	}
	if s.uploading && s.upload.lent && !s.sendEnd {
		l.mu.Unlock()
		s.wire.StopBody()
		l.mu.Lock()
	}
	for s.uploading {
		s.cond.Wait()
	}
	lent := s.upload.lent
	s.detach()
	c.since = clock()
	c.leaveIfDone()
	l.mu.Unlock()
	if lent {
		s.wire.ReturnBody()
	}
	s.upload = upload{}
	if !s.tunnel { // Of a tunnel two goroutines may know.
		s.conn, s.wire = nil, nil
		clientStreams.Put(s)
	}
	c.pool.Freed(c)
}

// uploadGrace is how long a body that is nearly sent may take when the answer is already
// complete.
const uploadGrace = 50 * time.Millisecond

// awaitUpload gives the upload that time, also where the origin has reset the stream behind its answer
// because it wants no more of the body (RFC 9113 §8.1): then it ends by itself. The lock is held.
func (s *clientStream) awaitUpload() {
	l := s.link
	over := false
	timer := time.AfterFunc(uploadGrace, func() {
		l.mu.Lock()
		over = true
		s.cond.Broadcast()
		l.mu.Unlock()
	})
	for s.uploading && !over && !s.resetByUs {
		s.cond.Wait()
	}
	timer.Stop()
}

// upload is a request body that is sent by a goroutine of its own while the answer is awaited, because
// neither waits for the other. It implements job.
type upload struct {
	stream *clientStream
	body   message.Body
	chunk  []byte // taken from the body, and not sent yet
	length int64  // announced to the origin; -1 without
	sent   int64
	lent   bool
}

// Run implements workers.Job.
func (u *upload) Run() {
	s := u.stream
	problem := u.copy()
	l := s.link
	l.mu.Lock()
	if problem != nil {
		s.uploadErr = problem
		s.resetLocked(Cancel)
	}
	s.uploadEnd = clock()
	s.uploading = false
	s.cond.Broadcast()
	l.mu.Unlock()
}

// copy sends the body to its end. Where the stream has ended it is not for us to say why.
func (u *upload) copy() *message.Problem {
	s := u.stream
	ready, _ := u.body.(message.Ready)
	for {
		if len(u.chunk) > 0 {
			if u.sent += int64(len(u.chunk)); u.length >= 0 && u.sent > u.length {
				return errUploadLonger
			}
			flush := ready == nil || !ready.Ready()
			// Asking whether there is more does not touch the chunk.
			if _, err := s.send(u.chunk, flush); err != nil {
				return uploadFailed(err)
			}
		}
		var err error
		u.chunk, err = u.body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return message.BodyProblem(err)
		}
	}
	if u.length >= 0 && u.sent != u.length {
		return errUploadShorter
	}
	var err error
	if t := u.body.Trailer(); t != nil && t.Len() > 0 {
		_, err = s.sendTrailer(t)
	} else {
		err = s.sendEndStream()
	}
	if err != nil {
		return uploadFailed(err)
	}
	return nil
}

var (
	errUploadLonger  = message.Internal.WithDetail("the request body is longer than announced")
	errUploadShorter = message.Internal.WithDetail("the request body is shorter than announced")
	errUploadStalled = message.UpstreamTimeout.WithDetail("the origin does not take the request body")
)

func uploadFailed(err error) *message.Problem {
	if errors.Is(err, errStalled) {
		return errUploadStalled
	}
	return nil
}
