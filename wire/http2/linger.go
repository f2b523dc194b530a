package http2

// end lets go of a stream that we have answered whole. Where the request has not ended, its client
// may stop (RFC 9113 §8.1), but what it has under way is heard first, for a short while: a small body
// ends by itself, and what breaks a rule is told so however soon the answer was. Where many streams
// are open, and for bodies that do not fit into the window, the client is asked to stop at once. The
// lock is held. streams is how many the client may open.
func (s *stream) end(streams int) {
	in := &s.in
	switch {
	case in.ended:
		s.detach()
	case s.tunnelled(), s.link.open > streams/2, in.announced-in.received > in.window:
		s.stop(NoError)
	default:
		s.linger()
	}
}

// linger leaves the stream to the reader, and whoever has worked for it goes.
func (s *stream) linger() {
	l := s.link
	rest := &stream{}
	rest.init(l, s.id)
	rest.headSeen, rest.sendEnd, rest.counted, rest.sendUsed = true, true, s.counted, s.sendUsed
	rest.in.unwanted, rest.in.window = true, s.in.window
	rest.in.announced, rest.in.received = s.in.announced, s.in.received
	rest.lingerBy = clock() + int64(lingerTime)
	s.counted = false
	s.release()
	l.streams[s.id] = rest
	l.near()
}

// leave is called when nothing more can come of a stream: one that lingers is nobody's to detach.
func (s *stream) leave() {
	if s.lingerBy != 0 {
		s.lingerBy = 0
		s.detach()
	}
}

// stop resets the stream.
func (s *stream) stop(code ErrCode) {
	l := s.link
	l.writer.out = appendReset(l.writer.open(), s.id, code)
	s.resetByUs = true
	l.floods.expectLate()
	l.kick()
	s.detach()
}
