// Package websocket knows of WebSocket (RFC 6455) what a tunnel needs: where one frame ends and the
// next begins, how a connection is closed, and how a handshake is accepted. It does not look
// into messages.
package websocket

import (
	"crypto/rand"
	"crypto/sha1" // The handshake is built on it; nothing depends on its strength.
	"encoding/base64"
)

// Frames follows one direction of a connection from frame to frame (RFC 6455 §5.2). It reads the
// heads of frames only, holds nothing of what passes, and costs nothing while nothing does. The zero
// value stands before the first frame.
type Frames struct {
	left   uint64 // bytes of the payload that are still to come; while the head is read, its length so far
	have   uint8  // bytes of the head that were read; 0 is between two frames
	length uint8  // bytes of the extended length that are still to come
	mask   uint8  // bytes of the masking key that are still to come
	opcode uint8
	inside bool // the head is complete
	closed bool // a Close frame has passed
	lost   bool // this is no WebSocket
}

const opcodeClose = 8

// Step takes bytes up to the end of the present frame and returns how many those are; all of
// p where the frame does not end in it.
func (f *Frames) Step(p []byte) int {
	if f.lost {
		return len(p)
	}
	n := 0
	for n < len(p) {
		if !f.inside {
			f.head(p[n])
			n++
		} else {
			part := min(f.left, uint64(len(p)-n))
			f.left -= part
			n += int(part)
		}
		if f.lost {
			return len(p)
		}
		if f.inside && f.left == 0 {
			f.closed = f.closed || f.opcode == opcodeClose
			f.inside, f.have = false, 0
			return n
		}
	}
	return n
}

// head takes one byte of a frame's head.
func (f *Frames) head(b byte) {
	switch {
	case f.have == 0:
		f.opcode = b & 0x0f
	case f.have == 1:
		f.mask = b >> 7 * 4
		switch f.left = uint64(b & 0x7f); f.left {
		case 126:
			f.left, f.length = 0, 2
		case 127:
			f.left, f.length = 0, 8
		}
	case f.length > 0:
		f.left = f.left<<8 | uint64(b)
		f.length--
		f.lost = f.left > 1<<63-1
	default:
		f.mask--
	}
	f.have++
	f.inside = f.have >= 2 && f.length == 0 && f.mask == 0
}

// Pass takes all of p.
func (f *Frames) Pass(p []byte) {
	for len(p) > 0 {
		p = p[f.Step(p):]
	}
}

// Between says whether a frame may be put in here: no other one is under way, and what
// has passed is a WebSocket's. It may stand between the parts of a message (RFC 6455 §5.4).
func (f *Frames) Between() bool { return !f.lost && f.have == 0 }

// Closed says whether a Close frame has passed: nothing may follow it (RFC 6455 §5.5.1).
func (f *Frames) Closed() bool { return f.closed }

// GoingAway is the status of a Close frame of somebody who goes down (RFC 6455 §7.4.1).
const GoingAway = 1001

// AppendClose appends a Close frame. Those of clients are masked, with a key that nobody can
// foresee (RFC 6455 §5.3).
func AppendClose(out []byte, status uint16, masked bool) []byte {
	payload := [2]byte{byte(status >> 8), byte(status)}
	if !masked {
		return append(out, 0x80|opcodeClose, 2, payload[0], payload[1])
	}
	var key [4]byte
	_, _ = rand.Read(key[:]) // It never fails.
	return append(out, 0x80|opcodeClose, 0x80|2, key[0], key[1], key[2], key[3], payload[0]^key[0], payload[1]^key[1])
}

// Accept is what a server answers to the key of a handshake (RFC 6455 §4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// NewKey is the key of a handshake: 16 random bytes in base64 (RFC 6455 §4.1).
func NewKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // It never fails.
	return base64.StdEncoding.EncodeToString(nonce[:])
}
