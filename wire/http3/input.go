package http3

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// input takes the receiving half of a request stream apart (RFC 9114 §4.1): one head, a body,
// perhaps a trailer section, and frames that nobody knows between them. One goroutine at a time uses
// it.
type input struct {
	stream *serverStream
	small  [smallBuffer]byte
	chunk  *chunk // where small is not enough
	long   []byte // a section that is longer than all of these, or nil
	buf    []byte // one of the three
	r, w   int    // what was read and not looked at

	left     uint64 // of the DATA frame at hand
	unknown  uint64 // is left of a frame that nobody knows
	whole    bool   // the stream has ended, and everything was read
	done     bool   // a trailer section has come
	tooLong  bool   // the head is too long to be decoded
	lost     *fault // nothing more comes
	frugal   bool   // while it waits it holds no large buffer
	patience atomic.Int64

	deadline sync.Mutex  // over woken and reading.late together with the deadline of the stream that goes with them
	woken    atomic.Bool // read without the lock too

	announced int64 // Content-Length; -1 without one
	received  int64 // of the body
	bytes     atomic.Int64
	trailer   message.Header
}

const (
	smallBuffer = 1 << 10
	chunkSize   = 16 << 10
)

// chunk is where a body, or a long head, is read into.
type chunk [chunkSize]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (in *input) reset() {
	in.buf = in.small[:]
	in.r, in.w, in.left, in.unknown = 0, 0, 0, 0
	in.whole, in.done, in.tooLong, in.lost, in.frugal = false, false, false, nil, false
	in.woken.Store(false)
	in.announced, in.received = -1, 0
	in.bytes.Store(0)
	in.trailer.Reset()
}

// release gives buffers back; views are no longer valid.
func (in *input) release() {
	in.buf, in.long = nil, nil
	if in.chunk != nil {
		chunks.Put(in.chunk)
		in.chunk = nil
	}
}

// ended says whether nothing more will come, as far as is known.
func (in *input) ended() bool { return in.whole && in.r == in.w && in.left == 0 && in.unknown == 0 }

// begin says that somebody waits for the client from here to end, no longer than patience, however
// often something comes meanwhile: nobody may be held up by single bytes, or by frames that say nothing.
func (in *input) begin(patience time.Duration) {
	in.patience.Store(int64(patience))
	in.stream.reading.number.Add(1)
}

// end is the end of what begin began.
func (in *input) end() { in.stream.reading.number.Add(1) }

// fill reads more behind what is there, between begin and end.
func (in *input) fill() *fault {
	if in.lost != nil {
		return in.lost
	}
	if in.whole {
		return nil
	}
	if in.woken.Load() {
		return in.wake()
	}
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.w == len(in.buf) {
		copy(in.buf, in.buf[in.r:in.w])
		in.r, in.w = 0, in.w-in.r
	}
	n, err := in.stream.quic.Read(in.buf[in.w:])
	in.w += n
	in.bytes.Add(int64(n))
	switch {
	case err == nil:
	case err == io.EOF:
		in.whole = true
	case errors.Is(err, os.ErrDeadlineExceeded) && in.woken.Load():
		return in.wake()
	case errors.Is(err, os.ErrDeadlineExceeded):
		in.lost = faultLate
		return in.lost
	default:
		in.lost = faultGone
		return in.lost
	}
	return nil
}

// wake takes back what has woken us. Somebody who wakes us meanwhile is noticed at the next fill.
func (in *input) wake() *fault {
	in.deadline.Lock()
	defer in.deadline.Unlock()
	in.woken.Store(false)
	in.stream.reading.late.Store(false) // It was for this deadline; the next look sees to it again.
	_ = in.stream.quic.SetReadDeadline(time.Time{})
	return faultWoken
}

// giveUp ends the read that takes too long. It is called by the patrol.
func (in *input) giveUp() {
	in.deadline.Lock()
	defer in.deadline.Unlock()
	if !in.stream.reading.late.Swap(true) {
		_ = in.stream.quic.SetReadDeadline(longAgo)
	}
}

// need makes n bytes be there at once, and says how many there are if the stream ends before that.
func (in *input) need(n int) *fault {
	if n > len(in.buf) {
		in.grow(n)
	}
	for in.w-in.r < n && !in.whole {
		if f := in.fill(); f != nil {
			return f
		}
	}
	return nil
}

// grow makes room for n bytes at once. n is bounded by the limit for a section.
func (in *input) grow(n int) {
	old := in.buf[in.r:in.w]
	switch {
	case n <= chunkSize:
		in.useChunk()
		return
	default:
		in.long = make([]byte, n)
		in.buf = in.long
	}
	in.w = copy(in.buf, old)
	in.r = 0
}

// useChunk makes the large buffer the one that is read into. Views of the other one are no longer
// valid.
func (in *input) useChunk() {
	if in.chunk == nil {
		in.chunk = chunks.Get().(*chunk)
	}
	if &in.buf[0] == &in.chunk[0] || in.w-in.r > chunkSize {
		return
	}
	in.w = copy(in.chunk[:], in.buf[in.r:in.w])
	in.r, in.buf, in.long = 0, in.chunk[:], nil
}

