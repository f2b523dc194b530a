package rig

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// http3 is a Peer that speaks HTTP/3 (RFC 9114) as a client. QUIC is quic-go's; frames
// are read and written here, without a dynamic table.
type http3 struct {
	outbox
	conn    *quic.Conn
	socket  net.PacketConn
	unread  []*h3stream // whose heads were not read yet
	reading *h3stream
	sending *h3stream
}

// h3stream is one exchange.
type h3stream struct {
	*quic.Stream
	r        *bufio.Reader
	method   string
	left     int64 // of the DATA frame at hand
	received int64
	trailers []Field
	ended    bool
}

// The frames of RFC 9114 §7.2 and codes of §8.1 that are of use here.
const (
	h3Data      = 0x0
	h3Headers   = 0x1
	h3Settings  = 0x4
	h3NoError   = 0x100
	h3Internal  = 0x102
	h3Cancelled = 0x10c
)

// dialHTTP3 connects a client.
func dialHTTP3(to, from string) (Peer, error) {
	address, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	settings := &tls.Config{ServerName: "example.com", NextProtos: []string{"h3"}, InsecureSkipVerify: true}
	conn, err := quic.Dial(ctx, socket, address, settings, &quic.Config{MaxIdleTimeout: 6 * Patience, HandshakeIdleTimeout: Patience})
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("the handshake: %w", err)
	}
	p := &http3{conn: conn, socket: socket}
	control, err := conn.OpenUniStream()
	if err == nil {
		_, err = control.Write([]byte{0, h3Settings, 0}) // The stream's type, a frame, nothing in it.
	}
	if err != nil {
		p.Drop()
		return nil, err
	}
	go p.ignore()
	return p, nil
}

// ignore reads the gateway's own streams, on which nothing concerns a client that has
// no dynamic table; the end of the connection is seen elsewhere.
func (p *http3) ignore() {
	for {
		s, err := p.conn.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(io.Discard, s) }()
	}
}

// Bytes implements Peer.
func (p *http3) Bytes() *Conn { return nil }

func h3Frame(kind uint64, payload []byte) []byte {
	frame := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
	return append(frame, payload...)
}

func h3Section(fields []Field) ([]byte, error) {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(qpack.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			return nil, err
		}
	}
	return h3Frame(h3Headers, block.Bytes()), encoder.Close()
}

// Begin implements Peer.
func (p *http3) Begin(h Head, more bool) error {
	if err := h.portable(); err != nil {
		return err
	}
	head, err := h3Section(h.section("https"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	stream, err := p.conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	s := &h3stream{Stream: stream, r: bufio.NewReader(stream), method: h.Method}
	p.sending = s
	p.unread = append(p.unread, s)
	p.enqueue(func() error {
		_, err := s.Write(head)
		if err == nil && !more {
			err = s.Close()
		}
		return err
	})
	return nil
}

// Add implements Peer.
func (p *http3) Add(data string) error {
	s := p.sending
	p.enqueue(func() error { return p.sendData(s, []byte(data)) })
	return nil
}

func (p *http3) sendData(s *h3stream, data []byte) error {
	_, err := s.Write(h3Frame(h3Data, data))
	if err == nil {
		p.written.Add(int64(len(data)))
	}
	return err
}

// Flood implements Peer.
func (p *http3) Flood(n int64) {
	s := p.sending
	block := bytes.Repeat([]byte("x"), 64<<10)
	p.enqueue(func() error {
		for left := n; left > 0; left -= int64(len(block)) {
			if err := p.sendData(s, block[:min(left, int64(len(block)))]); err != nil {
				return err
			}
		}
		return nil
	})
}

// End implements Peer.
func (p *http3) End(trailers []Field) error {
	s := p.sending
	var section []byte
	if len(trailers) > 0 {
		lower := slices.Clone(trailers)
		for i := range lower {
			lower[i].Name = strings.ToLower(lower[i].Name)
		}
		var err error
		if section, err = h3Section(lower); err != nil {
			return err
		}
	}
	p.enqueue(func() error {
		_, err := s.Write(section)
		return errors.Join(err, s.Close())
	})
	return nil
}

// Cancel implements Peer.
func (p *http3) Cancel() error {
	s := p.sending
	if s == nil {
		return errors.New("there is nothing to give up")
	}
	s.CancelRead(h3Cancelled)
	s.CancelWrite(h3Cancelled)
	p.forget(s)
	return nil
}

func (p *http3) forget(s *h3stream) {
	p.unread = slices.DeleteFunc(p.unread, func(other *h3stream) bool { return other == s })
	if p.reading == s {
		p.reading = nil
	}
}

// Cancelled implements Peer: the answer is reset, or the request is not wanted any more.
func (p *http3) Cancelled() error {
	s := p.sending
	if s == nil {
		return errors.New("there is nothing to be given up")
	}
	defer p.forget(s)
	return Eventually(func() error {
		if s.Context().Err() != nil {
			return nil
		}
		if err := s.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return err
		}
		_, err := s.r.Peek(1)
		var reset *quic.StreamError
		if errors.As(err, &reset) {
			return nil
		}
		return errors.New("the exchange goes on")
	})
}

// frame reads the head of the next frame that matters; its kind is -1 at the end.
func (s *h3stream) frame() (kind int, length int64, err error) {
	for {
		k, err := quicvarint.Read(s.r)
		if errors.Is(err, io.EOF) {
			return -1, 0, nil
		}
		if err != nil {
			return 0, 0, err
		}
		n, err := quicvarint.Read(s.r)
		if err != nil {
			return 0, 0, unexpected(err)
		}
		if k == h3Data || k == h3Headers {
			return int(k), int64(n), nil
		}
		if k < 0x21 {
			return 0, 0, fmt.Errorf("a frame of type %#x in an answer", k)
		}
		if _, err := s.r.Discard(int(n)); err != nil { // Reserved, to be ignored (RFC 9114 §7.2.8).
			return 0, 0, unexpected(err)
		}
	}
}

// section reads the rest of a HEADERS frame.
func (s *h3stream) section(length int64) (*Message, error) {
	block := make([]byte, length)
	if _, err := io.ReadFull(s.r, block); err != nil {
		return nil, unexpected(err)
	}
	var fields []Field
	next := qpack.NewDecoder().Decode(block)
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			return newMessage(fields, false, "3")
		}
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{f.Name, f.Value})
	}
}

