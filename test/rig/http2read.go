package rig

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	h2 "golang.org/x/net/http2"
)

// read sorts what arrives into its streams until the connection ends.
func (p *http2) read() {
	err := p.preface()
	for err == nil {
		var f h2.Frame
		if f, err = p.framer.ReadFrame(); err == nil {
			err = p.take(f)
		}
		if wrong := (h2.StreamError{}); errors.As(err, &wrong) {
			err = fmt.Errorf("a head that is no HTTP/2: %w %w", wrong, p.framer.ErrorDetail())
		}
	}
	p.state.Lock()
	p.err = err
	p.news.Broadcast()
	p.state.Unlock()
}

// preface reads the client's first bytes, at an origin.
func (p *http2) preface() error {
	if !p.origin {
		return nil
	}
	got := make([]byte, len(h2.ClientPreface))
	if _, err := io.ReadFull(p.reader, got); err != nil {
		return err
	}
	if string(got) != h2.ClientPreface {
		return fmt.Errorf("the gateway does not speak HTTP/2 but %s", Quote(string(got)))
	}
	return p.write(func() error { return p.framer.WriteSettings() })
}

func (p *http2) take(f h2.Frame) error {
	p.state.Lock()
	defer p.state.Unlock()
	defer p.news.Broadcast()
	id := f.Header().StreamID
	s := p.streams[id]
	switch f := f.(type) {
	case *h2.SettingsFrame:
		return p.settings(f)
	case *h2.PingFrame:
		if !f.IsAck() {
			return p.write(func() error { return p.framer.WritePing(true, f.Data) })
		}
	case *h2.WindowUpdateFrame:
		switch {
		case id == 0:
			p.window += int64(f.Increment)
		case s != nil:
			s.window += int64(f.Increment)
		}
	case *h2.GoAwayFrame:
		if f.ErrCode != h2.ErrCodeNo {
			return fmt.Errorf("the connection was given up with %s: %s", f.ErrCode, f.DebugData())
		}
	case *h2.RSTStreamFrame:
		if s == nil {
			return fmt.Errorf("a reset of stream %d, which is not there", id)
		}
		// An answer that is complete may come with one (RFC 9113 §8.1).
		s.stopped = s.ended && f.ErrCode == h2.ErrCodeNo
		if !s.stopped && s.reset == nil {
			s.reset = fmt.Errorf("the stream was reset with %s", f.ErrCode)
		}
	case *h2.MetaHeadersFrame:
		return p.head(s, f)
	case *h2.DataFrame:
		return p.data(s, f)
	}
	return nil
}

func (p *http2) settings(f *h2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if v, ok := f.Value(h2.SettingInitialWindowSize); ok {
		for _, s := range p.streams {
			s.window += int64(v) - p.initial
		}
		p.initial = int64(v)
	}
	return p.write(p.framer.WriteSettingsAck)
}

// head sorts a block into its stream.
func (p *http2) head(s *stream, f *h2.MetaHeadersFrame) error {
	if s == nil {
		if !p.origin {
			return fmt.Errorf("a head on stream %d, on which nothing was asked", f.StreamID)
		}
		s = &stream{id: f.StreamID, method: f.PseudoValue("method"), window: p.initial}
		p.streams[s.id] = s
		p.unread = append(p.unread, s)
	}
	s.ended = s.ended || f.StreamEnded()
	var section []Field
	for _, field := range f.Fields {
		section = append(section, Field{field.Name, field.Value})
	}
	m, err := newMessage(section, p.origin, "2")
	if err != nil {
		return err
	}
	if m.Line == "" {
		if !f.StreamEnded() {
			return errors.New("trailers that do not end their stream")
		}
		s.trailers = m.Fields
		return nil
	}
	s.heads = append(s.heads, m)
	return nil
}

func (p *http2) data(s *stream, f *h2.DataFrame) error {
	if s == nil || s.ended {
		return fmt.Errorf("data on stream %d, on which none are wanted", f.StreamID)
	}
	if s.reset == nil {
		s.data = append(s.data, f.Data()...)
	}
	s.received += int64(len(f.Data()))
	s.ended = f.StreamEnded()
	if f.Length == 0 {
		return nil
	}
	return p.write(func() error { return p.framer.WriteWindowUpdate(0, f.Length) })
}

