package http3

import (
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/message/section"
)

// decoder reads field sections. Our SETTINGS allow no table that changes, so a section stands
// for itself. All strings of a section are parts of one: a head costs one allocation.
type decoder struct {
	text   []byte // what was decoded, one string behind the other
	fields []span
}

// span is a field: a name in the static table (or -1) and the ends of its strings in text.
type span struct {
	static           int // index of the static table that has the name; -1 none
	value            bool
	nameEnd, textEnd int
}

// Write takes what Huffman decoding gives. It implements io.Writer.
func (d *decoder) Write(p []byte) (int, error) {
	d.text = append(d.text, p...)
	return len(p), nil
}

// mostText is how much room a decoder keeps for the next section.
const mostText = 16 << 10

// decode reads a whole section into h; false is that it cannot be read, or refers to what
// is in no table (RFC 9204 §2.2).
func (d *decoder) decode(block []byte, h *section.Head, maxLines int) bool {
	d.text, d.fields = d.text[:0], d.fields[:0]
	if cap(d.text) > mostText {
		d.text = nil
	}
	inserts, block, ok := section.ReadInt(block, 8)
	if !ok || inserts != 0 {
		return false
	}
	if len(block) == 0 || block[0]&0x80 != 0 { // A negative base (RFC 9204 §4.5.1.2).
		return false
	}
	if _, block, ok = section.ReadInt(block, 7); !ok {
		return false
	}
	for lines := 0; len(block) > 0 && lines <= maxLines; lines++ { // More are refused, whatever comes.
		if block, ok = d.line(block); !ok {
			return false
		}
	}
	d.emit(h)
	return true
}

// line reads one field.
func (d *decoder) line(b []byte) (rest []byte, ok bool) {
	f := span{static: -1}
	switch {
	case b[0]&0xc0 == indexedStatic:
		var n uint64
		if n, b, ok = section.ReadInt(b, 6); !ok || n >= uint64(len(staticTable)) {
			return nil, false
		}
		f.static, f.nameEnd, f.textEnd = int(n), len(d.text), len(d.text)
		d.fields = append(d.fields, f)
		return b, true
	case b[0]&0xd0 == nameStatic:
		var n uint64
		if n, b, ok = section.ReadInt(b, 4); !ok || n >= uint64(len(staticTable)) {
			return nil, false
		}
		f.static = int(n)
	case b[0]&0xe0 == nameLiteral:
		if b, ok = d.text1(b, 3, 0x08); !ok {
			return nil, false
		}
	default: // They refer to the table that we do not have.
		return nil, false
	}
	f.nameEnd, f.value = len(d.text), true
	if b, ok = d.text1(b, 7, 0x80); !ok {
		return nil, false
	}
	f.textEnd = len(d.text)
	d.fields = append(d.fields, f)
	return b, true
}

// text1 reads one string.
func (d *decoder) text1(b []byte, bits uint, huffman byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	coded := b[0]&huffman != 0
	n, b, ok := section.ReadInt(b, bits)
	if !ok || n > uint64(len(b)) {
		return nil, false
	}
	if !coded {
		d.text = append(d.text, b[:n]...)
		return b[n:], true
	}
	if _, err := hpack.HuffmanDecode(d, b[:n]); err != nil {
		return nil, false
	}
	return b[n:], true
}

// emit hands the fields over.
func (d *decoder) emit(h *section.Head) {
	text, at := string(d.text), 0
	for i := range d.fields {
		f := &d.fields[i]
		name, value := text[at:f.nameEnd], text[f.nameEnd:f.textEnd]
		if f.static >= 0 {
			name = staticTable[f.static].name
			if !f.value {
				value = staticTable[f.static].value
			}
		}
		at = f.textEnd
		h.Take(name, value)
	}
	h.End()
}
