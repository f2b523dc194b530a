package grpcweb

import (
	"encoding/base64"
	"errors"
	"io"
	"sync"

	codec "github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
)

// answer is the body of a gRPC answer on its way to a client of gRPC-Web: in base64 if that
// wants text, and with the trailer as its last frame.
type answer struct {
	inner message.Body   // nil where the head was the trailer
	head  message.Header // the trailer, where it stood in the head
	text  bool
	rest  []byte // what is left of the inner body's last chunk, not yet in base64
	room  *buffer
	home  *sync.Pool
	err   error
}

// piece is how many bytes become a buffer of base64; no padding is needed between such pieces.
const piece = bufferSize / 4 * 3

// Next returns the inner body's chunk or a piece of it in base64, and at the end the frame
// with the trailer. That frame is the one thing that is allocated, because its size is the
// origin's choice.
func (a *answer) Next() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if len(a.rest) > 0 {
		return a.encode(), nil
	}
	chunk, err := a.pull()
	switch {
	case err == io.EOF:
		frame := a.trailer()
		a.end(io.EOF)
		return frame, nil
	case err != nil:
		a.end(err)
		return nil, err
	case !a.text:
		return chunk, nil
	}
	a.rest = chunk
	return a.encode(), nil
}

func (a *answer) pull() ([]byte, error) {
	if a.inner == nil {
		return nil, io.EOF
	}
	return a.inner.Next()
}

// encode takes a piece of the rest. The last one of a chunk is padded, so that it leaves
// without waiting for the next: clients know that padding stands anywhere.
func (a *answer) encode() []byte {
	if a.room == nil {
		a.room = a.home.Get().(*buffer)
	}
	n := min(len(a.rest), piece)
	base64.StdEncoding.Encode(a.room[:], a.rest[:n])
	a.rest = a.rest[n:]
	return a.room[:base64.StdEncoding.EncodedLen(n)]
}

// trailer is the last frame. An answer without a status was cut short by its origin.
func (a *answer) trailer() []byte {
	fields := &a.head
	if a.inner != nil {
		if t := a.inner.Trailer(); t != nil {
			fields = t
		}
	}
	size := 0
	for _, f := range fields.Fields() {
		size += len(f.Name) + len(f.Value) + len(": \r\n")
	}
	frame, at := codec.BeginTrailer(make([]byte, 0, 5+size+len(noStatus)))
	for _, f := range fields.Fields() {
		frame = codec.AppendField(frame, f.Name, f.Value)
	}
	if !fields.Has("grpc-status") {
		frame = append(frame, noStatus...)
	}
	frame = codec.EndTrailer(frame, at)
	if a.text {
		frame = codec.AppendText(nil, frame)
	}
	return frame
}

// noStatus is what a client is told where the origin says nothing: INTERNAL, as clients of
// gRPC conclude themselves.
const noStatus = "grpc-status: 13\r\ngrpc-message: The origin ended the call without a status\r\n"

var errClosed = errors.New("grpcweb: the body was closed")

// Length is not known: the trailer comes with the end.
func (a *answer) Length() int64 { return -1 }

// Trailer is empty: it stands in the body.
func (a *answer) Trailer() *message.Header { return nil }

// Close closes the inner body too.
func (a *answer) Close() error {
	if a.err == nil {
		a.end(errClosed)
	}
	if a.inner == nil {
		return nil
	}
	return a.inner.Close()
}

// Ready says whether Next would return at once.
func (a *answer) Ready() bool {
	if a.err != nil || a.inner == nil || len(a.rest) > 0 {
		return true
	}
	inner, ok := a.inner.(message.Ready)
	return ok && inner.Ready()
}

// end gives the room back; err is what Next returns from now on.
func (a *answer) end(err error) {
	a.err, a.rest = err, nil
	if a.room != nil {
		a.home.Put(a.room)
		a.room = nil
	}
}
