package http2

import (
	"errors"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// stream is what both ends of a link know of a stream. All of it is guarded by the
// lock of the link.
type stream struct {
	link *link
	id   uint32
	cond sync.Cond // for the goroutine that reads and the one that writes

	in       inflow
	headSeen bool // on the client's end: the final head of the answer has come

	// sendUsed is what was sent less what the peer has added to the window. The window itself is
	// counted from the peer's SETTINGS_INITIAL_WINDOW_SIZE, so that a change of
	// that costs nothing here (RFC 9113 §6.9.2).
	sendUsed int64
	sent     int64 // bytes of bodies, ever
	sendEnd  bool  // END_STREAM was sent
	counted  bool  // among link.open

	client *clientStream // whose stream it is, on the client's end
	length int64         // announced length of the body of an answer

	reset     bool    // nothing more comes or goes, because of either side or the connection
	resetByUs bool    // and that was us
	resetCode ErrCode // what the peer said, with resetByPeer
	// resetByPeer says that it was the peer; unprocessed that it left the stream out.
	resetByPeer, unprocessed bool
	why                      string // what the peer did wrong

	// sendBy and recvBy are when a wait ends without success; 0 while nobody waits.
	sendBy, recvBy     int64
	sendLate, recvLate bool
	deadline           int64 // clock at which the stream is given up, whoever waits; 0 is none
	expired            bool  // and it was, or what it carries was
	silentFrom         int64 // clock of the first waitFor since the last byte; 0 is none
	stallBy            int64 // when the wait for window or room ends that has brought nothing yet
	tight              bool  // waits for the window of the connection

	// The last DATA frame that was appended: it may become the last one of the stream.
	lastFrame int
	lastSwap  uint64

	queued     bool
	nextQueued *stream

	lingerBy int64 // clock at which the peer is asked to stop; not 0 only while it lingers

	woken bool          // next is to return, because somebody wants its caller's attention
	joint *tunnel.Joint // on the server's end, while it is a tunnel

	waiting waiting
}

func (s *stream) init(l *link, id uint32) {
	s.link, s.id = l, id
	s.cond.L = &l.mu
	s.in.reset(l.bounds.streamWindow)
	s.headSeen, s.sendUsed, s.sendEnd, s.counted = false, 0, false, false
	s.reset, s.resetByUs, s.resetCode, s.why = false, false, 0, ""
	s.resetByPeer, s.unprocessed, s.length = false, false, -1
	s.sendBy, s.recvBy, s.stallBy, s.sendLate, s.recvLate, s.tight = 0, 0, 0, false, false, false
	s.deadline, s.expired, s.sent = 0, false, 0
	s.lastFrame, s.lastSwap = -1, 0
	s.woken, s.joint, s.silentFrom, s.lingerBy = false, nil, 0, 0
	s.waiting.clear()
}

// lose ends a stream for everybody who works for it. cancelWait comes behind, without
// the lock.
func (s *stream) lose() {
	s.reset = true
	s.waiting.gone.Store(true)
	s.leaveQueue()
	s.cond.Broadcast()
	s.leave()
}

// refund gives window back to the peer: for what was taken, for padding. The connection gets it at
// once, so that streams that wait for more do not hold up the others.
func (s *stream) refund(n int64) {
	if n == 0 {
		return
	}
	l := s.link
	l.credit(n)
	s.in.credit += n
	if s.in.credit < l.bounds.streamWindow/4 || s.in.ended || s.reset || l.closed || l.failing {
		return
	}
	l.writer.out = appendWindowUpdate(l.writer.open(), s.id, s.in.credit)
	s.in.window += s.in.credit
	s.in.credit = 0
	l.kick()
}

// receivedEnd notes the peer's END_STREAM.
func (s *stream) receivedEnd() {
	s.in.ended = true
	if s.sendEnd {
		s.uncount()
	}
	s.leave()
}

// Why a stream cannot be sent on.
var (
	errStreamReset = errors.New("http2: the stream was reset")
	errStalled     = errors.New("http2: the peer opens no window")
)

// sendError says why nothing more may be sent, or nil.
func (s *stream) sendError() error {
	switch {
	case s.reset || s.link.closed || s.link.failing || s.link.writer.err != nil || s.sendEnd:
		return errStreamReset
	case s.sendLate:
		return errStalled
	}
	return nil
}

// send appends p as DATA, in as many frames as it takes, and waits where there is no window
// or too much is queued. n is how many bytes went out with their framing. The bytes leave soon if flush says so, or when
// there are many.
func (s *stream) send(p []byte, flush bool) (n int64, err error) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := 0
	for len(p) > 0 {
		if err = s.sendError(); err != nil {
			return n, err
		}
		size := s.allowance(len(p))
		if size == 0 || turn >= turnSize && l.writer.queueHead != nil {
			s.waitSend()
			turn = 0
			continue
		}
		turn += size
		s.appendData(p[:size])
		n += int64(size) + frameHeaderLen
		p = p[size:]
	}
	if flush || len(l.writer.out) >= outSize-frameSize {
		l.kick()
	}
	return n, nil
}

