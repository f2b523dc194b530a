package grpcweb

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentType   string
		form          Form
		media, suffix string
	}{
		{"application/grpc", GRPC, "application/grpc", ""},
		{"Application/gRPC+Proto", GRPC, "Application/gRPC+Proto", "+Proto"},
		{"application/grpc;a=b", GRPC, "application/grpc", ""},
		{"application/grpc+json ; charset=utf-8", GRPC, "application/grpc+json", "+json"},
		{"application/grpc-web", Web, "application/grpc-web", ""},
		{"application/gRPC-Web+proto; charset=utf-8", Web, "application/gRPC-Web+proto", "+proto"},
		{"application/grpc-web-text", Text, "application/grpc-web-text", ""},
		{"application/grpc-WEB-text+thrift", Text, "application/grpc-WEB-text+thrift", "+thrift"},
		{"application/grpc-website", None, "", ""},
		{"application/grpc-web-texts", None, "", ""},
		{"application/grpcs", None, "", ""},
		{"application/grp", None, "", ""},
		{"text/plain", None, "", ""},
		{"", None, "", ""},
	} {
		form, media, suffix := Parse(c.contentType)
		if form != c.form || media != c.media || suffix != c.suffix {
			t.Errorf("%q is %d %q %q", c.contentType, form, media, suffix)
		}
	}
}

func TestMedia(t *testing.T) {
	for _, suffix := range []string{"", "+proto", "+json", "+thrift"} {
		for form := GRPC; form <= Text; form++ {
			media := Media(form, suffix)
			if got, whole, end := Parse(media); got != form || whole != media || end != suffix {
				t.Errorf("%d with %q is %q, which is read as %d %q %q", form, suffix, media, got, whole, end)
			}
		}
		if suffix == "+thrift" {
			continue
		}
		if n := testing.AllocsPerRun(100, func() { Media(Web, suffix) }); n != 0 {
			t.Errorf("%q costs %v allocations", suffix, n)
		}
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		err  error
	}{
		{"", nil},
		{"\x00\x00\x00\x00\x00", nil},
		{"\x00\x00\x00\x00\x03abc", nil},
		{"\x01\x00\x00\x00\x03abc\x00\x00\x00\x00\x04abcd", nil},
		{"\x00\x00\x00\x00\x03ab", nil},
		{"\x00\x00\x00\x00", nil},
		{"\x00\x00\x00\x00\x03abc\x00", nil},
		{"\x00\x00\x00\x00\x05", ErrTooLarge},
		{"\x00\xff\xff\xff\xff", ErrTooLarge},
		{"\x00\x00\x00\x00\x03abc\x80\x00\x00\x00\x00", ErrFlag},
		{"\x02\x00\x00\x00\x01a", ErrFlag},
	} {
		for size := 1; size <= len(c.body)+1; size++ {
			f := Frames{Limit: 4}
			var err error
			for rest := []byte(c.body); len(rest) > 0 && err == nil; {
				n := min(size, len(rest))
				err = f.Check(rest[:n])
				rest = rest[n:]
			}
			if !errors.Is(err, c.err) {
				t.Errorf("%q in pieces of %d: %v", c.body, size, err)
			}
		}
	}
}

func TestTrailer(t *testing.T) {
	t.Parallel()
	out, at := BeginTrailer([]byte("ab"))
	out = AppendField(out, "Grpc-Status", "0")
	out = AppendField(out, "x-Z", "ä: b")
	out = EndTrailer(out, at)
	if want := "ab\x80\x00\x00\x00\x1cgrpc-status: 0\r\nx-z: ä: b\r\n"; string(out) != want {
		t.Errorf("%q", out)
	}
	if got := AppendText([]byte("x"), []byte("a")); string(got) != "xYQ==" {
		t.Errorf("%q", got)
	}
}

// decode decodes src in chunks of one size, into rooms of another.
func decode(src []byte, size, room int) ([]byte, error) {
	var d Decoder
	var out []byte
	dst := make([]byte, room)
	for len(src) > 0 {
		chunk := src[:min(size, len(src))]
		src = src[len(chunk):]
		for len(chunk) > 0 {
			made, taken, err := d.Decode(dst, chunk)
			if err != nil {
				return out, err
			}
			out, chunk = append(out, dst[:made]...), chunk[taken:]
		}
	}
	if !d.Whole() {
		return out, ErrText
	}
	return out, nil
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, want string
		err        error
	}{
		{"", "", nil},
		{"YQ==", "a", nil},
		{"YWI=", "ab", nil},
		{"YWJj", "abc", nil},
		{"YQ==YWI=YWJjYQ==", "aababca", nil},
		{"YWJjZGVmZ2hpamtsbQ==bm8=", "abcdefghijklmno", nil},
		{"YQ", "", ErrText},
		{"YQ=", "", ErrText},
		{"YQ==Y", "a", ErrText},
		{"Y===", "", ErrText},
		{"====", "", ErrText},
		{"=YWJ", "", ErrText},
		{"Y=WJ", "", ErrText},
		{"YW=J", "", ErrText},
		{"YWJj\r\nYQ", "", ErrText},
		{"Y\nQ=", "", ErrText},
		{"YWJ\n", "", ErrText},
		{"\n\n\n\n", "", ErrText},
		{"YW_j", "", ErrText},
		{"YW j", "", ErrText},
	} {
		for size := 1; size <= len(c.text)+1; size++ {
			for _, room := range []int{3, 4, 7, 64} {
				got, err := decode([]byte(c.text), size, room)
				if !errors.Is(err, c.err) || err == nil && string(got) != c.want {
					t.Errorf("%q in chunks of %d, room for %d: %q, %v", c.text, size, room, got, err)
				}
			}
		}
	}
}

// FuzzDecode puts what was cut into pieces, each with its padding, together again; and
// decodes what is no base64 at all.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("hello"), uint8(2), uint8(3), uint8(4))
	f.Add([]byte("YQ==YWI=YWJj"), uint8(1), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, piece, size, room uint8) {
		var text []byte
		for rest := data; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			text = AppendText(text, rest[:n])
			rest = rest[n:]
		}
		got, err := decode(text, int(size)+1, int(room)+3)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q is read as %q: %v", text, got, err)
		}
		// Whatever the library takes as one piece we take too, but for line ends.
		want, libraryErr := base64.StdEncoding.DecodeString(string(data))
		got, err = decode(data, int(size)+1, int(room)+3)
		if libraryErr == nil && !bytes.ContainsAny(data, "\r\n") && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%q is read as %q: %v", data, got, err)
		}
		if err == nil && base64.StdEncoding.DecodedLen(len(data)) < len(got) {
			t.Errorf("%q became %q", data, got)
		}
	})
}

// FuzzFrames compares the frames of a body that is cut up with those of the whole.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03abc\x01\x00\x00\x00\x01a"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		whole := Frames{Limit: 100}
		wholeErr := whole.Check(data)
		cut := Frames{Limit: 100}
		var cutErr error
		for rest := data; len(rest) > 0 && cutErr == nil; {
			n := min(int(size)+1, len(rest))
			cutErr = cut.Check(rest[:n])
			rest = rest[n:]
		}
		if !errors.Is(cutErr, wholeErr) || wholeErr == nil && whole != cut {
			t.Errorf("%q: %v in one piece, %v in pieces of %d", data, wholeErr, cutErr, int(size)+1)
		}
	})
}
