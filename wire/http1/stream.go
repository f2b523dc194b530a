package http1

import "sync"

// stream is the incoming side of a connection: a socket and what was read from it
// and not yet used, buf[r:w].
type stream struct {
	sock socket
	buf  []byte
	r, w int
	// total is the number of bytes that were ever read.
	total int64
	// large is set while buf is a large buffer, which replaced the small one.
	large *largeBuffer
	small []byte
}

// largeBuffer is for bodies that do not fit into the small buffers: fewer, longer reads.
type largeBuffer [64 << 10]byte

var largeBuffers = sync.Pool{New: func() any { return new(largeBuffer) }}

// grow puts a large buffer in the place of a small one.
func (s *stream) grow() {
	if s.large != nil {
		return
	}
	s.large = largeBuffers.Get().(*largeBuffer)
	s.small = s.buf
	s.w = copy(s.large[:], s.buf[s.r:s.w])
	s.r = 0
	s.buf = s.large[:]
}

// shrink goes back to the small buffer, if what is left fits into it.
func (s *stream) shrink() {
	if s.large == nil || s.w-s.r > len(s.small) {
		return
	}
	s.w = copy(s.small, s.buf[s.r:s.w])
	s.r = 0
	s.buf = s.small
	s.dropLarge()
}

func (s *stream) dropLarge() {
	if s.large != nil {
		largeBuffers.Put(s.large)
		s.large, s.small = nil, nil
	}
}

// put says that n bytes were read to the end of what is there.
func (s *stream) put(n int) {
	s.w += n
	s.total += int64(n)
}

// taken is the number of bytes that were read and used.
func (s *stream) taken() int64 { return s.total - int64(s.buffered()) }

// buffered is the number of bytes that are there.
func (s *stream) buffered() int { return s.w - s.r }

// room makes place at the end of the buffer for another read, moving what is left
// to its front. It says false when the buffer is full.
func (s *stream) room() bool {
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.w == len(s.buf) {
		if s.r == 0 {
			return false
		}
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	return true
}
