package http2

import (
	"sync"

	"github.com/sluice-gateway/sluice/message"
)

// inflow is the receiving half of a stream: bytes that have arrived and were not
// taken yet. All of it is guarded by the lock of the link, but for the bytes that
// take has returned.
//
// What was taken is given back to the sender as window when the next chunk is asked
// for: who does not read holds up the sender, and nobody else.
type inflow struct {
	first, last *chunk
	window      int64 // what the peer may still send
	credit      int64 // taken, and not given back to the window yet
	viewed      int   // length of the chunk that was taken last
	announced   int64 // Content-Length; -1 without one
	received    int64
	ended       bool // END_STREAM has come
	unwanted    bool // nobody will read: what arrives is dropped
	trailer     message.Header
}

// chunk is a piece of a body. What arrives in many small frames shares one.
type chunk struct {
	next *chunk
	r, w int
	buf  [16 << 10]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (f *inflow) reset(window int64) {
	f.drop()
	f.window, f.credit, f.viewed, f.announced, f.received = window, 0, 0, -1, 0
	f.ended, f.unwanted = false, false
	f.trailer.Reset()
}

// put copies what has arrived.
func (f *inflow) put(data []byte) {
	for len(data) > 0 {
		if f.last == nil || f.last.w == len(f.last.buf) {
			c := chunks.Get().(*chunk)
			c.next, c.r, c.w = nil, 0, 0
			if f.last == nil {
				f.first = c
			} else {
				f.last.next = c
			}
			f.last = c
		}
		n := copy(f.last.buf[f.last.w:], data)
		f.last.w += n
		data = data[n:]
	}
}

// waiting says whether there are bytes that were not taken.
func (f *inflow) waiting() bool {
	c := f.first
	if c == nil {
		return false
	}
	return c.r < c.w || c.next != nil && c.next.r < c.next.w
}

// take returns the next bytes, or nil if there are none, and forgets those before them.
func (f *inflow) take() []byte {
	f.viewed = 0
	for c := f.first; c != nil; c = f.first {
		if c.r < c.w {
			view := c.buf[c.r:c.w]
			c.r = c.w
			f.viewed = len(view)
			return view
		}
		if c.next == nil {
			if c.w == len(c.buf) || f.ended {
				f.first, f.last = nil, nil
				chunks.Put(c)
			}
			return nil
		}
		f.first = c.next
		chunks.Put(c)
	}
	return nil
}

// abandon gives up what is there where the last view may still be in use: nobody else gets its memory.
func (f *inflow) abandon() (n int64) {
	c := f.first
	if f.viewed == 0 || c == nil {
		return f.drop()
	}
	n = int64(c.w - c.r)
	if f.first = c.next; f.first == nil {
		f.last = nil
	}
	return n + f.drop()
}

// drop gives up what is there and says how many bytes that were; the last view must not
// be in use any more.
func (f *inflow) drop() (n int64) {
	n = int64(f.viewed)
	f.credit, f.viewed = 0, 0
	for c := f.first; c != nil; {
		next := c.next
		n += int64(c.w - c.r)
		chunks.Put(c)
		c = next
	}
	f.first, f.last = nil, nil
	return n
}
