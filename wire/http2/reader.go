package http2

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// reader is what the reading goroutine of a link uses, and nobody else.
type reader struct {
	buf   []byte // what was read and not used is buf[r:w]
	r, w  int
	large *readBuffer
	small [1 << 10]byte // while nothing is going on

	decoder *hpack.Decoder
	head    section.Head
	scratch message.Header // of heads that are not decoded in place
	// block collects a head that does not fit into one frame.
	block       []byte
	blockStream uint32 // 0 while no CONTINUATION is due
	blockEnds   bool   // the head's HEADERS had END_STREAM
	blockFrames int

	lastStream atomic.Uint32 // the last one that the peer has opened
	leaving    bool          // we stop because we are done; guarded by the link's lock
}

// readBuffer takes a whole frame of the usual size and part of the next one.
type readBuffer [2*frameSize + 2*frameHeaderLen]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

func (r *reader) start() { r.buf = r.small[:] }

// makeRoom sees to it that n bytes fit behind r, and that there is room to read.
func (r *reader) makeRoom(n int) {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if len(r.buf)-r.r >= n && r.w < len(r.buf) {
		return
	}
	if n <= len(r.buf) && r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
		return
	}
	r.grow(n)
}

// grow puts a larger buffer in the place of the one that is there.
func (r *reader) grow(n int) {
	old, large := r.buf[r.r:r.w], r.large
	if n <= len(readBuffer{}) {
		r.large = readBuffers.Get().(*readBuffer)
		r.buf = r.large[:]
	} else {
		r.large = nil
		r.buf = make([]byte, n)
	}
	r.w = copy(r.buf, old)
	r.r = 0
	if large != nil {
		readBuffers.Put(large)
	}
}

// release gives the large buffer back, when there is nothing in it.
func (r *reader) release() {
	if r.large != nil {
		readBuffers.Put(r.large)
		r.large = nil
	}
	r.buf, r.r, r.w = r.small[:], 0, 0
}

// fill reads until n bytes are there.
func (l *link) fill(n int) error {
	r := &l.reader
	for r.w-r.r < n {
		if r.r == r.w {
			l.beforeWait()
		} else {
			l.partWait()
		}
		r.makeRoom(n)
		m, err := l.nc.Read(r.buf[r.w:])
		r.w += m
		if m == 0 && err != nil {
			if l.wasNudged() {
				continue
			}
			return err
		}
		l.lastRead.Store(clock())
	}
	if l.partFrom.Load() != 0 && r.blockStream == 0 {
		l.partFrom.Store(0)
	}
	return nil
}

// beforeWait is called when everything that has arrived is used.
func (l *link) beforeWait() {
	r := &l.reader
	if r.blockStream != 0 {
		l.partWait()
	}
	l.mu.Lock()
	l.kick()
	quiet := len(l.streams) == 0
	l.largeHeld = !quiet
	l.mu.Unlock()
	if quiet {
		r.release()
	} else if len(r.buf) == len(r.small) {
		r.grow(len(readBuffer{}))
	}
}

// wasNudged says whether the reader was woken only to give its buffer back, and lets it wait
// again.
func (l *link) wasNudged() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.nudged || l.closed || l.failing || l.reader.leaving {
		return false
	}
	l.nudged = false
	return l.nc.SetReadDeadline(time.Time{}) == nil
}

// partWait is called when part of a frame or of a head is there: from here on the
// clock runs. The data of bodies have a clock of their own.
func (l *link) partWait() {
	r := &l.reader
	if r.w-r.r >= 4 && r.buf[r.r+3] == frameData && r.blockStream == 0 {
		l.partFrom.Store(0)
		return
	}
	if l.partFrom.Load() != 0 {
		return
	}
	l.partFrom.Store(clock())
	l.mu.Lock()
	l.near()
	l.mu.Unlock()
}

