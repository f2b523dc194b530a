package engine

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// boundGRPC says whether a request is a call of gRPC, and makes the time that its client gives it the deadline of
// the exchange; origins are told what is left of it when they are asked. A field that cannot be read is left to
// them. It comes behind the policies, because one of them may have made a call of gRPC-Web one of gRPC.
func boundGRPC(x *message.Exchange) bool {
	if !message.IsGRPC(&x.Request) {
		return false
	}
	if timeout, ok := message.ParseGRPCTimeout(x.Request.Header.Get("grpc-timeout")); ok {
		by := x.Times.Started.Add(min(timeout, longestTimeout))
		if x.Deadline.IsZero() || by.Before(x.Deadline) {
			x.Deadline = by
		}
	}
	return true
}

// longestTimeout keeps sums of times away from the end of what can be counted.
const longestTimeout = 100 * 365 * 24 * time.Hour

// grpcBody stands before the answer of a gRPC call with a deadline, whoever has set it. When that is over between two
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
