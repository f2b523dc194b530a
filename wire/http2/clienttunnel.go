package http2

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/internal/websocket"
	"github.com/sluice-gateway/sluice/message"
)

// clientTunnel is the origin's side of a tunnel (RFC 8441). It implements message.Tunnel.
type clientTunnel struct {
	stream    *clientStream
	lastWrite atomic.Int64
	close     sync.Once
}

// startTunnel makes the 200 of an extended CONNECT the 101 that all others know.
func (s *clientStream) startTunnel(req *message.Request, resp *message.Response) *Failure {
	resp.Status = 101
	resp.Header.Append("Upgrade", message.LowerASCII(req.Upgrade))
	if key, ok := req.Header.Lookup("Sec-WebSocket-Key"); ok {
		resp.Header.Set("Sec-WebSocket-Accept", websocket.Accept(key))
	}
	s.link.mu.Lock()
	s.deadline = 0 // It was for the handshake.
	s.link.mu.Unlock()
	resp.Tunnel = &clientTunnel{stream: s}
	return nil
}

// Next implements message.Tunnel. It fails when both directions were silent for the timeout of bodies.
func (t *clientTunnel) Next() ([]byte, error) {
	s := t.stream
	for {
		began := clock()
		chunk, state := s.next(true, s.conn.limits.BodyTimeout)
		switch state {
		case recvData:
			return chunk, nil
		case recvEnd:
			return nil, io.EOF
		case recvWoken:
			return nil, message.ErrWoken
		case recvTooLate:
			if t.lastWrite.Load() < began {
				return nil, message.UpstreamTimeout
			}
			s.forgive() // Only one direction is silent.
		default:
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// forgive lets a wait that took too long begin anew.
func (s *stream) forgive() {
	s.link.mu.Lock()
	s.recvLate = false
	s.link.mu.Unlock()
}

func (t *clientTunnel) Write(p []byte) (int, error) {
	t.lastWrite.Store(clock())
	if _, err := t.stream.send(p, true); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite implements message.Tunnel.
func (t *clientTunnel) CloseWrite() error { return t.stream.sendEndStream() }

// Wake implements message.Tunnel.
func (t *clientTunnel) Wake() { t.stream.wake() }

// Close implements message.Tunnel. It may be called by both goroutines.
func (t *clientTunnel) Close() error {
	t.close.Do(func() { _ = t.stream.Close() })
	return nil
}
