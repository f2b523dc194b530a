package grpcweb

import (
	"errors"
	"io"
	"sync"

	codec "github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
)

// bufferSize bounds how much is decoded or encoded at once. It is a multiple of four.
const bufferSize = 16 << 10

// buffer is room for base64, borrowed from a pool.
type buffer [bufferSize]byte

// request is the body of a gRPC-Web request on its way to a gRPC server: decoded if it is
// text, and followed frame by frame.
type request struct {
	inner    message.Body
	length   int64 // -1 is unknown
	text     bool
	frames   codec.Frames
	decoder  codec.Decoder
	rest     []byte // what is left of the inner body's last chunk, in base64
	room     *buffer
	home     *sync.Pool
	tooLarge *message.Problem
	err      error
}

// Next returns the next bytes of gRPC: a view of the inner body's chunk, or of our room, until
// the following call.
func (r *request) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	chunk, err := r.next()
	if err == nil {
		err = r.check(chunk)
	}
	if err != nil {
		r.end(err)
		return nil, err
	}
	return chunk, nil
}

// next returns what has come, decoded; at the end it looks whether its base64 is whole.
func (r *request) next() ([]byte, error) {
	for {
		if len(r.rest) > 0 {
			chunk, err := r.decode()
			if err != nil || len(chunk) > 0 {
				return chunk, err
			}
		}
		chunk, err := r.inner.Next()
		switch {
		case err == io.EOF && !r.decoder.Whole():
			return nil, cutText
		case err != nil || !r.text:
			return chunk, err
		}
		r.rest = chunk
	}
}

func (r *request) decode() ([]byte, error) {
	if r.room == nil {
		r.room = r.home.Get().(*buffer)
	}
	made, taken, err := r.decoder.Decode(r.room[:], r.rest)
	r.rest = r.rest[taken:]
	if err != nil {
		return nil, notText
	}
	return r.room[:made], nil
}

// check follows the frames. A body that ends in the middle of one is the origin's to judge:
// it sees the same end.
func (r *request) check(chunk []byte) error {
	if err := r.frames.Check(chunk); err != nil {
		if errors.Is(err, codec.ErrTooLarge) {
			return r.tooLarge
		}
		return wrongFlag
	}
	return nil
}

// Length is that of the binary body, and not known of text.
func (r *request) Length() int64 { return r.length }

// Trailer is the inner body's.
func (r *request) Trailer() *message.Header { return r.inner.Trailer() }

// Close closes the inner body too.
func (r *request) Close() error { return r.inner.Close() }

// Ready says whether Next would return at once. Of text that is a guess: a chunk may not
// have a whole group of four.
func (r *request) Ready() bool {
	if r.err != nil || len(r.rest) >= 4 {
		return true
	}
	inner, ok := r.inner.(message.Ready)
	return ok && inner.Ready()
}

// end gives the room back; err is what Next returns from now on. The room of a body that
// nobody reads to its end is left to the garbage collector: request bodies are not closed.
func (r *request) end(err error) {
	r.err, r.rest = err, nil
	if r.room != nil {
		r.home.Put(r.room)
		r.room = nil
	}
}
