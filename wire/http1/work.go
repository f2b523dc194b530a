package http1

import (
	"sync"

	"github.com/sluice-gateway/sluice/message"
)

// work is what a client connection needs while it has something to do: it is taken from a pool
// when the first byte of a request is there and given back when the connection
// waits for the next one. An idle connection has none.
type work struct {
	x  message.Exchange
	io *buffers // nil while a tunnel is open, and in the pool after one
}

var works = sync.Pool{New: func() any { return new(work) }}

// buffers are what a connection needs while an exchange is on it.
type buffers struct {
	in  [8 << 10]byte
	out [8 << 10]byte
}

var buffersPool = sync.Pool{New: func() any { return new(buffers) }}
