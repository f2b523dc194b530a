package compress

import (
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-gateway/sluice/unit"
)

// coding is a content coding (RFC 9110 §8.4.1).
type coding uint8

const (
	none      coding = iota // leaves an answer as it is
	zstandard               // RFC 8878
	br                      // RFC 7932
	gz                      // RFC 1952
	codings
)

func (c coding) String() string { return [...]string{"identity", "zstd", "br", "gzip"}[c] }

// MarshalText is String.
func (c coding) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Form says how a coding is written.
func (coding) Form() unit.Form {
	return unit.Form{Name: "coding", Is: "a coding: zstd, br or gzip", Pattern: "^(zstd|br|gzip)$"}
}

// UnmarshalText reads the name of a coding.
func (c *coding) UnmarshalText(text []byte) error {
	for known := zstandard; known < codings; known++ {
		if known.String() == string(text) {
			*c = known
			return nil
		}
	}
	return fmt.Errorf("%q is not a coding that can be used here: zstd, br or gzip", text)
}

// encoder is what the libraries have in common.
type encoder interface {
	io.Writer
	Reset(w io.Writer)
	Flush() error
	Close() error
}

// coder is an encoder and the room that it writes to. It is reused for many
// answers, one at a time.
type coder struct {
	encoder encoder
	out     []byte
}

// Write is called by the encoder.
func (c *coder) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// window is how far back an encoder looks, as a power of two: 256 KiB. It bounds
// the memory of an answer under way, here and in the client (RFC 9659 allows 8 MiB).
const window = 18

// newPool returns a pool of coders for one coding at one level.
func newPool(c coding, l level) *sync.Pool {
	return &sync.Pool{New: func() any { return &coder{encoder: newEncoder(c, l)} }}
}

// newEncoder returns an encoder that starts no goroutine. The levels end where
// more work gains little: BenchmarkEncoders has the figures. None of the options
// can be refused.
func newEncoder(c coding, l level) encoder {
	switch c {
	case zstandard:
		speed := [...]zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression}[l]
		// What checks the sum is TLS or TCP, so it is left out.
		e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(1<<window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		return e
	case br:
		quality := [...]int{2, 4, 6}[l]
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: quality, LGWin: window})
	}
	e, _ := gzip.NewWriterLevel(nil, [...]int{3, 5, 7}[l])
	return e
}
