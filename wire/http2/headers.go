package http2

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/internal/headerblock"
	"github.com/sluice-gateway/sluice/message"
)

// head is one field section while it is decoded: a request's head, an answer's, or a trailer
// section. What is wrong with it is noted and the rest is decoded all the same, because the
// blocks behind it depend on it.
type head struct {
	kind      headKind
	fields    *message.Header
	maxBytes  int
	maxFields int

	method, scheme, authority, path, protocol, status string
	pseudo                                            pseudoSet
	regular                                           bool // a field without a colon has come
	hosts                                             int
	host                                              string
	hasLength                                         bool
	length                                            int64
	expect                                            string
	trailers                                          bool // TE: trailers
	hasDate                                           bool
	cookies                                           []string
	cookieAt                                          int

	bytes    int // RFC 9113 §10.5.1
	count    int
	tooLarge bool
	wrong    string // why it is malformed (RFC 9113 §8.1.1)
}

type headKind uint8

const (
	requestHead headKind = iota
	responseHead
	trailerHead
	ignoredHead // decoded for the table's sake only
)

// pseudoSet is which pseudo-fields have come.
type pseudoSet uint8

const (
	pseudoMethod pseudoSet = 1 << iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoProtocol
	pseudoStatus
)

// begin makes the head ready for a block whose fields go into fields.
func (h *head) begin(kind headKind, fields *message.Header, maxBytes, maxFields int) {
	cookies := h.cookies[:0]
	*h = head{kind: kind, fields: fields, maxBytes: maxBytes, maxFields: maxFields, cookies: cookies, length: -1}
}

// decodeBlock decodes a whole block into h. An error is one of the connection: nobody
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
	r.head.joinCookies()
	return nil
}

