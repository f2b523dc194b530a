package message

import (
	"errors"
	"io"
	"time"

	"github.com/sluice-gateway/sluice/internal/tunnel"
)

// Body is pulled: whoever wants the bytes asks for the next chunk. One goroutine
// at a time may use a body.
type Body interface {
	// Next returns the next chunk, never an empty one, or an error; io.EOF is the
	// clean end. The chunk is a view, valid until the following call of Next or
	// Close. Next blocks until the sender has sent something: that is the
	// back-pressure.
	Next() ([]byte, error)
	// Length is the number of bytes that Next will return from the start to the
	// end, or -1 where that is not known.
	Length() int64
	// Trailer is valid after Next returned io.EOF; nil where there is none.
	Trailer() *Header
	// Close says that nobody will read on. A body that was not read to its end
	// costs its connection. It may be called more than once.
	Close() error
}

// Ready is implemented by bodies that know whether Next would return at once.
// A wire uses it to put a head and a body that is there into one write.
type Ready interface{ Ready() bool }

// Complete is implemented by bodies that may have arrived as a whole although nobody has announced their
// length.
type Complete interface {
	// Complete is the length of a body of which nothing was taken and all is there, so that to read it
	// waits for nobody; -1 if that is not so, or if it has a trailer.
	Complete() int64
}

// Waiter is implemented by bodies for which one can wait without asking for the next chunk.
type Waiter interface {
	// Wait waits until Next would return at once, at most for d, and says whether that is so. Like Next it
	// is the end of the chunk before. What limits the silence of the sender goes on.
	Wait(d time.Duration) bool
}

// ErrBodyTooLarge is returned when a body is longer than the limit with which
// somebody asked for it.
var ErrBodyTooLarge = errors.New("body is larger than its limit")

// Bytes is a body that is in memory. It can be rewound, so it can be sent again.
type Bytes struct {
	data  []byte
	spent bool
}

// NewBytes returns a body over data, which must not change as long as the body
// is used.
func NewBytes(data []byte) *Bytes { return &Bytes{data: data} }

// Reset makes b a fresh body over data.
func (b *Bytes) Reset(data []byte) { b.data, b.spent = data, false }

// Rewind makes the next call of Next return the data again.
func (b *Bytes) Rewind() { b.spent = false }

// Data is the whole body.
func (b *Bytes) Data() []byte { return b.data }

func (b *Bytes) Next() ([]byte, error) {
	if b.spent || len(b.data) == 0 {
		return nil, io.EOF
	}
	b.spent = true
	return b.data, nil
}

func (b *Bytes) Length() int64    { return int64(len(b.data)) }
func (b *Bytes) Trailer() *Header { return nil }
func (b *Bytes) Close() error     { return nil }
func (b *Bytes) Ready() bool      { return true }

// Guard stands before a body that belongs to a connection, and lets go of it at
// its end: whoever calls Next or Close once too often cannot reach the exchange
// that the connection carries by then.
type Guard struct {
	inner   Body
	err     error
	length  int64
	trailer *Header
}

// Inner is the body behind the guard, or nil once that has ended.
func (g *Guard) Inner() Body { return g.inner }

func (g *Guard) Next() ([]byte, error) {
	if g.inner == nil {
		return nil, g.err
	}
	chunk, err := g.inner.Next()
	if err != nil {
		g.end(err)
	}
	return chunk, err
}

// end lets the connection go. Before that it takes a copy of the trailer, which is
// rare: the original is reused.
func (g *Guard) end(err error) {
	inner := g.inner
	if t := inner.Trailer(); t != nil && err == io.EOF {
		g.trailer = new(Header)
		g.trailer.CopyFrom(t)
	}
	g.inner, g.err = nil, err
	_ = inner.Close()
}

func (g *Guard) Length() int64    { return g.length }
func (g *Guard) Trailer() *Header { return g.trailer }

func (g *Guard) Ready() bool {
	r, ok := g.inner.(Ready)
	return g.inner == nil || ok && r.Ready()
}

// Wait implements Waiter; a body that cannot wait is as good as ready.
func (g *Guard) Wait(d time.Duration) bool {
	w, ok := g.inner.(Waiter)
	return !ok || w.Wait(d)
}

func (g *Guard) Close() error {
	if g.inner == nil {
		return nil
	}
	inner := g.inner
	g.inner, g.err = nil, errClosed
	return inner.Close()
}

var errClosed = errors.New("body was closed")

// ReadAll reads body to its end, but no more than limit bytes; a longer one is
// ErrBodyTooLarge. The body is not closed.
func ReadAll(body Body, limit int64) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	length := body.Length()
	if length > limit {
		return nil, ErrBodyTooLarge
	}
	var all []byte
	if length > 0 {
		all = make([]byte, 0, min(length, 1<<20))
	}
	for {
		chunk, err := body.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if int64(len(all))+int64(len(chunk)) > limit {
			return nil, ErrBodyTooLarge
		}
		all = append(all, chunk...)
	}
}

// Tunnel is the raw connection behind a 101: bytes in both directions. The wire of the client
// joins it with the connection of the client.
type Tunnel = tunnel.Side

// ErrWoken is what Next of a Tunnel returns after Wake.
var ErrWoken = tunnel.ErrWoken