// turnSize is how much one stream may queue while others wait to do so.
const turnSize = 2 * frameSize

// allowance is how much of n bytes may be sent at once.
func (s *stream) allowance(n int) int {
	l := s.link
	window := min(l.peer.window-s.sendUsed, l.sendWindow)
	size := min(int64(n), frameSize, window)
	if size <= 0 || len(l.writer.out) >= queueLimit {
		return 0
	}
	return int(size)
}

// appendData appends one DATA frame.
func (s *stream) appendData(p []byte) {
	l := s.link
	out := l.writer.open()
	s.lastFrame, s.lastSwap = len(out), l.writer.swaps
	out = appendFrameHeader(out, len(p), frameData, 0, s.id)
	l.writer.out = append(out, p...)
	s.stallBy = 0
	s.sendUsed += int64(len(p))
	s.sent += int64(len(p))
	l.sendWindow -= int64(len(p))
	l.floods.expectReads(len(p))
	l.floods.Earn(FloodPing, 2)
}

// waitSend waits until the stream may perhaps send.
func (s *stream) waitSend() {
	l := s.link
	s.beginStall()
	switch {
	case l.sendWindow <= 0:
		s.tight = true
		l.tight++
	case l.peer.window > s.sendUsed: // There is window, so it is room that is missing.
		l.writer.queue(s)
	}
	l.kick()
	l.near()
	s.cond.Wait()
	if s.tight {
		s.tight = false
		l.tight--
	}
	s.sendBy = 0
}

// waitRoom waits until not too much is queued. Heads need it too: streams that are nothing but a head end when
// it is queued, so that their number alone would not bound what a peer leaves unread. The lock is held.
func (s *stream) waitRoom() error {
	l := s.link
	for len(l.writer.out) >= queueLimit && s.sendError() == nil {
		s.beginStall()
		l.writer.queue(s)
		l.kick()
		l.near()
		s.cond.Wait()
		s.sendBy = 0
	}
	return s.sendError()
}

// beginStall begins a wait, or goes on with one: being woken in vain does not buy time.
func (s *stream) beginStall() {
	if s.stallBy == 0 {
		s.stallBy = clock() + int64(s.link.bounds.write)
	}
	s.sendBy = s.stallBy
}

// sendEndStream says that nothing more will come, in the last frame if that has not left.
func (s *stream) sendEndStream() error {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.sendError(); err != nil {
		return err
	}
	if s.lastFrame >= 0 && s.lastSwap == l.writer.swaps {
		l.writer.out[s.lastFrame+4] |= flagEndStream
	} else {
		l.writer.out = appendFrameHeader(l.writer.open(), 0, frameData, flagEndStream, s.id)
	}
	s.sentEnd()
	l.kick()
	return nil
}

// sentEnd notes our END_STREAM.
func (s *stream) sentEnd() {
	s.sendEnd = true
	if s.in.ended {
		s.uncount()
	}
}

// uncount makes room for another stream.
func (s *stream) uncount() {
	if s.counted {
		s.counted = false
		s.link.open--
	}
}

// beginHead starts a HEADERS frame and returns where it begins.
func (l *link) beginHead(id uint32) (out []byte, at int) {
	out = l.writer.open()
	at = len(out)
	out = appendFrameHeader(out, 0, frameHeaders, 0, id)
	return l.encoder.Begin(out), at
}

// endHead completes it. A head that is too long for one frame is cut up.
func (l *link) endHead(out []byte, at int, id uint32, endStream bool) {
	flags := uint8(0)
	if endStream {
		flags = flagEndStream
	}
	block := len(out) - at - frameHeaderLen
	if block <= frameSize {
		setFrameLength(out, at)
		out[at+4] = flags | flagEndHeaders
		l.writer.out = out
		return
	}
	rest := append([]byte(nil), out[at+frameHeaderLen+frameSize:]...)
	out = out[:at+frameHeaderLen+frameSize]
	setFrameLength(out, at)
	out[at+4] = flags
	for len(rest) > 0 {
		n := min(len(rest), frameSize)
		flags = 0
		if n == len(rest) {
			flags = flagEndHeaders
		}
		out = appendFrameHeader(out, n, frameContinuation, flags, id)
		out = append(out, rest[:n]...)
		rest = rest[n:]
	}
	l.writer.out = out
}

