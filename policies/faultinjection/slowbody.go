package faultinjection

import (
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// slowBody lets the bytes of another body through at a rate. It lives in the exchange's room.
//
// It sleeps where others wait for the client's going away: never for longer than a piece takes,
// and the write of the next one then finds out.
type slowBody struct {
	inner message.Body
	rest  []byte // what is left of the inner body's last chunk
	rate  int64  // bytes in a second; 0 where the answer is not slowed down
	due   time.Time
}

// piecesPerSecond is how often some bytes leave, if the rate has so many.
const piecesPerSecond = 10

// Next returns the next piece when it is due; the first one is at once.
func (b *slowBody) Next() ([]byte, error) {
	if len(b.rest) == 0 {
		chunk, err := b.inner.Next()
		if err != nil {
			return nil, err
		}
		b.rest = chunk
	}
	now := time.Now()
	if early := b.due.Sub(now); early > 0 {
		time.Sleep(early)
		now = b.due
	}
	n := min(int64(len(b.rest)), max(b.rate/piecesPerSecond, 1))
	piece := b.rest[:n:n]
	b.rest = b.rest[n:]
	b.due = now.Add(time.Duration(n * int64(time.Second) / b.rate))
	return piece, nil
}

// Length implements message.Body: no byte is lost.
func (b *slowBody) Length() int64 { return b.inner.Length() }

// Trailer implements message.Body.
func (b *slowBody) Trailer() *message.Header { return b.inner.Trailer() }

// Close implements message.Body.
func (b *slowBody) Close() error {
	b.rest = nil
	return b.inner.Close()
}