// Head implements Peer.
func (p *http3) Head() (*Message, error) {
	if len(p.unread) == 0 {
		return nil, errors.New("nothing was asked")
	}
	s := p.unread[0]
	if err := s.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	kind, length, err := s.frame()
	if err != nil || kind != h3Headers {
		return nil, errors.Join(fmt.Errorf("no head came but frame %d", kind), err)
	}
	m, err := s.section(length)
	if err != nil {
		return nil, err
	}
	if m.Status() >= 200 {
		p.unread = p.unread[1:]
	}
	p.reading = s
	return m, nil
}

// some reads up to n bytes of the body.
func (p *http3) some(n int64) (data []byte, err error) {
	s := p.reading
	if s == nil {
		return nil, errors.New("there was no head before")
	}
	if err := s.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	for s.left == 0 {
		if s.ended {
			return nil, io.EOF
		}
		kind, length, err := s.frame()
		if err != nil {
			return nil, err
		}
		switch kind {
		case h3Data:
			s.left = length
		case h3Headers:
			m, err := s.section(length)
			if err != nil {
				return nil, err
			}
			s.trailers = m.Fields
		default:
			s.ended = true
		}
	}
	data = make([]byte, min(n, s.left))
	read, err := s.r.Read(data)
	s.left -= int64(read)
	s.received += int64(read)
	if read > 0 && errors.Is(err, io.EOF) {
		err = nil // It will be said again.
	}
	return data[:read], unexpected(err)
}

// Body implements Peer.
func (p *http3) Body(m *Message, _ bool) error {
	if status := m.Status(); status >= 100 && status < 200 {
		return nil
	}
	var all strings.Builder
	for {
		data, err := p.some(64 << 10)
		all.Write(data)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			m.Body, m.Incomplete = all.String(), err
			return nil
		}
	}
	m.Body, m.Trailers = all.String(), p.reading.trailers
	want := m.Value("Content-Length")
	if got := strconv.FormatInt(p.reading.received, 10); want != "" && want != got && p.reading.method != "HEAD" && m.Status() != 304 {
		return fmt.Errorf("Content-Length is %s and %s bytes came", want, got)
	}
	return nil
}

// Part implements Peer.
func (p *http3) Part(n int) (string, error) {
	var got strings.Builder
	for got.Len() < n {
		data, err := p.some(int64(n - got.Len()))
		got.Write(data)
		if err != nil {
			return got.String(), unexpected(err)
		}
	}
	return got.String(), nil
}

// Skip implements Peer.
func (p *http3) Skip(n int64) error {
	for n > 0 {
		data, err := p.some(min(n, 64<<10))
		n -= int64(len(data))
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// Silent implements Peer.
func (p *http3) Silent() error {
	streams := slices.Clone(p.unread)
	if p.reading != nil && !p.reading.ended && !slices.Contains(streams, p.reading) {
		streams = append(streams, p.reading)
	}
	end := time.Now().Add(50 * time.Millisecond)
	for _, s := range streams {
		if err := s.SetReadDeadline(end); err != nil {
			return err
		}
		what, err := s.r.Peek(1)
		var timeout net.Error
		if err == nil {
			return fmt.Errorf("wanted silence, got %s", Quote(string(what)))
		}
		var reset *quic.StreamError
		if errors.As(err, &timeout) && timeout.Timeout() || errors.As(err, &reset) {
			continue // A reset says nothing more.
		}
		if p.conn.Context().Err() == nil {
			return fmt.Errorf("wanted silence: %w", err)
		}
	}
	if p.conn.Context().Err() != nil {
		return fmt.Errorf("wanted silence: %w", io.EOF)
	}
	return nil
}

// Closed implements Peer.
func (p *http3) Closed() error {
	select {
	case <-p.conn.Context().Done():
	case <-time.After(Patience):
		return fmt.Errorf("wanted the end: %w", errPatience)
	}
	var said *quic.ApplicationError
	if err := context.Cause(p.conn.Context()); !errors.As(err, &said) || said.ErrorCode != h3NoError {
		return fmt.Errorf("wanted the end: %w", err)
	}
	return nil
}

// Close implements Peer.
func (p *http3) Close() error {
	if err := p.Drain(); err != nil {
		return err
	}
	return p.end(h3NoError)
}

// Reset implements Peer.
func (p *http3) Reset() error { return p.end(h3Internal) }

func (p *http3) end(code quic.ApplicationErrorCode) error {
	return errors.Join(p.conn.CloseWithError(code, ""), p.socket.Close())
}

// Drop implements Peer.
func (p *http3) Drop() { _ = p.end(h3NoError) }