// sendTrailer sends the fields behind a body, which end the stream.
func (s *stream) sendTrailer(t *message.Header) (n int64, err error) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.sendError(); err != nil {
		return 0, err
	}
	out, at := l.beginHead(s.id)
	for _, f := range t.Fields() {
		if !section.ConnectionField(f.Name) {
			out = l.encoder.Field(out, f.Name, f.Value)
		}
	}
	l.endHead(out, at, s.id, true)
	n = int64(len(l.writer.out) - at)
	s.sentEnd()
	l.kick()
	return n, nil
}

// next returns the next bytes that have arrived; nil and no error where it would have to
// wait and may not.
func (s *stream) next(wait bool, limit time.Duration) (chunk []byte, state recvState) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if s.in.unwanted {
			return nil, recvStopped
		}
		viewed := s.in.viewed
		chunk = s.in.take()
		s.refund(int64(viewed))
		// What had come whole before the end of the stream is still to be had.
		lost := s.reset && (!s.in.ended || s.resetByUs)
		switch {
		case lost && chunk != nil && s.tunnelled() && !s.resetByUs:
			return chunk, recvData // Behind the last words of a tunnel the stream may well be reset.
		case lost:
			return nil, recvReset
		case chunk != nil:
			s.silentFrom = 0
			return chunk, recvData
		case s.in.ended:
			return nil, recvEnd
		case s.woken:
			s.woken = false
			return nil, recvWoken
		case s.recvLate:
			return nil, recvTooLate
		case !wait:
			return nil, recvNothing
		}
		s.recvBy = clock() + int64(limit)
		l.kick()
		l.near()
		s.cond.Wait()
		s.recvBy = 0
	}
}

// waitFor waits until next would return at once, at most for d, and says whether that is so. Waits
// that end early do not buy the peer time: its silence may be as long as silence.
func (s *stream) waitFor(d, silence time.Duration) bool {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	now := clock()
	if s.silentFrom == 0 {
		s.silentFrom = now
	}
	last := s.silentFrom + int64(silence)
	for {
		switch {
		case s.in.waiting() || s.in.ended || s.reset || s.in.unwanted:
			s.silentFrom = 0
			return true
		case s.recvLate && clock() >= last:
			return true // And next says so.
		case s.recvLate:
			s.recvLate = false
			return false
		}
		s.recvBy = min(now+int64(d), last)
		l.kick()
		l.near()
		s.cond.Wait()
		s.recvBy = 0
	}
}

// recvState is what next found.
type recvState uint8

const (
	recvData recvState = iota
	recvNothing
	recvEnd
	recvReset
	recvStopped
	recvTooLate
	recvWoken // by wake: there is nothing
)

// ready says whether next would return at once.
func (s *stream) ready() bool {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.in.waiting() || s.in.ended || s.reset || s.in.unwanted
}

// unwant makes everything that has come and will come be dropped.
func (s *stream) unwant() {
	l := s.link
	l.mu.Lock()
	s.in.unwanted = true
	s.cond.Broadcast()
	l.mu.Unlock()
}

// detach takes a stream off its link: nothing that arrives reaches it any more. The lock is
// held.
func (s *stream) detach() {
	s.release()
	delete(s.link.streams, s.id)
	s.link.ended.add(s.id, s.resetByUs)
}

// release gives back what the stream has of its link.
func (s *stream) release() {
	l := s.link
	s.leaveQueue()
	s.uncount()
	if s.tunnelled() { // One of its two goroutines may still pass on what it has read.
		l.credit(s.in.abandon())
	} else {
		l.credit(s.in.drop())
	}
}

// queue puts a stream behind those that wait for room in out.
func (w *writer) queue(s *stream) {
	if s.queued {
		return
	}
	s.queued, s.nextQueued = true, nil
	if w.lastQueued == nil {
		w.queueHead = s
	} else {
		w.lastQueued.nextQueued = s
	}
	w.lastQueued = s
}

func (w *writer) firstQueued() *stream { return w.queueHead }

// leaveQueue takes a stream out of that queue.
func (s *stream) leaveQueue() {
	if !s.queued {
		return
	}
	w := &s.link.writer
	var before *stream
	for at := w.queueHead; at != s; at = at.nextQueued {
		before = at
	}
	if before == nil {
		w.queueHead = s.nextQueued
	} else {
		before.nextQueued = s.nextQueued
	}
	if w.lastQueued == s {
		w.lastQueued = before
	}
	s.queued, s.nextQueued = false, nil
}
