package http2

import (
	"crypto/rand"
	"crypto/sha1" // The handshake of WebSocket is built on it; nothing depends on its strength.
	"encoding/base64"
	"io"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// beginTunnel makes an extended CONNECT (RFC 8441 §5) the handshake that an HTTP/1.1 origin knows:
// a GET that asks for an upgrade, with a key, which HTTP/2 does not have.
func (s *serverStream) beginTunnel(h *section.Head) {
	x := &s.x
	s.tunnelled = true
	x.Request.Method = "GET"
	x.Request.Upgrade = h.Protocol
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // It never fails.
	key := base64.StdEncoding.EncodeToString(nonce[:])
	x.Request.Header.Del("Sec-WebSocket-Key")
	x.Request.Header.Append("Sec-WebSocket-Key", key)
	s.acceptKey = acceptKey(key)
}

// acceptKey is what a server answers to a key (RFC 6455 §4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// respondTunnel answers 200 (RFC 8441 §5) and joins the stream with the origin, until one
// of them ends or both are silent for too long.
func (s *serverStream) respondTunnel(x *message.Exchange) error {
	tunnel := x.Response.Tunnel
	defer func() { _ = tunnel.Close() }()
	if !s.tunnelled {
		return message.Internal.WithDetail("a tunnel for a request that did not ask for one")
	}
	header := &x.Response.Header
	if accept, ok := header.Lookup("Sec-WebSocket-Accept"); ok && accept != s.acceptKey {
		return message.UpstreamMalformed.WithDetail("the origin accepts another WebSocket than the one that was asked for")
	}
	header.Del("Sec-WebSocket-Accept")
	header.Del("Upgrade")
	x.Response.Status = 200
	err := s.sendHead(x, bodyPlan{length: -1, send: true})
	x.Response.Status = 101
	if err != nil {
		return err
	}
	s.flush()
	s.join(tunnel)
	return nil
}

// tunnelBuffer is the size of the buffer for one direction. Tunnels are many and mostly idle.
const tunnelBuffer = 4 << 10

// join copies in both directions: the origin's bytes on this goroutine, the client's on another,
// which has ended when join returns.
func (s *serverStream) join(tunnel message.Tunnel) {
	upDone := make(chan struct{})
	go func() {
		defer close(upDone)
		s.copyUp(tunnel)
	}()
	buf := make([]byte, tunnelBuffer)
	for {
		n, err := tunnel.Read(buf)
		if n > 0 {
			sent, werr := s.send(buf[:n], true)
			s.bytesOut += sent
			if werr != nil {
				break
			}
		}
		if err == io.EOF && s.sendEndStream() == nil {
			s.limitSilence() // Nobody but the client itself would end its half now.
			<-upDone
			break
		}
		if err != nil {
			break
		}
	}
	s.unwant()
	_ = tunnel.Close()
	<-upDone
}

// copyUp copies the client's bytes to the origin. A silent client is not cut off here: the
// origin's side has a limit for the silence of both.
func (s *serverStream) copyUp(tunnel message.Tunnel) {
	for {
		limit := tunnelPatience
		if s.originDone.Load() {
			limit = s.conn.limits.IdleTimeout
		}
		chunk, state := s.next(true, limit)
		switch state {
		case recvData:
			if _, err := tunnel.Write(chunk); err == nil {
				continue
			}
		case recvEnd:
			if tunnel.CloseWrite() == nil {
				return
			}
		}
		_ = tunnel.Close()
		return
	}
}

// tunnelPatience is as good as no limit.
const tunnelPatience = time.Duration(1 << 61)

// limitSilence gives a client whose origin has said everything no more than the idle timeout.
func (s *serverStream) limitSilence() {
	l := s.link
	s.originDone.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.recvBy = clock() + int64(s.conn.limits.IdleTimeout)
	l.near()
}
