package engine

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// boundGRPC makes the time that a client gives its gRPC call the deadline of the exchange, and tells
// the origin what is left of it: that costs a string. It says whether there is such a time; a field
// that cannot be read is left to the origin. It comes behind the policies, because one of them may
// have made a call of gRPC-Web one of gRPC.
func boundGRPC(x *message.Exchange) bool {
	if !message.IsGRPC(&x.Request) {
		return false
	}
	timeout, ok := parseGRPCTimeout(x.Request.Header.Get("grpc-timeout"))
	if !ok {
		return false
	}
	by := x.Times.Started.Add(min(timeout, longestTimeout))
	if x.Deadline.IsZero() || by.Before(x.Deadline) {
		x.Deadline = by
	}
	x.Request.Header.Set("grpc-timeout", message.FormatGRPCTimeout(time.Until(x.Deadline)))
	return true
}

// longestTimeout keeps sums of times away from the end of what can be counted.
const longestTimeout = 100 * 365 * 24 * time.Hour

// parseGRPCTimeout reads the field grpc-timeout: at most 8 digits and a unit. What would
// be longer than a Duration can hold is the longest one.
func parseGRPCTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	var n time.Duration
	for i := range len(s) - 1 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + time.Duration(s[i]-'0')
	}
	const longest = time.Duration(1<<63 - 1)
	if n > longest/unit {
		return longest, true
	}
	return n * unit, true
}

// grpcBody stands before the answer of a gRPC call with a deadline. When that is over between two
// messages it ends the answer as gRPC does, with a trailer that says so; within a message the stream
// is cut. It is one allocation for a call with a deadline.
type grpcBody struct {
	inner  message.Body
	x      *message.Exchange
	left   uint32 // of the message that is under way
	have   int    // bytes of prefix that are there
	prefix [5]byte
	late   *message.Header
}

// Next implements message.Body.
func (b *grpcBody) Next() ([]byte, error) {
	if b.late != nil {
		return nil, io.EOF
	}
	chunk, err := b.inner.Next()
	var problem *message.Problem
	switch {
	case err == nil:
		b.follow(chunk)
		return chunk, nil
	case err == io.EOF || !errors.As(err, &problem) || problem.Source == message.SourceClient || !b.x.Expired():
		return nil, err
	case b.left > 0 || b.have > 0 || b.inner.Length() >= 0:
		return nil, message.DeadlineExceeded
	}
	b.x.Deny(message.DeadlineExceeded) // For metrics and logs: the answer ends well.
	b.late = new(message.Header)
	b.late.Append("grpc-status", strconv.Itoa(grpcDeadlineExceeded))
	b.late.Append("grpc-message", string(appendPercent(nil, message.DeadlineExceeded.Title)))
	return nil, io.EOF
}

// follow looks for the borders of messages: a flag, four bytes of length, the message.
func (b *grpcBody) follow(chunk []byte) {
	for len(chunk) > 0 {
		if b.left > 0 {
			n := min(int(b.left), len(chunk))
			b.left -= uint32(n)
			chunk = chunk[n:]
			continue
		}
		n := copy(b.prefix[b.have:], chunk)
		chunk = chunk[n:]
		if b.have += n; b.have == len(b.prefix) {
			b.left, b.have = binary.BigEndian.Uint32(b.prefix[1:]), 0
		}
	}
}

// Trailer implements message.Body.
func (b *grpcBody) Trailer() *message.Header {
	if b.late != nil {
		return b.late
	}
	return b.inner.Trailer()
}

// Length implements message.Body.
func (b *grpcBody) Length() int64 { return b.inner.Length() }

// Close implements message.Body.
func (b *grpcBody) Close() error { return b.inner.Close() }

// Ready implements message.Ready.
func (b *grpcBody) Ready() bool {
	ready, ok := b.inner.(message.Ready)
	return ok && ready.Ready()
}
