package message

import "io"

// Request is what a client asks. The wire fills it; strings are immutable.
type Request struct {
	Method string
	Scheme string // "http" or "https": how the client reached us
	// Authority is the host, with the port if one was given, as the client named
	// it; lower case. It becomes Host or :authority at the origin.
	Authority string
	// Path is normalised (route.Normalize), begins with '/', and is what is matched and
	// forwarded. "*" for OPTIONS *. RawPath is what the client sent.
	Path    string
	RawPath string
	// Query is what stands behind '?', byte for byte; HasQuery tells "/a?" from "/a".
	Query    string
	HasQuery bool
	Protocol string // "HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3": for logs only

	Header Header
	// Body is nil where the request has none.
	Body Body
	// Upgrade is the protocol that the client wants to switch to, or "".
	Upgrade string
	// ExpectContinue says that the client waits for a 100 before it sends the
	// body. The wire sends it at the first Body.Next.
	ExpectContinue bool

	buffered Bytes
}

// BodyLength is the length of the body: 0 without one, -1 if it is not known.
func (r *Request) BodyLength() int64 {
	if r.Body == nil {
		return 0
	}
	return r.Body.Length()
}

// ReadBody reads the whole body, no more than limit bytes, and leaves a body that can be
// replayed in its place. The result stays valid as long as the exchange.
// Errors: ErrBodyTooLarge, or what the wire says of a client that sends garbage
// or vanishes.
func (r *Request) ReadBody(limit int64) ([]byte, error) {
	if b, ok := r.Body.(*Bytes); ok {
		if b.Length() > limit {
			return nil, ErrBodyTooLarge
		}
		return b.Data(), nil
	}
	if r.Body == nil {
		return nil, nil
	}
	data, err := ReadAll(r.Body, limit)
	if err != nil {
		return nil, err
	}
	r.buffered.Reset(data)
	r.Body = &r.buffered
	return data, nil
}

// Hold makes a chunk that is the whole body the body: it can be replayed then. The
// chunk must stay valid as long as nobody asks the body that it came from.
func (r *Request) Hold(whole []byte) {
	r.buffered.Reset(whole)
	r.buffered.spent = true
	r.Body = &r.buffered
}

// Whole says whether nothing of the body is still to come: it is in memory, or there is none.
func (r *Request) Whole() bool {
	if r.Body == nil {
		return true
	}
	_, ok := r.Body.(*Bytes)
	return ok
}

// KeepBody makes a body of at most limit bytes one that can be replayed: it is read, or, where its length is
// not known, kept if all of it is there. A longer one is left as it is. The error is a *Problem.
func (r *Request) KeepBody(limit int64) error {
	if r.Body == nil || r.Body.Length() > limit {
		return nil
	}
	var err error
	if r.Body.Length() < 0 {
		err = r.HoldComplete(limit)
	} else {
		_, err = r.ReadBody(limit)
	}
	if err != nil {
		return BodyProblem(err)
	}
	return nil
}

// HoldComplete makes a body of unknown length that is there as a whole one that can be replayed, if it has
// no more than limit bytes. It waits for nobody. What came in one piece is not copied.
func (r *Request) HoldComplete(limit int64) error {
	body, ok := r.Body.(Complete)
	if !ok || r.Body.Length() >= 0 {
		return nil
	}
	length := body.Complete()
	if length < 0 || length > limit {
		return nil
	}
	first, err := r.Body.Next()
	if err != nil && err != io.EOF {
		return err
	}
	if int64(len(first)) < length {
		first = append(make([]byte, 0, length), first...)
		rest, err := ReadAll(r.Body, limit)
		if err != nil {
			return err
		}
		first = append(first, rest...)
	}
	r.Hold(first)
	r.buffered.Rewind()
	return nil
}

// Rewind makes a body that is in memory ready to be sent again, and says whether
// there is nothing else to send.
func (r *Request) Rewind() bool {
	if b, ok := r.Body.(*Bytes); ok {
		b.Rewind()
		return true
	}
	return r.Body == nil
}

// Wrap puts a body around the one that is there.
func (r *Request) Wrap(around func(Body) Body) {
	if r.Body != nil {
		r.Body = around(r.Body)
	}
}

// Target is the path with its query, as it goes into a request line.
func (r *Request) Target() string {
	if !r.HasQuery {
		return r.Path
	}
	return r.Path + "?" + r.Query
}

// Host is the authority without its port.
func (r *Request) Host() string {
	a := r.Authority
	for i := len(a) - 1; i >= 0; i-- {
		switch a[i] {
		case ':':
			return a[:i]
		case ']':
			return a
		}
	}
	return a
}

// Reset empties the request and keeps its room.
func (r *Request) Reset() {
	fields := r.Header
	fields.Reset()
	*r = Request{Header: fields}
}

// Idempotent says whether a method may be sent twice (RFC 9110 §9.2.2).
func Idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}
