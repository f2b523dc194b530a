package requestlimits

import "github.com/sluice-gateway/sluice/message"

// countedBody lets a body of unknown length through up to a limit. What is past it
// is an error: whoever sends the body on must not end it as if it were whole.
type countedBody struct {
	inner    message.Body
	left     int64
	tooLarge *message.Problem
	err      error
}

// Next returns the inner body's chunk as it is, or tooLarge once the limit is
// passed. Nothing of the chunk that passes it is handed out, and errors stay.
func (b *countedBody) Next() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	chunk, err := b.inner.Next()
	if err != nil {
		b.err = err
		return nil, err
	}
	b.left -= int64(len(chunk))
	if b.left < 0 {
		b.err = b.tooLarge
		return nil, b.err
	}
	return chunk, nil
}

func (b *countedBody) Length() int64            { return b.inner.Length() }
func (b *countedBody) Trailer() *message.Header { return b.inner.Trailer() }
func (b *countedBody) Close() error             { return b.inner.Close() }

// Ready says whether Next would return at once.
func (b *countedBody) Ready() bool {
	if b.err != nil {
		return true
	}
	inner, ok := b.inner.(message.Ready)
	return ok && inner.Ready()
}