// frame reads the start of the next frame; ok is false where the stream has ended before it.
func (in *input) frame() (h frameHeader, ok bool, f *fault) {
	if f := in.drop(); f != nil { // Somebody who was woken has come back.
		return h, false, f
	}
	for {
		h, size := parseFrame(in.buf[in.r:in.w])
		if size > 0 {
			in.r += size
			return h, true, nil
		}
		if in.whole {
			if in.r < in.w {
				return h, false, faultCutFrame
			}
			return h, false, nil
		}
		if f := in.fill(); f != nil {
			return h, false, f
		}
	}
}

// skip drops a frame that nobody knows, for its price.
func (in *input) skip(length uint64) *fault {
	if !in.stream.conn.spend(FloodUnknown, pieces(length)) {
		return faultGone
	}
	in.unknown = length
	return in.drop()
}

// drop reads to the end of such a frame. Who is woken meanwhile goes on with the next one.
func (in *input) drop() *fault {
	for in.unknown > 0 {
		if in.r == in.w {
			if in.whole {
				return faultCutFrame
			}
			if f := in.fill(); f != nil {
				return f
			}
			continue
		}
		n := min(uint64(in.w-in.r), in.unknown)
		in.r += int(n)
		in.unknown -= n
	}
	return nil
}

// readHead reads up to the end of the head. A head that is longer than its limit before it is decoded
// is not decoded.
func (in *input) readHead(h *section.Head) *fault {
	limits := in.stream.conn.limits
	in.begin(limits.HeadTimeout)
	defer in.end()
	for {
		frame, ok, f := in.frame()
		switch {
		case f != nil:
			return f
		case !ok:
			return faultIncomplete
		case frame.kind == frameData:
			return faultDataFirst
		case frame.kind == framePushPromise || onControlOnly(frame.kind) || fromHTTP2(frame.kind):
			return faultWrongFrame
		case frame.kind != frameHeaders:
			if f := in.skip(frame.length); f != nil {
				return f
			}
			continue
		case frame.length > uint64(limits.HeaderBytes):
			in.tooLong = true
			return nil
		}
		return in.section(h, int(frame.length), limits.HeaderFields)
	}
}

// pseudoFields is how many fields a head may have on top of its limit.
const pseudoFields = 5

// section reads and decodes a field section.
func (in *input) section(h *section.Head, length, maxFields int) *fault {
	if f := in.need(length); f != nil {
		return f
	}
	if in.w-in.r < length {
		return faultCutFrame
	}
	block := in.buf[in.r : in.r+length]
	in.r += length
	if !in.stream.decoder.decode(block, h, maxFields+pseudoFields) {
		return faultBlock
	}
	return nil
}

// awaitBody waits until a body begins, or the stream ends without one.
func (in *input) awaitBody() *fault {
	in.begin(in.stream.conn.limits.BodyTimeout)
	defer in.end()
	for in.r == in.w && !in.whole {
		if f := in.fill(); f != nil {
			return f
		}
	}
	return nil
}

// next returns the next bytes of the body; nil and no fault is its end. They are a view that is
// valid until the next call. The patience is how long the client may take for them.
func (in *input) next(patience time.Duration) ([]byte, *fault) {
	in.begin(patience)
	defer in.end()
	for in.left == 0 {
		more, f := in.nextFrame()
		if f != nil || !more {
			return nil, f
		}
	}
	if in.r == in.w {
		if in.whole {
			return nil, faultCutFrame
		}
		if in.frugal {
			in.release()
			in.buf, in.r, in.w = in.small[:], 0, 0
		} else {
			in.useChunk()
		}
		if f := in.fill(); f != nil {
			return nil, f
		}
		if in.r == in.w {
			return nil, faultCutFrame
		}
	}
	n := int(min(uint64(in.w-in.r), in.left))
	view := in.buf[in.r : in.r+n]
	in.r += n
	in.left -= uint64(n)
	if in.received += int64(n); in.announced >= 0 && in.received > in.announced {
		return nil, faultLength
	}
	return view, nil
}

// nextFrame goes to the next DATA frame; more is false where the body has ended.
func (in *input) nextFrame() (more bool, f *fault) {
	frame, ok, f := in.frame()
	switch {
	case f != nil:
		return false, f
	case !ok:
		if in.announced >= 0 && in.received != in.announced {
			return false, faultLength
		}
		return false, nil
	case in.done && (frame.kind == frameData || frame.kind == frameHeaders):
		return false, faultBehindEnd
	case frame.kind == frameData:
		if frame.length == 0 && !in.stream.conn.spend(FloodEmptyData, 1) {
			return false, faultGone
		}
		in.left = frame.length
		return true, nil
	case frame.kind == frameHeaders:
		return true, in.readTrailer(frame.length)
	case framePushPromise == frame.kind || onControlOnly(frame.kind) || fromHTTP2(frame.kind):
		return false, faultWrongFrame
	}
	return true, in.skip(frame.length)
}

// readTrailer takes the fields behind a body.
func (in *input) readTrailer(length uint64) *fault {
	s := in.stream
	limits := s.conn.limits
	if length > uint64(limits.TrailerBytes) {
		return faultTrailerSize
	}
	h := &s.head
	h.Begin(section.Trailer, &in.trailer, limits.TrailerBytes, limits.HeaderFields)
	if f := in.section(h, int(length), limits.HeaderFields); f != nil {
		return f
	}
	switch {
	case h.Wrong != "":
		return faultMalformed
	case h.TooLarge:
		return faultTrailerSize
	}
	message.KeepTrailers(&in.trailer)
	in.done = true
	return nil
}
