package http3

import (
	"errors"

	"github.com/quic-go/quic-go"
)

// ErrCode says why a stream or a connection ended (RFC 9114 §8.1, RFC 9204 §6).
type ErrCode uint64

const (
	NoError              ErrCode = 0x100
	GeneralProtocolError ErrCode = 0x101
	InternalError        ErrCode = 0x102
	StreamCreationError  ErrCode = 0x103
	ClosedCriticalStream ErrCode = 0x104
	FrameUnexpected      ErrCode = 0x105
	FrameError           ErrCode = 0x106
	ExcessiveLoad        ErrCode = 0x107
	IDError              ErrCode = 0x108
	SettingsError        ErrCode = 0x109
	MissingSettings      ErrCode = 0x10a
	RequestRejected      ErrCode = 0x10b
	RequestCancelled     ErrCode = 0x10c
	RequestIncomplete    ErrCode = 0x10d
	MessageError         ErrCode = 0x10e
	ConnectError         ErrCode = 0x10f
	DecompressionFailed  ErrCode = 0x200
	EncoderStreamError   ErrCode = 0x201
	DecoderStreamError   ErrCode = 0x202
)

// fault is what a client did wrong. Faults are constant values: making one costs no memory.
type fault struct {
	code   ErrCode
	stream bool // it spoils its stream only
	why    string
}

func (f *fault) Error() string { return "http3: " + f.why }

// The faults of request streams.
var (
	faultIncomplete  = &fault{RequestIncomplete, true, "the stream ended before the head of a request"}
	faultCutFrame    = &fault{FrameError, false, "the stream ended within a frame"}
	faultDataFirst   = &fault{FrameUnexpected, false, "DATA before the head"}
	faultWrongFrame  = &fault{FrameUnexpected, false, "a frame that has no place on a request stream"}
	faultBehindEnd   = &fault{FrameUnexpected, false, "a frame behind the trailer section"}
	faultBlock       = &fault{DecompressionFailed, false, "a field section cannot be decoded"}
	faultMalformed   = &fault{MessageError, true, "the request is malformed"}
	faultLength      = &fault{MessageError, true, "data do not agree with content-length"}
	faultTrailerSize = &fault{ExcessiveLoad, true, "the trailer section is too large"}
	faultGone        = &fault{RequestCancelled, true, "the client has gone"}
	faultWoken       = &fault{NoError, true, "somebody wanted to have a word"}
	faultLate        = &fault{RequestCancelled, true, "the client took too long"}
)

// isReset says whether the client itself has ended a stream.
func isReset(err error) bool {
	var s *quic.StreamError
	return errors.As(err, &s) && s.Remote
}
