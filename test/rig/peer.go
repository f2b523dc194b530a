package rig

import "strconv"

// Peer is one end of a connection at the level of messages, whatever wire carries
// them: a client's end sends requests and reads answers, an origin's end reads
// requests and answers them. What is sent leaves behind the caller's back, in
// order; what is read is waited for, at most Patience.
//
// A connection may carry several requests at once where the wire allows it. A
// client reads the answers in the order in which it asked, and an origin answers
// in the order in which it read, as in HTTP/1.
type Peer interface {
	// Begin sends the head of a message; more says that a body follows, and what
	// length it has is told by the fields, or by its end.
	Begin(h Head, more bool) error
	// Add sends a part of the body of the message that was begun.
	Add(data string) error
	// Flood sends n bytes of it without holding them in memory.
	Flood(n int64)
	// End ends the body.
	End(trailers []Field) error
	// Cancel gives up the exchange at hand: what is asked, or what is answered.
	// HTTP/1 can only reset the connection.
	Cancel() error

	// Head reads the next head. An interim answer is a message of its own.
	Head() (*Message, error)
	// Body reads the rest of its body into m. What the body lacks is in
	// m.Incomplete; the error is for what is no framing at all.
	Body(m *Message, bodyless bool) error
	// Part reads n bytes of the body and says what they are; Skip throws them away.
	Part(n int) (string, error)
	Skip(n int64) error
	// Cancelled waits until the other side gives up the exchange at hand.
	Cancelled() error

	// Bytes is the connection's reader for who looks below the messages; it is nil
	// where there are none to be seen, as in HTTP/2.
	Bytes() *Conn

	Drain() error
	Stuck() error
	Silent() error
	Closed() error
	Close() error
	Reset() error
	Drop()
}

// Head is the head of a message to be sent: a request has a method, an answer a
// status. A request's Host stands among the fields.
type Head struct {
	Method, Target string
	Status         int
	Fields         []Field
}

// Send sends a whole message. A length is added where the fields announce none and
// there is a body, or could be one.
func Send(p Peer, h Head, body string) error {
	bodyless := h.Method != "" || h.Status/100 == 1 || h.Status == 204 || h.Status == 304
	chunked := Values(h.Fields, "Transfer-Encoding") != nil
	if !chunked && Values(h.Fields, "Content-Length") == nil && (body != "" || !bodyless) {
		h.Fields = append(h.Fields[:len(h.Fields):len(h.Fields)], Field{"Content-Length", strconv.Itoa(len(body))})
	}
	more := chunked || body != ""
	if err := p.Begin(h, more); err != nil || !more {
		return err
	}
	if body != "" {
		if err := p.Add(body); err != nil {
			return err
		}
	}
	return p.End(nil)
}
