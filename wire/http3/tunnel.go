package http3

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// respondTunnel answers 200 (RFC 9220 §3).
func (s *serverStream) respondTunnel(x *message.Exchange) error {
	if err := s.handshake.Answered(&x.Response.Header); err != nil {
		return err
	}
	x.Response.Status = 200
	s.out = s.appendHead(s.out[:0], x, section.Plan{Length: -1, Send: true})
	x.Response.Status = 101
	if err := s.flush(); err != nil {
		return err
	}
	joint := tunnel.New(&clientEnd{stream: s}, x.Response.Tunnel, message.EqualFold(x.Request.Upgrade, "websocket"))
	s.joint.Store(joint)
	x.SetLeaver(joint)
	if s.conn.server.draining.Load() { // Drain may have looked before.
		joint.Leave()
	}
	return nil
}

// runTunnel joins the stream with the origin, if it has become a tunnel, until one of them ends or
// both are silent for too long.
func (s *serverStream) runTunnel() {
	if joint := s.joint.Load(); joint != nil {
		s.in.frugal = true
		joint.Run()
		s.joint.Store(nil)
		s.x.Finish()
	}
}

// leaveTunnels tells the WebSockets of a connection to go away. The lock is held.
func (c *serverConn) leaveTunnels() {
	for s := c.first; s != nil; s = s.next {
		if joint := s.joint.Load(); joint != nil {
			joint.Leave()
		}
	}
}

// clientEnd is the client's side of a tunnel. It implements tunnel.Side.
type clientEnd struct {
	stream *serverStream
	// originDone says that the origin has said everything.
	originDone atomic.Bool
	frame      []byte
}

// tunnelPatience is as good as no limit.
const tunnelPatience = time.Duration(1 << 61)

// Next implements tunnel.Side. A silent client is not cut off here: the origin's side has a limit for
// the silence of both. Behind the origin's last word the client has the idle timeout.
func (e *clientEnd) Next() ([]byte, error) {
	s := e.stream
	patience := tunnelPatience
	if e.originDone.Load() {
		patience = s.conn.limits.IdleTimeout
	}
	chunk, f := s.in.next(patience)
	switch {
	case f == faultWoken:
		return nil, tunnel.ErrWoken
	case f != nil:
		s.spoil(f)
		return nil, io.ErrUnexpectedEOF
	case chunk == nil:
		return nil, io.EOF
	}
	return chunk, nil
}

// Write implements tunnel.Side.
func (e *clientEnd) Write(p []byte) (int, error) {
	whole := len(p)
	for len(p) > 0 {
		n := min(len(p), turnSize)
		e.frame = appendVarint(append(e.frame[:0], frameData), uint64(n))
		e.frame = append(e.frame, p[:n]...)
		if err := e.stream.write(e.frame); err != nil {
			return 0, err
		}
		p = p[n:]
	}
	e.frame = nil // An idle tunnel holds nothing.
	return whole, nil
}

// CloseWrite implements tunnel.Side.
func (e *clientEnd) CloseWrite() error {
	s := e.stream
	if err := s.flushEnd(); err != nil {
		return err
	}
	e.originDone.Store(true)
	e.Wake() // A Next that waits, or is about to, has looked before.
	return nil
}

// Wake implements tunnel.Side.
func (e *clientEnd) Wake() {
	in := &e.stream.in
	in.deadline.Lock()
	defer in.deadline.Unlock()
	in.woken.Store(true)
	_ = e.stream.quic.SetReadDeadline(longAgo)
}

// Close implements tunnel.Side.
func (e *clientEnd) Close() error {
	e.stream.quic.CancelRead(quic.StreamErrorCode(NoError))
	return nil
}
