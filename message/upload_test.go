package message

import (
	"errors"
	"io"
	"testing"
)

// portions is a body that gives its portions one by one.
type portions struct {
	Body
	left   []string
	length int64
	ready  bool
	err    error
}

func (p *portions) Length() int64 { return p.length }
func (p *portions) Ready() bool   { return p.ready }
func (p *portions) Next() ([]byte, error) {
	if len(p.left) == 0 {
		return nil, p.err
	}
	next := p.left[0]
	p.left = p.left[1:]
	return []byte(next), nil
}

func TestFirstChunk(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		body  Body
		first string
		whole bool
		err   error
	}{
		{"none", nil, "", true, nil},
		{"not ready", &portions{left: []string{"a"}, length: 1, err: io.EOF}, "", false, nil},
		{"not ready and empty", &portions{length: 0, err: io.EOF}, "", true, nil},
		{"all of it", &portions{left: []string{"ab"}, length: 2, ready: true, err: io.EOF}, "ab", true, nil},
		{"a part", &portions{left: []string{"ab", "c"}, length: 3, ready: true, err: io.EOF}, "ab", false, nil},
		{"no length", &portions{left: []string{"ab"}, length: -1, ready: true, err: io.EOF}, "ab", false, nil},
		{"no length and empty", &portions{length: -1, ready: true, err: io.EOF}, "", false, nil},
		{"broken", &portions{length: 5, ready: true, err: broken}, "", false, broken},
	} {
		first, whole, err := FirstChunk(c.body)
		if string(first) != c.first || whole != c.whole || err != c.err {
			t.Errorf("%s: %q %v %v, want %q %v %v", c.name, first, whole, err, c.first, c.whole, c.err)
		}
	}
}

func TestBodyProblem(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		RequestTooLarge: RequestTooLarge.Code, ErrBodyTooLarge: RequestTooLarge.Code, io.ErrUnexpectedEOF: BadRequestBody.Code,
	} {
		if got := BodyProblem(err).Code; got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