// resizeTable does the changes of the table's size at the start of a block (RFC 7541 §4.2), of which
// there may be two; the decoder takes a second one only while its table is empty.
func (r *reader) resizeTable(block []byte) (rest []byte, f *fault) {
	for changes := 0; len(block) > 0 && block[0]&0xe0 == 0x20; changes++ {
		size, rest, ok := walkInt(block, 5)
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
			_, block, ok = walkInt(block, 7)
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
	name, b, ok := walkInt(b, bits)
	if ok && name == 0 {
		b, ok = walkString(b)
	}
	if !ok {
		return nil, false
	}
	return walkString(b)
}

func walkString(b []byte) (rest []byte, ok bool) {
	n, b, ok := walkInt(b, 7)
	if !ok || n > uint64(len(b)) {
		return nil, false
	}
	return b[n:], true
}

// walkInt reads an integer (RFC 7541 §5.1).
func walkInt(b []byte, bits uint) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	limit := uint64(1)<<bits - 1
	n = uint64(b[0]) & limit
	if n < limit {
		return n, b[1:], true
	}
	for i, shift := 1, uint(0); i < len(b) && shift < 56; i, shift = i+1, shift+7 {
		n += uint64(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// take is called by the decoder for each field.
func (h *head) take(f hpack.HeaderField) {
	if h.kind == ignoredHead {
		return
	}
	h.bytes += len(f.Name) + len(f.Value) + 32
	h.count++
	if h.bytes > h.maxBytes || h.count > h.maxFields+pseudoFields {
		h.tooLarge = true
	}
	if h.wrong != "" {
		return
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		h.takePseudo(f.Name, f.Value)
		return
	}
	h.regular = true
	if !validLowerName(f.Name) {
		h.wrong = "a field name is not a token in lower case"
		return
	}
	if !validFieldValue(f.Value) {
		h.wrong = "a field value has a control character, or white space at an end"
		return
	}
	if h.tooLarge {
		return
	}
	if mayBeSpecial(len(f.Name)) && h.takeSpecial(f.Name, f.Value) {
		return
	}
	h.fields.Append(f.Name, f.Value)
}

// pseudoFields is how many fields a head may have on top, because they are no fields in
// HTTP/1.
const pseudoFields = 5

// lowerName marks what may stand in a name: a token without upper case (RFC 9113 §8.2.1).
var lowerName = func() (t [256]bool) {
	for c := 0; c < 256; c++ {
		t[c] = message.IsToken(byte(c)) && !('A' <= c && c <= 'Z')
	}
	return t
}()

func validLowerName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !lowerName[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// validFieldValue is stricter than RFC 9113 §8.2.1: what may not stand in an HTTP/1 value may
// not stand here.
func validFieldValue(s string) bool {
	if s == "" {
		return true
	}
	if c := s[0]; c == ' ' || c == '\t' {
		return false
	}
	if c := s[len(s)-1]; c == ' ' || c == '\t' {
		return false
	}
	return message.ValidValue(s)
}

// takePseudo follows RFC 9113 §8.3: known, once, and before all others.
func (h *head) takePseudo(name, value string) {
	var which pseudoSet
	var place *string
	switch name {
	case ":method":
		which, place = pseudoMethod, &h.method
	case ":scheme":
		which, place = pseudoScheme, &h.scheme
	case ":authority":
		which, place = pseudoAuthority, &h.authority
	case ":path":
		which, place = pseudoPath, &h.path
	case ":protocol":
		which, place = pseudoProtocol, &h.protocol
	case ":status":
		which, place = pseudoStatus, &h.status
	}
	switch {
	case which == 0:
		h.wrong = "a pseudo-field is not known"
	case h.regular:
		h.wrong = "a pseudo-field stands behind a field"
	case h.pseudo&which != 0:
		h.wrong = "a pseudo-field is given twice"
	case h.kind == trailerHead:
		h.wrong = "a trailer section has a pseudo-field"
	case (which == pseudoStatus) != (h.kind == responseHead):
		h.wrong = "a pseudo-field belongs to the other kind of message"
	default:
		h.pseudo |= which
		*place = value
	}
}

// specialLengths marks the lengths of the names that takeSpecial knows.
const specialLengths = 1<<2 | 1<<4 | 1<<6 | 1<<7 | 1<<10 | 1<<14 | 1<<16 | 1<<17 | 1<<18 | 1<<19 | 1<<25

func mayBeSpecial(n int) bool { return n < 32 && specialLengths&(1<<n) != 0 }

// takeSpecial looks at a field that frames, routes or belongs to one connection, and says
// whether it is done with it.
func (h *head) takeSpecial(name, value string) bool {
	switch name {
	case "te":
		// RFC 9113 §8.2.2.
		if value != "trailers" {
			h.wrong = "TE is not trailers"
		}
		h.trailers = true
	case "host":
		h.hosts++
		h.host = value
		return h.kind == requestHead
	case "date":
		h.hasDate = true
		return false
	case "cookie":
		return h.kind == requestHead && h.takeCookie(value)
	case "expect":
		if h.kind != requestHead {
			return false
		}
		if h.expect == "" || message.EqualFold(h.expect, "100-continue") {
			h.expect = value
		}
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		h.wrong = "a field belongs to connections of HTTP/1"
	case "content-length":
		h.takeLength(value)
	case "http2-settings", "trailer", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info":
	default:
		return false
	}
	return true
}

func (h *head) takeLength(value string) {
	n, ok := message.ParseLength(value)
	switch {
	case h.hasLength:
		h.wrong = "content-length is given twice"
	case !ok:
		h.wrong = "content-length is not a plain number"
	}
	h.hasLength, h.length = true, n
}

// takeCookie collects crumbs: the first one holds the place of all (RFC 9113 §8.2.3).
func (h *head) takeCookie(value string) bool {
	h.cookies = append(h.cookies, value)
	if len(h.cookies) > 1 {
		return true
	}
	h.cookieAt = h.fields.Len()
	return false
}

func (h *head) joinCookies() {
	if len(h.cookies) > 1 && !h.tooLarge && h.wrong == "" {
		h.fields.Fields()[h.cookieAt].Value = strings.Join(h.cookies, "; ")
	}
	clear(h.cookies)
	h.cookies = h.cookies[:0]
}

// connectionField says whether a field may not leave over HTTP/2 (RFC 9113 §8.2.2).
func connectionField(name string) bool {
	switch len(name) {
	case 7:
		return message.EqualFold(name, "upgrade") || message.EqualFold(name, "trailer")
	case 10:
		return message.EqualFold(name, "connection") || message.EqualFold(name, "keep-alive")
	case 14:
		return message.EqualFold(name, "http2-settings") || message.EqualFold(name, "content-length")
	case 16:
		return message.EqualFold(name, "proxy-connection")
	case 17:
		return message.EqualFold(name, "transfer-encoding")
	}
	return false
}