// read handles frames until there is an end to them: nil is the peer's end of the
// connection, or that somebody woke us because we are done.
func (l *link) read() *fault {
	r := &l.reader
	for {
		if err := l.fill(frameHeaderLen); err != nil {
			return nil
		}
		if !l.server && !l.greeted && string(r.buf[r.r:r.r+5]) == "HTTP/" {
			l.mu.Lock()
			l.foreign = true
			l.mu.Unlock()
			return broken(ProtocolError, "this is HTTP/1")
		}
		h := parseFrameHeader(r.buf[r.r:])
		if h.length > l.bounds.frameSize {
			return broken(FrameSizeError, "a frame is longer than SETTINGS_MAX_FRAME_SIZE")
		}
		if err := l.fill(frameHeaderLen + h.length); err != nil {
			return nil
		}
		payload := r.buf[r.r+frameHeaderLen : r.r+frameHeaderLen+h.length]
		r.r += frameHeaderLen + h.length
		f := l.onFrame(h, payload)
		if f != nil && f.stream != 0 {
			f = l.resetStream(f)
		}
		if f != nil {
			return f
		}
	}
}

// onFrame handles one frame.
func (l *link) onFrame(h frameHeader, payload []byte) *fault {
	r := &l.reader
	if r.blockStream != 0 && (h.kind != frameContinuation || h.id != r.blockStream) {
		return broken(ProtocolError, "a head is interrupted by another frame")
	}
	if f := checkFrame(h); f != nil {
		return f
	}
	if !l.greeted && (h.kind != frameSettings || h.flags&flagAck != 0) {
		return broken(ProtocolError, "the first frame is not SETTINGS")
	}
	switch h.kind {
	case frameData:
		return l.onData(h, payload)
	case frameHeaders:
		return l.onHeaders(h, payload)
	case frameContinuation:
		return l.onContinuation(h, payload)
	case framePriority:
		return l.onPriority(h, payload)
	case frameReset:
		return l.onReset(h, payload)
	case frameSettings:
		if f := l.onSettings(h, payload); f != nil || h.flags&flagAck != 0 {
			return f
		}
		l.end.onSettings()
		return nil
	case framePing:
		return l.onPing(h, payload)
	case frameGoAway:
		l.end.onGoAway(binary.BigEndian.Uint32(payload)&maxStreamID, ErrCode(binary.BigEndian.Uint32(payload[4:])))
		return l.spendOne(FloodUnknown)
	case frameWindowUpdate:
		return l.onWindowUpdate(h, payload)
	case framePushPromise:
		return broken(ProtocolError, "a push was promised that nobody wants")
	case framePriorityUpdate:
		if binary.BigEndian.Uint32(payload)&maxStreamID == 0 || !l.server {
			return broken(ProtocolError, "a PRIORITY_UPDATE frame is for no stream of a client")
		}
		return l.spendOne(FloodPriority)
	}
	return l.spendOne(FloodUnknown)
}

func (l *link) spendOne(kind Flood) *fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spend(kind)
}

// onHeaders takes the first frame of a head.
func (l *link) onHeaders(h frameHeader, payload []byte) *fault {
	r := &l.reader
	block, f := unpad(h, payload)
	if f != nil {
		return f
	}
	if h.flags&flagPriority != 0 {
		if len(block) < 5 {
			return broken(FrameSizeError, "a HEADERS frame has no room for its priority")
		}
		if binary.BigEndian.Uint32(block)&maxStreamID == h.id {
			// RFC 7540 §5.3.1. The head cannot be left out without losing the header table.
			return broken(ProtocolError, "a stream depends on itself")
		}
		block = block[5:]
	}
	endStream := h.flags&flagEndStream != 0
	if h.flags&flagEndHeaders != 0 {
		return l.end.onHead(h.id, block, endStream)
	}
	r.block = append(r.block[:0], block...)
	r.blockStream, r.blockEnds, r.blockFrames = h.id, endStream, 0
	return l.checkBlock()
}

// onContinuation takes a further frame of a head.
func (l *link) onContinuation(h frameHeader, payload []byte) *fault {
	r := &l.reader
	if r.blockStream == 0 {
		return broken(ProtocolError, "a CONTINUATION frame continues nothing")
	}
	r.block = append(r.block, payload...)
	r.blockFrames++
	if f := l.checkBlock(); f != nil {
		return f
	}
	if h.flags&flagEndHeaders == 0 {
		return nil
	}
	id := r.blockStream
	r.blockStream = 0
	l.partFrom.Store(0)
	f := l.end.onHead(id, r.block, r.blockEnds)
	if cap(r.block) > 16<<10 {
		r.block = nil
	}
	return f
}

