package grpcweb

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
)

const (
	frameHead   = 5    // a flag and the length, four bytes, the highest one first
	flagTrailer = 0x80 // of the frame that has the trailer
	flagPressed = 0x01 // of a message that is compressed
)

// Why the frames of a request are refused.
var (
	ErrTooLarge = errors.New("a message is longer than its limit")
	ErrFlag     = errors.New("a frame of the request is neither a message nor a compressed one")
)

// Frames follows the frames of a request, however they are cut into chunks.
type Frames struct {
	Limit int64 // of one message

	head [frameHead]byte
	have int   // bytes of the head
	left int64 // bytes of the message that are still to come
}

// Check looks at the next bytes.
func (f *Frames) Check(p []byte) error {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, int64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < frameHead {
			return nil
		}
		f.have = 0
		f.left = int64(binary.BigEndian.Uint32(f.head[1:]))
		if f.head[0] > flagPressed {
			return ErrFlag
		}
		if f.left > f.Limit {
			return ErrTooLarge
		}
	}
	return nil
}

// AppendField appends one field of a trailer: its name in lower case, as HTTP/1 writes it.
func AppendField(dst []byte, name, value string) []byte {
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// BeginTrailer appends the head of the frame that ends an answer. The fields go behind it;
// EndTrailer then says how long they are. at is where the frame begins.
func BeginTrailer(dst []byte) (out []byte, at int) {
	return append(dst, flagTrailer, 0, 0, 0, 0), len(dst)
}

// EndTrailer completes what BeginTrailer began.
func EndTrailer(out []byte, at int) []byte {
	binary.BigEndian.PutUint32(out[at+1:], uint32(len(out)-at-frameHead))
	return out
}

// AppendText appends a piece of a body in base64, with padding: the pieces of a body may
// be put together as they are.
func AppendText(dst, piece []byte) []byte { return base64.StdEncoding.AppendEncode(dst, piece) }
