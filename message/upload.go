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
