package rig

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2 is a Peer that speaks HTTP/2 (RFC 9113). Frames are read by a goroutine of
// its own and wait in their streams; window is given back for what a test has read.
type http2 struct {
	*Conn
	scheme string
	origin bool

	writing sync.Mutex // around the framer's writes and the encoder
	framer  *h2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder

	state   sync.Mutex
	news    *sync.Cond
	streams map[uint32]*stream
	next    uint32
	unread  []*stream // whose heads were not read yet, in the order of the requests
	unsaid  []*stream // at an origin: those that were read and not answered yet
	reading *stream
	sending *stream
	window  int64 // for sending, of the connection
	initial int64 // and of a new stream
	err     error // why the connection has ended, or must
}

// stream is one exchange of a connection.
type stream struct {
	id       uint32
	method   string
	heads    []*Message
	final    bool // the head of the message that counts was taken
	data     []byte
	received int64
	trailers []Field
	ended    bool
	reset    error
	stopped  bool // after a whole answer: the rest of the request is not wanted
	window   int64
}

// newHTTP2 exchanges settings, as a client or at an origin.
func newHTTP2(c *Conn, scheme string, origin bool) (*http2, error) {
	p := &http2{Conn: c, scheme: scheme, origin: origin, streams: map[uint32]*stream{}, next: 1, window: 65535, initial: 65535}
	p.news = sync.NewCond(&p.state)
	p.framer = h2.NewFramer(c.data, c.reader)
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.framer.MaxHeaderListSize = 1 << 20
	p.encoder = hpack.NewEncoder(&p.block)
	if !origin {
		if _, err := io.WriteString(c.data, h2.ClientPreface); err != nil {
			return nil, err
		}
		if err := p.framer.WriteSettings(h2.Setting{ID: h2.SettingEnablePush, Val: 0}); err != nil {
			return nil, err
		}
	}
	go p.read()
	return p, nil
}

// Bytes implements Peer.
func (p *http2) Bytes() *Conn { return nil }

// write runs one job with the framer.
func (p *http2) write(job func() error) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return job()
}

// wait waits until something is the case; the state is locked then, and the caller
// unlocks it.
func (p *http2) wait(limit time.Duration, done func() bool) bool {
	end := time.Now().Add(limit)
	alarm := time.AfterFunc(limit, func() {
		p.state.Lock() // So that nobody is between looking and waiting.
		defer p.state.Unlock()
		p.news.Broadcast()
	})
	defer alarm.Stop()
	p.state.Lock()
	for !done() {
		if !time.Now().Before(end) {
			return false
		}
		p.news.Wait()
	}
	return true
}

// Begin implements Peer.
func (p *http2) Begin(h Head, more bool) error {
	if err := h.portable(); err != nil {
		return err
	}
	more = more || h.Status/100 == 1
	s, err := p.choose(h)
	if err != nil {
		return err
	}
	p.enqueue(func() error {
		return p.write(func() error {
			p.block.Reset()
			p.encode(h)
			return p.sendHead(s.id, !more)
		})
	})
	return nil
}

// choose finds the stream of a message that is sent.
func (p *http2) choose(h Head) (*stream, error) {
	p.state.Lock()
	defer p.state.Unlock()
	if p.origin {
		if len(p.unsaid) == 0 {
			return nil, errors.New("there is no request that has no answer")
		}
		p.sending = p.unsaid[0]
		if h.Status >= 200 {
			p.unsaid = p.unsaid[1:]
		}
		return p.sending, nil
	}
	s := &stream{id: p.next, method: h.Method, window: p.initial}
	p.next += 2
	p.streams[s.id] = s
	p.unread = append(p.unread, s)
	p.sending = s
	return s, nil
}

func (p *http2) encode(h Head) {
	for _, f := range h.section(p.scheme) {
		_ = p.encoder.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value}) // Into memory.
	}
}

// sendHead sends the block in as many frames as it takes.
func (p *http2) sendHead(id uint32, end bool) error {
	const most = 16 << 10
	first := p.block.Next(most)
	err := p.framer.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: p.block.Len() == 0})
	for err == nil && p.block.Len() > 0 {
		part := p.block.Next(most)
		err = p.framer.WriteContinuation(id, p.block.Len() == 0, part)
	}
	return err
}

// Add implements Peer.
func (p *http2) Add(data string) error {
	s := p.sending
	p.enqueue(func() error { return p.sendData(s, []byte(data)) })
	return nil
}

// Flood implements Peer.
func (p *http2) Flood(n int64) {
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

// sendData sends what the windows allow, and waits for more; patience is the
// caller's. What nobody wants any more is not sent.
func (p *http2) sendData(s *stream, data []byte) error {
	const most = 16 << 10
	for len(data) > 0 {
		p.state.Lock()
		for p.err == nil && s.reset == nil && !s.stopped && (p.window <= 0 || s.window <= 0) {
			p.news.Wait()
		}
		if p.err != nil || s.reset != nil || s.stopped {
			err := errors.Join(p.err, s.reset)
			p.state.Unlock()
			return err
		}
		n := min(int64(len(data)), p.window, s.window, most)
		p.window -= n
		s.window -= n
		p.state.Unlock()
		if err := p.write(func() error { return p.framer.WriteData(s.id, false, data[:n]) }); err != nil {
			return err
		}
		p.written.Add(n)
		data = data[n:]
	}
	return nil
}

// End implements Peer.
func (p *http2) End(trailers []Field) error {
	s := p.sending
	p.enqueue(func() error {
		return p.write(func() error {
			if len(trailers) == 0 {
				return p.framer.WriteData(s.id, true, nil)
			}
			p.block.Reset()
			for _, f := range trailers {
				if err := p.encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(f.Name), Value: f.Value}); err != nil {
					return err
				}
			}
			return p.sendHead(s.id, true)
		})
	})
	return nil
}

// Cancel implements Peer.
func (p *http2) Cancel() error {
	s := p.atHand()
	if s == nil {
		return errors.New("there is nothing to give up")
	}
	p.state.Lock()
	s.reset = errors.New("given up by us")
	p.drop(s)
	p.state.Unlock()
	return p.write(func() error { return p.framer.WriteRSTStream(s.id, h2.ErrCodeCancel) })
}

// atHand is the exchange that the script speaks of: at an origin the one that was
// read last, else the one that was asked last.
func (p *http2) atHand() *stream {
	if p.origin {
		return p.reading
	}
	return p.sending
}

// drop forgets that something is to be read or said on a stream.
func (p *http2) drop(s *stream) {
	s.heads, s.data = nil, nil
	p.unread = without(p.unread, s)
	p.unsaid = without(p.unsaid, s)
	if p.reading == s {
		p.reading = nil
	}
}

func without(list []*stream, s *stream) []*stream {
	var rest []*stream
	for _, other := range list {
		if other != s {
			rest = append(rest, other)
		}
	}
	return rest
}