// checkBlock bounds a head that comes in pieces. One that is a little too large is
// taken all the same, because it can be answered.
func (l *link) checkBlock() *fault {
	r := &l.reader
	if r.blockFrames > l.bounds.continuations || len(r.block) > 2*l.bounds.headerBytes {
		return l.flood(FloodContinuation, "a head is too large or comes in too many frames")
	}
	return nil
}

// onPriority checks what is not used any more (RFC 9113 §5.3.2).
func (l *link) onPriority(h frameHeader, payload []byte) *fault {
	if f := l.spendOne(FloodPriority); f != nil {
		return f
	}
	if binary.BigEndian.Uint32(payload)&maxStreamID == h.id {
		return spoiled(h.id, ProtocolError, "a stream depends on itself")
	}
	return nil
}

// onSettings takes the peer's settings and acknowledges them.
func (l *link) onSettings(h frameHeader, payload []byte) *fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.spend(FloodSettings); f != nil {
		return f
	}
	if h.flags&flagAck != 0 {
		return nil
	}
	if len(payload) > 64*settingLen {
		return l.flood(FloodSettings, "a SETTINGS frame has too many settings")
	}
	window := l.peer.window
	if f := l.peer.apply(payload, !l.server); f != nil {
		return f
	}
	l.greeted = true
	if l.peer.tableGiven {
		l.encoder.SetTable(l.peer.tableLeast, l.peer.tableSize)
	}
	if l.peer.window > window {
		if l.peer.window-l.leastUsed > maxWindow && l.findLeastUsed() {
			return broken(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE makes the window of a stream larger than 2^31-1")
		}
		l.wakeStreams() // Their windows are counted from this one (RFC 9113 §6.9.2).
	}
	l.writer.out = appendFrameHeader(l.writer.open(), 0, frameSettings, flagAck, 0)
	return l.countControl()
}

