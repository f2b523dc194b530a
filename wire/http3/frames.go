package http3

// The types of frames (RFC 9114 §7.2, §11.2.1; RFC 9218 §7.2).
const (
	frameData        = 0x00
	frameHeaders     = 0x01
	frameCancelPush  = 0x03
	frameSettings    = 0x04
	framePushPromise = 0x05
	frameGoAway      = 0x07
	frameMaxPushID   = 0x0d
	framePriority    = 0xf0700 // PRIORITY_UPDATE of a request; the next number is that of a push
)

// fromHTTP2 says whether a type of frames is one of HTTP/2 that HTTP/3 has not: it may not be used
// (RFC 9114 §7.2.8).
func fromHTTP2(kind uint64) bool {
	return kind == 0x02 || kind == 0x06 || kind == 0x08 || kind == 0x09
}

// onControlOnly says whether frames of this type belong on the control stream.
func onControlOnly(kind uint64) bool {
	switch kind {
	case frameCancelPush, frameSettings, frameGoAway, frameMaxPushID, framePriority, framePriority + 1:
		return true
	}
	return false
}

// The kinds of unidirectional streams (RFC 9114 §6.2, RFC 9204 §4.2).
const (
	streamControl = 0x00
	streamPush    = 0x01
	streamEncoder = 0x02
	streamDecoder = 0x03
)

// The settings (RFC 9114 §7.2.4.1, RFC 9204 §5, RFC 9220 §3).
const (
	settingTableCapacity  = 0x01
	settingFieldSection   = 0x06
	settingBlockedStreams = 0x07
	settingConnect        = 0x08
)

// maxStreamID is the largest number that the stream of a request can have.
const maxStreamID = 1<<62 - 4

// appendVarint appends an integer of up to 62 bits (RFC 9000 §16).
func appendVarint(out []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(out, byte(n))
	case n < 1<<14:
		return append(out, 0x40|byte(n>>8), byte(n))
	case n < 1<<30:
		return append(out, 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, 0xc0|byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// parseVarint reads an integer; size is 0 where it is not there as a whole.
func parseVarint(b []byte) (n uint64, size int) {
	if len(b) == 0 {
		return 0, 0
	}
	size = 1 << (b[0] >> 6)
	if len(b) < size {
		return 0, 0
	}
	n = uint64(b[0] & 0x3f)
	for _, c := range b[1:size] {
		n = n<<8 | uint64(c)
	}
	return n, size
}

// frameHeader is the start of a frame.
type frameHeader struct{ kind, length uint64 }

// parseFrame reads the start of a frame; size is 0 where it is not there as a whole.
func parseFrame(b []byte) (h frameHeader, size int) {
	kind, n := parseVarint(b)
	if n == 0 {
		return h, 0
	}
	length, m := parseVarint(b[n:])
	if m == 0 {
		return h, 0
	}
	return frameHeader{kind, length}, n + m
}

// beginHeaders appends the start of a HEADERS frame whose length is not known yet, and says where
// it is.
func beginHeaders(out []byte) (frame []byte, at int) {
	at = len(out)
	return appendSection(append(out, frameHeaders, 0x40, 0)), at
}

// endHeaders fills the length in.
func endHeaders(out []byte, at int) []byte {
	n := len(out) - at - 3
	if n < 1<<14 {
		out[at+1], out[at+2] = 0x40|byte(n>>8), byte(n)
		return out
	}
	out = append(out, 0, 0)
	copy(out[at+5:], out[at+3:])
	out[at+1], out[at+2], out[at+3], out[at+4] = 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return out
}
