package http2

import "encoding/binary"

// The kinds of frames (RFC 9113 §6; PRIORITY_UPDATE is RFC 9218 §7.1).
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	framePriority       = 0x2
	frameReset          = 0x3
	frameSettings       = 0x4
	framePushPromise    = 0x5
	framePing           = 0x6
	frameGoAway         = 0x7
	frameWindowUpdate   = 0x8
	frameContinuation   = 0x9
	framePriorityUpdate = 0x10
)

// The flags of frames; what a flag means depends on the kind.
const (
	flagEndStream  = 0x1 // DATA, HEADERS
	flagAck        = 0x1 // SETTINGS, PING
	flagEndHeaders = 0x4 // HEADERS, CONTINUATION
	flagPadded     = 0x8 // DATA, HEADERS
	flagPriority   = 0x20
)

const (
	frameHeaderLen = 9
	// frameSize is how long the payloads are that we send, whatever more the peer would
	// take: longer ones would only hold up other streams. It is also the least
	// that everybody takes (RFC 9113 §6.5.2).
	frameSize   = 16 << 10
	maxWindow   = 1<<31 - 1
	maxStreamID = 1<<31 - 1
	// firstWindow is every window before anybody has said anything (RFC 9113 §6.9.2).
	firstWindow = 65535
)

// preface is what a client sends first (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ErrCode is why a stream or a connection ended (RFC 9113 §7).
type ErrCode uint32

const (
	NoError            ErrCode = 0x0
	ProtocolError      ErrCode = 0x1
	InternalError      ErrCode = 0x2
	FlowControlError   ErrCode = 0x3
	SettingsTimeout    ErrCode = 0x4
	StreamClosed       ErrCode = 0x5
	FrameSizeError     ErrCode = 0x6
	RefusedStream      ErrCode = 0x7
	Cancel             ErrCode = 0x8
	CompressionError   ErrCode = 0x9
	ConnectError       ErrCode = 0xa
	EnhanceYourCalm    ErrCode = 0xb
	InadequateSecurity ErrCode = 0xc
	HTTP11Required     ErrCode = 0xd
)

// errCodeNames is by code.
var errCodeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func (c ErrCode) String() string {
	if int(c) < len(errCodeNames) {
		return errCodeNames[c]
	}
	return "an unknown error code"
}

// fault is something that a peer may not do. With a stream it ends the stream, without
// one the connection (RFC 9113 §5.4).
type fault struct {
	code   ErrCode
	stream uint32
	why    string
}

// broken is a fault that ends the connection.
func broken(code ErrCode, why string) *fault { return &fault{code: code, why: why} }

// spoiled is a fault that ends one stream.
func spoiled(id uint32, code ErrCode, why string) *fault {
	return &fault{code: code, stream: id, why: why}
}

// frameHeader is the nine bytes before every payload (RFC 9113 §4.1).
type frameHeader struct {
	length int
	kind   uint8
	flags  uint8
	id     uint32
}

// parseFrameHeader reads the first nine bytes of b. The reserved bit is ignored.
func parseFrameHeader(b []byte) frameHeader {
	_ = b[8]
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3],
		flags:  b[4],
		id:     binary.BigEndian.Uint32(b[5:9]) & maxStreamID,
	}
}

func appendFrameHeader(out []byte, length int, kind, flags uint8, id uint32) []byte {
	return append(out, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// setFrameLength corrects the length of the frame that begins at at, whose payload
// is all that is behind it.
func setFrameLength(out []byte, at int) {
	length := len(out) - at - frameHeaderLen
	out[at], out[at+1], out[at+2] = byte(length>>16), byte(length>>8), byte(length)
}

func appendReset(out []byte, id uint32, code ErrCode) []byte {
	out = appendFrameHeader(out, 4, frameReset, 0, id)
	return binary.BigEndian.AppendUint32(out, uint32(code))
}

func appendWindowUpdate(out []byte, id uint32, n int64) []byte {
	out = appendFrameHeader(out, 4, frameWindowUpdate, 0, id)
	return binary.BigEndian.AppendUint32(out, uint32(n))
}

func appendPing(out []byte, flags uint8, data []byte) []byte {
	out = appendFrameHeader(out, 8, framePing, flags, 0)
	return append(out, data[:8]...)
}

func appendGoAway(out []byte, last uint32, code ErrCode, why string) []byte {
	out = appendFrameHeader(out, 8+len(why), frameGoAway, 0, 0)
	out = binary.BigEndian.AppendUint32(out, last)
	out = binary.BigEndian.AppendUint32(out, uint32(code))
	return append(out, why...)
}

// unpad cuts the padding off a payload (RFC 9113 §6.1).
func unpad(h frameHeader, payload []byte) ([]byte, *fault) {
	if h.flags&flagPadded == 0 {
		return payload, nil
	}
	if len(payload) == 0 {
		return nil, broken(FrameSizeError, "a padded frame has no room for the length of its padding")
	}
	pad := int(payload[0])
	if pad >= len(payload) {
		return nil, broken(ProtocolError, "the padding is as long as the frame")
	}
	return payload[1 : len(payload)-pad], nil
}

// checkFrame refuses what is wrong with a frame by itself: its length, and whether
// it may stand on a stream or only on the connection (RFC 9113 §6).
func checkFrame(h frameHeader) *fault {
	fixed, onStream := -1, false
	switch h.kind {
	case frameData, frameHeaders, frameContinuation, framePushPromise:
		onStream = true
	case framePriority:
		fixed, onStream = 5, true
		if h.id != 0 && h.length != fixed { // The only one that spoils no more than its stream (§6.3).
			return spoiled(h.id, FrameSizeError, "a PRIORITY frame is not 5 bytes long")
		}
	case frameReset:
		fixed, onStream = 4, true
	case frameSettings:
		if h.flags&flagAck != 0 && h.length != 0 {
			return broken(FrameSizeError, "an acknowledgement of SETTINGS is not empty")
		}
		if h.length%settingLen != 0 {
			return broken(FrameSizeError, "a SETTINGS frame is no multiple of 6 bytes long")
		}
	case framePing:
		fixed = 8
	case frameGoAway:
		if h.length < 8 {
			return broken(FrameSizeError, "a GOAWAY frame is shorter than 8 bytes")
		}
	case framePriorityUpdate:
		if h.length < 4 {
			return broken(FrameSizeError, "a PRIORITY_UPDATE frame is shorter than 4 bytes")
		}
	case frameWindowUpdate: // On both.
		if h.length != 4 {
			return broken(FrameSizeError, "a WINDOW_UPDATE frame is not 4 bytes long")
		}
		return nil
	default: // Unknown kinds are ignored (§4.1).
		return nil
	}
	switch {
	case onStream && h.id == 0:
		return broken(ProtocolError, "a frame that belongs to a stream has stream 0")
	case !onStream && h.id != 0:
		return broken(ProtocolError, "a frame that belongs to the connection has a stream")
	case fixed >= 0 && h.length != fixed:
		return broken(FrameSizeError, "a frame does not have the one length that it may have")
	}
	return nil
}
