package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// pieces is a body that belongs to a connection.
type pieces struct {
	list    []string
	err     error
	length  int64
	trailer *Header
	nexts   int
	closes  int
}

func (p *pieces) Next() ([]byte, error) {
	p.nexts++
	if len(p.list) == 0 {
		return nil, p.err
	}
	s := p.list[0]
	p.list = p.list[1:]
	return []byte(s), nil
}
func (p *pieces) Length() int64    { return p.length }
func (p *pieces) Trailer() *Header { return p.trailer }
func (p *pieces) Close() error     { p.closes++; return nil }

func TestBytes(t *testing.T) {
	t.Parallel()
	b := NewBytes([]byte("abc"))
	for range 2 {
		chunk, err := b.Next()
		if string(chunk) != "abc" || err != nil || b.Length() != 3 || !b.Ready() || b.Trailer() != nil {
			t.Fatal(string(chunk), err, b.Length())
		}
		for range 2 {
			if chunk, err := b.Next(); chunk != nil || err != io.EOF {
				t.Fatal(chunk, err)
			}
		}
		b.Rewind()
	}
	if b.Reset(nil); b.Length() != 0 {
		t.Error(b.Length())
	}
	if chunk, err := b.Next(); len(chunk) != 0 || err != io.EOF {
		t.Error("an empty chunk", err)
	}
}

func TestGuardLetsGo(t *testing.T) {
	t.Parallel()
	trailer := header("X-Sum=1")
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		err     error
		use     func(b Body)
		nexts   int
		after   error
		trailer string
	}{
		{"read to its end", io.EOF, func(b Body) { _, _ = ReadAll(b, 10) }, 2, io.EOF, "X-Sum=1"},
		{"broken", broken, func(b Body) { _, _ = ReadAll(b, 10) }, 2, broken, ""},
		{"closed", io.EOF, func(b Body) { _ = b.Close() }, 0, errClosed, ""},
		{"closed in the middle", io.EOF, func(b Body) { _, _ = b.Next(); _ = b.Close() }, 1, errClosed, ""},
	} {
		inner := &pieces{list: []string{"a"}, err: c.err, length: -1, trailer: trailer}
		r := &Response{}
		r.SetStream(inner)
		b := r.Body
		c.use(b)
		trailer.Set("X-Sum", "2") // The connection uses it for another exchange.
		for range 2 {
			if _, err := b.Next(); err != c.after {
				t.Errorf("%s: then %v", c.name, err)
			}
			_ = b.Close()
		}
		got := ""
		if h := b.Trailer(); h != nil {
			got = text(h)
		}
		if inner.nexts != c.nexts || inner.closes != 1 || got != c.trailer || b.Length() != -1 || !b.(Ready).Ready() || b.(*Guard).Inner() != nil {
			t.Errorf("%s: %d nexts, %d closes, trailer %q", c.name, inner.nexts, inner.closes, got)
		}
		trailer.Set("X-Sum", "1")
	}
	r := &Response{}
	r.SetStream(&pieces{list: []string{"a"}})
	if r.Body.(Ready).Ready() {
		t.Error("a body that does not say is not ready")
	}
}

func TestReadAll(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		body  Body
		limit int64
		want  string
		err   error
	}{
		{"none", nil, 0, "", nil},
		{"empty", NewBytes(nil), 0, "", nil},
		{"at the limit", &pieces{list: []string{"ab", "c"}, err: io.EOF, length: 3}, 3, "abc", nil},
		{"at the limit, of no length", &pieces{list: []string{"ab", "c"}, err: io.EOF, length: -1}, 3, "abc", nil},
		{"announced past the limit", &pieces{list: []string{"abc"}, err: io.EOF, length: 4}, 3, "", ErrBodyTooLarge},
		{"past the limit", &pieces{list: []string{"ab", "cd"}, err: io.EOF, length: -1}, 3, "", ErrBodyTooLarge},
		{"past what it announced", &pieces{list: []string{"ab", "cd"}, err: io.EOF, length: 2}, 3, "", ErrBodyTooLarge},
		{"broken", &pieces{list: []string{"ab"}, err: broken, length: -1}, 3, "", broken},
		{"huge and broken", &pieces{err: broken, length: 1 << 50}, 1 << 60, "", broken}, // Memory is taken for what is there.
	} {
		got, err := ReadAll(c.body, c.limit)
		if string(got) != c.want || err != c.err {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if p, ok := c.body.(*pieces); ok && p.closes != 0 {
			t.Errorf("%s: closed", c.name)
		}
	}
}

