package message

import "io"

// FirstChunk takes what is there of a request's body without waiting, and says
// whether it is all. A wire to origins puts it behind the head in one write; where
// it is not all, the chunk is the first of what is sent afterwards. The body is nil
// where there is none.
func FirstChunk(b Body) (first []byte, whole bool, err error) {
	if b == nil {
		return nil, true, nil
	}
	length := b.Length()
	ready, ok := b.(Ready)
	if !ok || !ready.Ready() {
		return nil, length == 0, nil
	}
	first, err = b.Next()
	if err == io.EOF { // An empty body that announced a length, or none, is the upload's affair.
		return nil, length == 0, nil
	}
	return first, length >= 0 && int64(len(first)) == length, err
}

// PutBack makes a chunk that FirstChunk has taken, and that was not sent, the first of the body again.
func (r *Request) PutBack(first []byte) {
	if b, ok := r.Body.(*putBack); ok {
		b.first = first
		return
	}
	r.Body = &putBack{Body: r.Body, first: first}
}

// putBack is a body of which a chunk was taken and given back.
type putBack struct {
	Body
	first []byte
}

// Next implements Body.
func (b *putBack) Next() ([]byte, error) {
	if first := b.first; len(first) > 0 {
		b.first = nil
		return first, nil
	}
	return b.Body.Next()
}

// Ready implements Ready.
func (b *putBack) Ready() bool {
	if len(b.first) > 0 {
		return true
	}
	inner, ok := b.Body.(Ready)
	return ok && inner.Ready()
}

// BodyProblem is the problem of a request whose body could not be read.
func BodyProblem(err error) *Problem {
	if p, ok := err.(*Problem); ok {
		return p
	}
	if err == ErrBodyTooLarge {
		return RequestTooLarge
	}
	return BadRequestBody.WithDetail(err.Error())
}
