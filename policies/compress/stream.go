package compress

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
)

// piece is how many bytes an encoder is given at once: it bounds what it writes
// for them, also where a chunk is a whole answer that stands in memory.
const piece = 32 << 10

var errClosed = errors.New("compress: the body was closed")

// stream is an answer's body on its way through an encoder. It lives in the
// exchange's room (policy.Local); the encoder comes from a pool and goes back to
// it once, at the end of the body or when the body is closed.
type stream struct {
	choice coding // what onRequest agreed on with the client

	inner message.Body
	coder *coder // nil before the body begins and after it has ended
	home  *sync.Pool
	rest  []byte // what is left of the inner body's last chunk
	flush bool   // each chunk is to leave at once
	done  bool   // the encoder has written its end
	err   error  // what Next returns from now on

	read, written *meter.Counter
	shard         uint32
}

// enough is how many bytes leave without waiting for more to go with them.
const enough = 8 << 10

// Next returns what the encoder has made of one or more chunks. It is a view of
// the coder's room, valid until the following call of Next or Close.
func (s *stream) Next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.coder.out = s.coder.out[:0]
	for !s.done && len(s.coder.out) < enough {
		flushed, err := s.step()
		if err != nil {
			return nil, s.end(err)
		}
		if flushed && len(s.coder.out) > 0 {
			break
		}
	}
	if len(s.coder.out) == 0 {
		return nil, s.end(io.EOF)
	}
	s.written.Add(s.shard, int64(len(s.coder.out)))
	return s.coder.out, nil
}

// step gives the encoder one piece, or its end.
func (s *stream) step() (flushed bool, err error) {
	if len(s.rest) == 0 {
		chunk, err := s.inner.Next()
		if err == io.EOF {
			s.done = true
			return false, encoding(s.coder.encoder.Close())
		}
		if err != nil {
			return false, err
		}
		s.rest = chunk
		s.read.Add(s.shard, int64(len(chunk)))
	}
	n := min(len(s.rest), piece)
	if _, err := s.coder.encoder.Write(s.rest[:n]); err != nil {
		return false, encoding(err)
	}
	s.rest = s.rest[n:]
	// More that is there already may share a block; before we wait for more, what
	// we have must leave.
	if s.flush && len(s.rest) == 0 && !ready(s.inner) {
		return true, encoding(s.coder.encoder.Flush())
	}
	return false, nil
}

func encoding(err error) error {
	if err != nil {
		return fmt.Errorf("compress: encoding: %w", err)
	}
	return nil
}

func ready(body message.Body) bool {
	r, ok := body.(message.Ready)
	return ok && r.Ready()
}

// end gives the encoder back; err is what Next returns from now on.
func (s *stream) end(err error) error {
	s.err, s.rest = err, nil
	if s.coder != nil {
		s.home.Put(s.coder)
		s.coder = nil
	}
	return err
}

// Length is not known before the end.
func (s *stream) Length() int64 { return -1 }

// Trailer is the inner body's.
func (s *stream) Trailer() *message.Header { return s.inner.Trailer() }

// Close closes the inner body too.
func (s *stream) Close() error {
	if s.err == nil {
		s.end(errClosed)
	}
	return s.inner.Close()
}

// Ready says whether Next would return at once. For a body of known length it may
// be wrong, because the encoder keeps what fills no block: a wire then waits with
// the head for a body that is on its way, which costs nobody anything.
func (s *stream) Ready() bool {
	return s.err != nil || s.done || len(s.rest) > 0 || ready(s.inner)
}