func TestReadBodyAndRewind(t *testing.T) {
	t.Parallel()
	r := &Request{Body: &pieces{list: []string{"ab", "c"}, err: io.EOF, length: -1}}
	if r.BodyLength() != -1 || r.Rewind() {
		t.Error("a stream cannot be rewound")
	}
	if data, err := r.ReadBody(2); data != nil || err != ErrBodyTooLarge {
		t.Errorf("%q, %v", data, err)
	}
	r.Body = &pieces{list: []string{"ab", "c"}, err: io.EOF, length: -1}
	for range 2 {
		if data, err := r.ReadBody(3); string(data) != "abc" || err != nil || r.BodyLength() != 3 {
			t.Errorf("%q, %v", data, err)
		}
		if data, err := ReadAll(r.Body, 3); string(data) != "abc" || err != nil || !r.Rewind() {
			t.Errorf("sent: %q, %v", data, err)
		}
	}
	if _, err := r.ReadBody(2); err != ErrBodyTooLarge {
		t.Error(err)
	}
	r.Hold([]byte("xy"))
	if _, err := r.Body.Next(); err != io.EOF { // It was sent as it came.
		t.Error(err)
	}
	if !r.Rewind() {
		t.Error("what is held can be sent again")
	}
	if data, err := ReadAll(r.Body, 2); !bytes.Equal(data, []byte("xy")) || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	r.Reset()
	if data, err := r.ReadBody(0); data != nil || err != nil || r.BodyLength() != 0 || !r.Rewind() {
		t.Errorf("none: %q, %v", data, err)
	}
	r.Wrap(func(Body) Body { t.Error("there is nothing to wrap"); return nil })
}

func TestSetBodyClosesTheOld(t *testing.T) {
	t.Parallel()
	inner := &pieces{length: 1}
	r := &Response{}
	r.SetStream(inner)
	r.Wrap(func(b Body) Body { return b })
	r.SetBody([]byte("a"))
	if inner.closes != 1 || r.Body.Length() != 1 {
		t.Error(inner.closes)
	}
	r.CloseBody()
	r.CloseBody()
	r.Header.Append("A", strings.Repeat("a", 3))
	r.Status = 200
	if r.Reset(); r.Body != nil || r.Status != 0 || r.Length != -1 || r.Header.Len() != 0 {
		t.Errorf("%+v", r)
	}
}

// arrived is a body of unknown length that may be there as a whole.
type arrived struct {
	chunks []string
	length int64
	err    error
}

func (b *arrived) Next() ([]byte, error) {
	if len(b.chunks) == 0 {
		return nil, b.err
	}
	chunk := b.chunks[0]
	b.chunks = b.chunks[1:]
	return []byte(chunk), nil
}
func (b *arrived) Length() int64    { return -1 }
func (b *arrived) Trailer() *Header { return nil }
func (b *arrived) Close() error     { return nil }
func (b *arrived) Complete() int64  { return b.length }

func TestHoldComplete(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		body  Body
		whole bool
		want  string
		err   error
	}{
		"none":               {nil, true, "", nil},
		"in one piece":       {&arrived{[]string{"hello"}, 5, io.EOF}, true, "hello", nil},
		"in several":         {&arrived{[]string{"he", "l", "lo"}, 5, io.EOF}, true, "hello", nil},
		"empty":              {&arrived{nil, 0, io.EOF}, true, "", nil},
		"not all":            {&arrived{[]string{"hello"}, -1, io.EOF}, false, "", nil},
		"too long":           {&arrived{[]string{"hello you"}, 9, io.EOF}, false, "", nil},
		"broken":             {&arrived{nil, 5, broken}, false, "", broken},
		"broken later":       {&arrived{[]string{"he"}, 5, broken}, false, "", broken},
		"nobody knows of it": {&Guard{inner: &arrived{[]string{"hello"}, 5, io.EOF}, length: -1}, false, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Request{Body: test.body}
			if err := r.HoldComplete(8); err != test.err || r.Whole() != test.whole {
				t.Fatalf("%v, whole: %v", err, r.Whole())
			}
			for range 2 {
				if !test.whole {
					break
				}
				if got, err := ReadAll(r.Body, 100); string(got) != test.want || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				r.Rewind()
			}
		})
	}
}