func (l *link) onPing(h frameHeader, payload []byte) *fault {
	if h.flags&flagAck != 0 {
		l.end.onPong(payload)
		return l.spendOne(FloodUnknown)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.spend(FloodPing); f != nil {
		return f
	}
	l.writer.out = appendPing(l.writer.open(), flagAck, payload)
	return l.countControl()
}

const addsNothing = "a WINDOW_UPDATE frame adds nothing"

func (l *link) onWindowUpdate(h frameHeader, payload []byte) *fault {
	n := int64(binary.BigEndian.Uint32(payload) & maxWindow)
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.spend(FloodWindowUpdate); f != nil {
		return f
	}
	if h.id == 0 {
		if n == 0 {
			return broken(ProtocolError, addsNothing)
		}
		if l.sendWindow += n; l.sendWindow > maxWindow {
			return broken(FlowControlError, "the window of the connection is above 2^31-1")
		}
		if l.tight > 0 {
			l.wakeStreams()
		}
		return nil
	}
	s := l.streams[h.id]
	if s == nil {
		if l.end.idle(h.id) {
			return broken(ProtocolError, "a WINDOW_UPDATE frame is for a stream that was never opened")
		}
		if e, ok := l.ended.find(h.id); n == 0 && ok && !e.byReset {
			return broken(ProtocolError, addsNothing) // There is no stream left to be reset.
		}
		return nil // It was under way when the stream ended (RFC 9113 §5.1).
	}
	if n == 0 {
		return spoiled(h.id, ProtocolError, addsNothing)
	}
	s.sendUsed -= n
	l.leastUsed = min(l.leastUsed, s.sendUsed)
	if l.peer.window-s.sendUsed > maxWindow {
		return spoiled(h.id, FlowControlError, "the window of a stream is above 2^31-1")
	}
	if s.sendBy != 0 {
		s.cond.Broadcast()
	}
	return nil
}

// findLeastUsed looks for the stream with the largest window, and says whether that is too large. It
// is asked only where it may be so.
func (l *link) findLeastUsed() (tooLarge bool) {
	l.leastUsed = 0
	for _, s := range l.streams {
		l.leastUsed = min(l.leastUsed, s.sendUsed)
	}
	return l.peer.window-l.leastUsed > maxWindow
}

// wakeStreams wakes those that wait to send.
func (l *link) wakeStreams() {
	for _, s := range l.streams {
		if s.sendBy != 0 {
			s.cond.Broadcast()
		}
	}
}

// onData puts what has arrived before whom it is for.
func (l *link) onData(h frameHeader, payload []byte) *fault {
	data, f := unpad(h, payload)
	if f != nil {
		return f
	}
	size := int64(h.length)
	l.mu.Lock()
	defer l.mu.Unlock()
	if size > l.recvWindow {
		return broken(FlowControlError, "more data than the window of the connection allows")
	}
	l.recvWindow -= size
	s := l.streams[h.id]
	if s == nil {
		l.credit(size)
		return l.dataNowhere(h.id)
	}
	in := &s.in
	switch {
	case s.reset || in.ended:
		l.credit(size)
		if s.resetByUs {
			return l.spendLate()
		}
		return spoiled(h.id, StreamClosed, "data behind the end of a stream")
	case !s.headSeen:
		return spoiled(h.id, ProtocolError, "data before the head")
	case size > in.window:
		l.credit(size)
		return spoiled(h.id, FlowControlError, "more data than the window of the stream allows")
	}
	in.window -= size
	in.received += int64(len(data))
	endStream := h.flags&flagEndStream != 0
	if in.announced >= 0 && (in.received > in.announced || endStream && in.received != in.announced) {
		l.credit(size)
		return spoiled(h.id, ProtocolError, "data do not agree with content-length")
	}
	if len(data) == 0 && !endStream {
		if f := l.spend(FloodEmptyData); f != nil {
			return f
		}
	}
	l.floods.Earn(FloodPing, 2)
	if in.unwanted {
		l.credit(size)
	} else {
		in.put(data)
		s.refund(size - int64(len(data)))
	}
	if endStream {
		s.receivedEnd()
	}
	s.cond.Broadcast()
	return nil
}

// dataNowhere is data for a stream that is not there.
func (l *link) dataNowhere(id uint32) *fault {
	if l.end.idle(id) {
		return broken(ProtocolError, "data for a stream that was never opened")
	}
	if e, ok := l.ended.find(id); ok && e.byReset {
		return l.spendLate() // It was under way when we reset the stream.
	}
	if f := l.spend(FloodUnknown); f != nil {
		return f
	}
	return spoiled(id, StreamClosed, "data behind the end of a stream")
}

// onReset takes a stream from who works for it.
func (l *link) onReset(h frameHeader, payload []byte) *fault {
	code := ErrCode(binary.BigEndian.Uint32(payload))
	if l.end.idle(h.id) {
		return broken(ProtocolError, "a RST_STREAM frame is for a stream that was never opened")
	}
	l.mu.Lock()
	s := l.streams[h.id]
	if s == nil || s.reset {
		f := l.spendLate()
		l.mu.Unlock()
		return f
	}
	l.counters.Reset.Add(l.shard, 1)
	var f *fault
	if s.lingerBy == 0 && (l.server || code != NoError) {
		f = l.spend(FloodReset)
	}
	s.resetByPeer, s.resetCode = true, code
	s.lose()
	l.mu.Unlock()
	s.cancelWait()
	return f
}

// resetStream ends a stream because its peer has broken a rule, or has too many. It may be one
// that was never begun.
func (l *link) resetStream(f *fault) *fault {
	if l.end.idle(f.stream) {
		return broken(f.code, f.why) // RFC 9113 §5.1: an idle stream is not reset.
	}
	l.mu.Lock()
	if f.code == RefusedStream {
		l.counters.Refused.Add(l.shard, 1)
	} else {
		l.counters.Malformed.Add(l.shard, 1)
	}
	// To make us reset streams is as cheap as resetting them.
	if broken := l.spend(FloodReset); broken != nil {
		l.mu.Unlock()
		return broken
	}
	l.writer.out = appendReset(l.writer.open(), f.stream, f.code)
	s := l.streams[f.stream]
	if s == nil {
		l.ended.add(f.stream, true)
	} else {
		s.resetByUs, s.why = true, f.why
		s.lose()
	}
	broken := l.countControl()
	l.mu.Unlock()
	if s != nil {
		s.cancelWait()
	}
	return broken
}
