package http2

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/tunnel"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// respondTunnel answers 200 (RFC 8441 §5).
func (s *serverStream) respondTunnel(x *message.Exchange) error {
	if err := s.handshake.Answered(&x.Response.Header); err != nil {
		return err
	}
	x.Response.Status = 200
	err := s.sendHead(x, section.Plan{Length: -1, Send: true})
	x.Response.Status = 101
	if err != nil {
		return err
	}
	s.flush()
	joint := tunnel.New(&clientEnd{stream: s}, x.Response.Tunnel, message.EqualFold(x.Request.Upgrade, "websocket"))
	s.setJoint(joint)
	x.SetLeaver(joint)
	if s.conn.server.draining.Load() { // Drain may have looked before.
		joint.Leave()
	}
	return nil
}

// runTunnel joins the stream with the origin, if it has become a tunnel, until one of them ends or
// both are silent for too long.
func (s *serverStream) runTunnel() {
	if s.joint == nil { // Nobody else sets it.
		return
	}
	s.joint.Run()
	s.setJoint(nil)
	s.x.Finish()
}

func (s *serverStream) setJoint(j *tunnel.Joint) {
	s.link.mu.Lock()
	s.joint = j
	s.link.mu.Unlock()
}

// tunnelled says whether the stream is a tunnel's, on either end; the lock is held.
func (s *stream) tunnelled() bool { return s.joint != nil || s.client != nil && s.client.tunnel }

// leaveTunnels tells the WebSockets of a connection to go away.
func (l *link) leaveTunnels() {
	var all []*tunnel.Joint
	l.mu.Lock()
	for _, s := range l.streams {
		if s.joint != nil {
			all = append(all, s.joint)
		}
	}
	l.mu.Unlock()
	for _, j := range all {
		j.Leave()
	}
}

// clientEnd is the client's side of a tunnel. It implements tunnel.Side.
type clientEnd struct {
	stream *serverStream
	// originDone says that the origin has said everything.
	originDone atomic.Bool
}

// Next implements tunnel.Side. A silent client is not cut off here: the origin's side has a limit for
// the silence of both. Behind the origin's last word the client has the idle timeout.
func (e *clientEnd) Next() ([]byte, error) {
	s := e.stream
	limit := tunnelPatience
	if e.originDone.Load() {
		limit = s.conn.limits.IdleTimeout
	}
	switch chunk, state := s.next(true, limit); state {
	case recvData:
		return chunk, nil
	case recvEnd:
		return nil, io.EOF
	case recvWoken:
		return nil, tunnel.ErrWoken
	}
	return nil, io.ErrUnexpectedEOF
}

// tunnelPatience is as good as no limit.
const tunnelPatience = time.Duration(1 << 61)

// Write implements tunnel.Side.
func (e *clientEnd) Write(p []byte) (int, error) {
	sent, err := e.stream.send(p, true)
	e.stream.bytesOut += sent
	return len(p), err
}

// CloseWrite implements tunnel.Side.
func (e *clientEnd) CloseWrite() error {
	s := e.stream
	if err := s.sendEndStream(); err != nil {
		return err
	}
	e.originDone.Store(true)
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	s.recvBy = clock() + int64(s.conn.limits.IdleTimeout)
	l.near()
	return nil
}

// Wake implements tunnel.Side.
func (e *clientEnd) Wake() { e.stream.wake() }

// wake makes a next that waits, or the following one, return recvWoken.
func (s *stream) wake() {
	s.link.mu.Lock()
	s.woken = true
	s.cond.Broadcast()
	s.link.mu.Unlock()
}

// Close implements tunnel.Side.
func (e *clientEnd) Close() error {
	e.stream.unwant()
	return nil
}
