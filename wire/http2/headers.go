package http2

import (
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/internal/headerblock"
	"github.com/sluice-gateway/sluice/message/section"
)

// takeField is called by the decoder for each field.
func (r *reader) takeField(f hpack.HeaderField) { r.head.Take(f.Name, f.Value) }

// decodeBlock decodes a whole block into the head. An error is one of the connection: nobody
// knows the table any more (RFC 7541 §2.2).
func (l *link) decodeBlock(block []byte) *fault {
	r := &l.reader
	block, f := r.resizeTable(block)
	if f != nil {
		return f
	}
	if !fieldsOnly(block) {
		return broken(CompressionError, "the size of the header table changes behind a field")
	}
	if _, err := r.decoder.Write(block); err != nil {
		return broken(CompressionError, "a header block cannot be decoded")
	}
	if r.decoder.Close() != nil {
		return broken(CompressionError, "a header block ends in the middle of a field")
	}
	r.head.End()
	return nil
}

// resizeTable does the changes of the table's size at the start of a block (RFC 7541 §4.2), of which
// there may be two; the decoder takes a second one only while its table is empty.
func (r *reader) resizeTable(block []byte) (rest []byte, f *fault) {
	for changes := 0; len(block) > 0 && block[0]&0xe0 == 0x20; changes++ {
		size, rest, ok := section.ReadInt(block, 5)
		if !ok || size > headerblock.TableSize || changes == 2 {
			return nil, broken(CompressionError, "the size of the header table changes too much or too often")
		}
		r.decoder.SetMaxDynamicTableSize(uint32(size))
		block = rest
	}
	return block, nil
}

// fieldsOnly says whether no change of the table's size stands behind a field. The decoder looks at
// that only while its table has entries. It walks over the fields without decoding them, and
// leaves what is cut short to the decoder.
func fieldsOnly(block []byte) bool {
	for len(block) > 0 {
		b := block[0]
		var ok bool
		switch {
		case b&0x80 != 0:
			_, block, ok = section.ReadInt(block, 7)
		case b&0xe0 == 0x20:
			return false
		case b&0xc0 == 0x40:
			block, ok = walkLiteral(block, 6)
		default:
			block, ok = walkLiteral(block, 4)
		}
		if !ok {
			return true
		}
	}
	return true
}

func walkLiteral(b []byte, bits uint) (rest []byte, ok bool) {
	name, b, ok := section.ReadInt(b, bits)
	if ok && name == 0 {
		b, ok = walkString(b)
	}
	if !ok {
		return nil, false
	}
	return walkString(b)
}

func walkString(b []byte) (rest []byte, ok bool) {
	n, b, ok := section.ReadInt(b, 7)
	if !ok || n > uint64(len(b)) {
		return nil, false
	}
	return b[n:], true
}
