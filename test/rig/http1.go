package rig

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// http1 is a Peer that speaks HTTP/1.1.
type http1 struct {
	*Conn
	chunked bool     // what is being sent
	asked   []string // methods whose answers were not read yet
	message *Message // what was read last, and its body
	body    *body
}

// Bytes implements Peer.
func (p *http1) Bytes() *Conn { return p.Conn }

// Begin implements Peer.
func (p *http1) Begin(h Head, more bool) error {
	var b strings.Builder
	if h.Method != "" {
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", h.Method, h.Target)
		p.asked = append(p.asked, h.Method)
	} else {
		fmt.Fprintf(&b, "HTTP/1.1 %d Fine\r\n", h.Status)
	}
	for _, f := range h.Fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	p.chunked = more && len(Values(h.Fields, "Content-Length")) == 0
	if p.chunked && len(Values(h.Fields, "Transfer-Encoding")) == 0 {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	p.Send(b.String() + "\r\n")
	return nil
}

// Add implements Peer.
func (p *http1) Add(data string) error {
	if p.chunked {
		data = strconv.FormatInt(int64(len(data)), 16) + "\r\n" + data + "\r\n"
	}
	p.Send(data)
	return nil
}

// Flood implements Peer.
func (p *http1) Flood(n int64) {
	if !p.chunked {
		p.Conn.Flood(n)
		return
	}
	p.Send(strconv.FormatInt(n, 16) + "\r\n")
	p.Conn.Flood(n)
	p.Send("\r\n")
}

// End implements Peer.
func (p *http1) End(trailers []Field) error {
	if !p.chunked {
		if len(trailers) > 0 {
			return errors.New("a body with a length has no trailers in HTTP/1")
		}
		return nil
	}
	var b strings.Builder
	b.WriteString("0\r\n")
	for _, f := range trailers {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	p.Send(b.String() + "\r\n")
	return nil
}

// Cancel implements Peer.
func (p *http1) Cancel() error { return p.Reset() }

// Cancelled implements Peer: the connection ends, and what is left of a body
// before that is cut or complete.
func (p *http1) Cancelled() error {
	if p.message != nil {
		if err := p.Body(p.message, false); err != nil || p.message.Incomplete != nil {
			return err
		}
	}
	return p.Closed()
}

// Head implements Peer.
func (p *http1) Head() (*Message, error) {
	r, err := p.Reader()
	if err != nil {
		return nil, err
	}
	p.message, p.body = nil, nil
	m, err := ReadHead(r)
	if err != nil {
		return nil, err
	}
	p.message = m
	return m, nil
}

// open gives the body of the last message that was read.
func (p *http1) open(bodyless bool) (*body, error) {
	if p.message == nil {
		return nil, errors.New("there was no head before")
	}
	r, err := p.Reader()
	if err != nil || p.body != nil {
		return p.body, err
	}
	if p.message.Status() >= 200 && len(p.asked) > 0 {
		bodyless = bodyless || p.asked[0] == "HEAD"
		p.asked = p.asked[1:]
	}
	p.body, err = p.message.open(r, bodyless)
	return p.body, err
}

// Body implements Peer.
func (p *http1) Body(m *Message, bodyless bool) error {
	b, err := p.open(bodyless)
	if err != nil {
		return err
	}
	return m.readAll(b)
}

// Part implements Peer.
func (p *http1) Part(n int) (string, error) {
	b, err := p.open(false)
	if err != nil {
		return "", err
	}
	got := make([]byte, n)
	n, err = io.ReadFull(b, got)
	return string(got[:n]), err
}

// Skip implements Peer.
func (p *http1) Skip(n int64) error {
	if p.message == nil {
		return p.Discard(n) // What stands in front of all messages.
	}
	for n > 0 {
		b, err := p.open(false) // With patience for each piece.
		if err != nil {
			return err
		}
		done, err := io.CopyN(io.Discard, b, min(n, 1<<20))
		if err != nil {
			return err
		}
		n -= done
	}
	return nil
}