// Head implements Peer. Interim answers belong to the request that is first.
func (p *http2) Head() (*Message, error) {
	defer p.state.Unlock()
	if p.wait(Patience, func() bool {
		return p.err != nil || len(p.unread) > 0 && (len(p.unread[0].heads) > 0 || p.unread[0].reset != nil)
	}); len(p.unread) == 0 {
		return nil, errors.Join(errors.New("no message came"), p.err)
	}
	s := p.unread[0]
	if len(s.heads) == 0 {
		return nil, errors.Join(errors.New("no head came"), s.reset, p.err)
	}
	m := s.heads[0]
	s.heads = s.heads[1:]
	if status := m.Status(); status == 0 || status >= 200 {
		s.final = true
		p.unread = p.unread[1:]
		if p.origin {
			p.unsaid = append(p.unsaid, s)
		}
	}
	p.reading = s
	return m, nil
}

// some waits for data of the stream that is read, or its end, and takes up to n
// bytes. The window is given back.
func (p *http2) some(n int) (data []byte, ended bool, err error) {
	s := p.reading
	if s == nil {
		return nil, false, errors.New("there was no head before")
	}
	p.wait(Patience, func() bool { return len(s.data) > 0 || s.ended || s.reset != nil || p.err != nil })
	data = s.data[:min(n, len(s.data))]
	s.data = s.data[len(data):]
	ended = len(s.data) == 0 && s.ended
	if len(data) == 0 && !ended {
		err = errors.Join(s.reset, p.err)
		if err == nil {
			err = errPatience
		}
	}
	open := !s.ended && s.reset == nil
	p.state.Unlock()
	if len(data) > 0 && open {
		err = errors.Join(err, p.write(func() error { return p.framer.WriteWindowUpdate(s.id, uint32(len(data))) }))
	}
	return data, ended, err
}

// Body implements Peer.
func (p *http2) Body(m *Message, _ bool) error {
	if status := m.Status(); status >= 100 && status < 200 {
		return nil
	}
	var all strings.Builder
	for {
		data, ended, err := p.some(1 << 20)
		all.Write(data)
		m.Body, m.Incomplete = all.String(), err
		if err != nil || ended {
			break
		}
	}
	m.Trailers = p.reading.trailers
	return p.checkLength(m)
}

// checkLength compares a length that was announced with what came (RFC 9113 §8.1.1).
func (p *http2) checkLength(m *Message) error {
	want := m.Value("Content-Length")
	s, status := p.reading, m.Status()
	if want == "" || m.Incomplete != nil || s.method == "HEAD" || status == 304 {
		return nil
	}
	if got := strconv.FormatInt(s.received, 10); got != want {
		return fmt.Errorf("Content-Length is %s and %s bytes came", want, got)
	}
	return nil
}

// Part implements Peer.
func (p *http2) Part(n int) (string, error) {
	var got strings.Builder
	for got.Len() < n {
		data, ended, err := p.some(n - got.Len())
		got.Write(data)
		if err != nil || ended && got.Len() < n {
			return got.String(), errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return got.String(), nil
}

// Skip implements Peer.
func (p *http2) Skip(n int64) error {
	for n > 0 {
		data, ended, err := p.some(int(min(n, 1<<20)))
		n -= int64(len(data))
		if err != nil || ended && n > 0 {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// Cancelled implements Peer.
func (p *http2) Cancelled() error {
	s := p.atHand()
	if s == nil {
		return errors.New("there is nothing to be given up")
	}
	defer p.state.Unlock()
	if !p.wait(Patience, func() bool { return s.reset != nil || s.stopped || p.err != nil }) {
		return errPatience
	}
	p.drop(s)
	return nil
}

// Silent implements Peer: frames of the connection itself are no message.
func (p *http2) Silent() error {
	defer p.state.Unlock()
	p.wait(50*time.Millisecond, func() bool { return p.err != nil || p.waiting() != "" })
	if what := p.waiting(); what != "" {
		return fmt.Errorf("wanted silence, got %s", what)
	}
	if p.err != nil {
		return fmt.Errorf("wanted silence: %w", p.err)
	}
	return nil
}

// waiting says what is there that nobody has read.
func (p *http2) waiting() string {
	for _, s := range p.streams {
		if len(s.heads) > 0 {
			return s.heads[0].String()
		}
		if len(s.data) > 0 {
			return Quote(string(s.data))
		}
	}
	return ""
}

// Closed implements Peer.
func (p *http2) Closed() error {
	defer p.state.Unlock()
	if !p.wait(Patience, func() bool { return p.err != nil }) {
		return fmt.Errorf("wanted the end: %w", errPatience)
	}
	if what := p.waiting(); what != "" {
		return fmt.Errorf("wanted the end, got %s", what)
	}
	if !Ended(p.err) {
		return fmt.Errorf("wanted the end: %w", p.err)
	}
	return nil
}
