package http3

import (
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// Whatever a section is made of, decoding ends, and what passes may be forwarded.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(get("/", "x: y"))[2:])
	f.Add([]byte("\x00\x00\xd1\xd7\xc1\x50\x0da.example.com\x21a\x81\xf3"))
	f.Add([]byte("\x02\x80\x80"))
	f.Fuzz(func(t *testing.T, block []byte) {
		var d decoder
		var h section.Head
		var x message.Exchange
		h.Begin(section.Request, &x.Request.Header, 4096, 20)
		if !d.decode(block, &h, 25) || h.CheckRequest() != "" {
			return
		}
		if len(d.text) > 2*len(block)+100 {
			t.Errorf("%d bytes became %d", len(block), len(d.text))
		}
		if h.FillRequest(&x.Request, "HTTP/3", 4096, true) != nil {
			return
		}
		if x.Request.Header.Len() > 20 {
			t.Errorf("%d fields", x.Request.Header.Len())
		}
		for _, field := range x.Request.Header.Fields() {
			if !message.ValidName(field.Name) || !message.ValidValue(field.Value) || section.ConnectionField(field.Name) {
				t.Errorf("%q may not be forwarded", field)
			}
		}
	})
}

// What we write is what we read.
func FuzzEncoder(f *testing.F) {
	f.Add("Content-Type", "application/json")
	f.Add("set-cookie", "a=b")
	f.Fuzz(func(t *testing.T, name, value string) {
		if !message.ValidName(name) {
			return
		}
		var d decoder
		var got []message.Field
		if !d.raw(appendField(appendSection(nil), name, value), &got) || len(got) != 1 || got[0].Name != message.LowerASCII(name) || got[0].Value != value {
			t.Errorf("%q: %q became %q", name, value, got)
		}
	})
}

// Integers and frame headers are read as they are written, and never past their end.
func FuzzFrames(f *testing.F) {
	f.Add(uint64(0), uint64(1<<62-1), 3)
	f.Fuzz(func(t *testing.T, kind, length uint64, cut int) {
		kind, length = kind%(1<<62), length%(1<<62)
		b := appendVarint(appendVarint(nil, kind), length)
		h, n := parseFrame(append(b, 0xff))
		if h.kind != kind || h.length != length || n != len(b) {
			t.Errorf("%d, %d became %v", kind, length, h)
		}
		if cut >= 0 && cut < len(b) {
			if _, n := parseFrame(b[:cut]); n != 0 {
				t.Error("read past the end")
			}
		}
	})
}
