package engine

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// pieces is a body that comes in pieces and ends with an error.
type pieces struct {
	left    []string
	err     error
	length  int64
	trailer *message.Header
}

func (b *pieces) Next() ([]byte, error) {
	if len(b.left) == 0 {
		return nil, b.err
	}
	piece := b.left[0]
	b.left = b.left[1:]
	return []byte(piece), nil
}
func (b *pieces) Length() int64            { return b.length }
func (b *pieces) Trailer() *message.Header { return b.trailer }
func (b *pieces) Close() error             { return nil }

// TestGRPCBodyEndsInTime cuts answers at every kind of place.
func TestGRPCBodyEndsInTime(t *testing.T) {
	t.Parallel()
	const one = "\x00\x00\x00\x00\x03abc"
	long := "\x00\x00\x00\x01\x00" + strings.Repeat("x", 256)
	cut := message.UpstreamBodyBroken.WithDetail("reset")
	for name, c := range map[string]struct {
		pieces []string
		err    error
		length int64
		left   time.Duration
		ends   error
		late   bool
	}{
		"nothing came":           {nil, message.DeadlineExceeded, -1, 0, io.EOF, true},
		"behind a message":       {[]string{one}, message.DeadlineExceeded, -1, 0, io.EOF, true},
		"behind one in pieces":   {[]string{one[:2], one[2:5], one[5:7], one[7:] + long}, message.DeadlineExceeded, -1, 0, io.EOF, true},
		"the origin was quicker": {[]string{one}, cut, -1, 0, io.EOF, true},
		"an empty message":       {[]string{"\x00\x00\x00\x00\x00"}, message.DeadlineExceeded, -1, 0, io.EOF, true},
		"within a prefix":        {[]string{one, "\x00\x00"}, message.DeadlineExceeded, -1, 0, message.DeadlineExceeded, false},
		"within a message":       {[]string{long[:20]}, cut, -1, 0, message.DeadlineExceeded, false},
		"with a length":          {[]string{one}, message.DeadlineExceeded, 100, 0, message.DeadlineExceeded, false},
		"there is time left":     {[]string{one}, cut, -1, time.Hour, cut, false},
		"the client has left":    {[]string{one}, message.ClientGone, -1, 0, message.ClientGone, false},
		"it ends well":           {[]string{one}, io.EOF, -1, 0, io.EOF, false},
	} {
		x := new(message.Exchange)
		x.Deadline = time.Now().Add(c.left)
		inner := &pieces{left: c.pieces, err: c.err, length: c.length, trailer: new(message.Header)}
		b := &grpcBody{inner: inner, x: x}
		err := error(nil)
		got := ""
		for err == nil {
			var chunk []byte
			chunk, err = b.Next()
			got += string(chunk)
		}
		if !errors.Is(err, c.ends) || got != strings.Join(c.pieces, "") || b.Length() != c.length {
			t.Errorf("%s: ends with %v after %q", name, err, got)
		}
		if c.late != (b.Trailer().Get("grpc-status") == "4") || c.late != (x.Problem() == message.DeadlineExceeded) {
			t.Errorf("%s: trailer %v, problem %v", name, b.Trailer().Fields(), x.Problem())
		}
		if _, again := b.Next(); !errors.Is(again, c.ends) {
			t.Errorf("%s: behind the end %v", name, again)
		}
	}
}
