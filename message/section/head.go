// Package section is what HTTP/2 and HTTP/3 have in common: a field section that was
// decoded (HPACK, QPACK) and has to be a request, an answer or a trailer. It is the one place
// that decides what may be forwarded, over HTTP/1 too.
package section

import (
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// Head is one field section while it is decoded: a request's head, an answer's, or a trailer
// section. What is wrong with it is noted and the rest is decoded all the same, because in
// HTTP/2 the blocks behind it depend on it. Begin comes first, then Take for each field, then
// End. It belongs to one goroutine.
type Head struct {
	kind      Kind
	fields    *message.Header
	maxBytes  int
	maxFields int

	Method, Scheme, Authority, Path, Protocol, Status string
	pseudo                                            pseudoSet
	regular                                           bool // a field without a colon has come
	hosts                                             int
	host                                              string
	HasLength                                         bool
	Length                                            int64
	Expect                                            string
	trailers                                          bool // TE: trailers
	cookies                                           []string
	cookieAt                                          int

	bytes    int // RFC 9113 §10.5.1, RFC 9114 §4.2.2
	count    int
	TooLarge bool   // there are more bytes or fields than allowed
	Wrong    string // why it is malformed (RFC 9113 §8.1.1, RFC 9114 §4.1.2), or ""
}

// Kind is what a section is meant to be.
type Kind uint8

const (
	Request Kind = iota
	Response
	Trailer
	Ignored // decoded for the table's sake only
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

// Begin makes the head ready for a block whose fields go into fields.
func (h *Head) Begin(kind Kind, fields *message.Header, maxBytes, maxFields int) {
	cookies := h.cookies[:0]
	*h = Head{kind: kind, fields: fields, maxBytes: maxBytes, maxFields: maxFields, cookies: cookies, Length: -1}
}

// Take is called by the decoder for each field.
func (h *Head) Take(name, value string) {
	if h.kind == Ignored {
		return
	}
	h.bytes += len(name) + len(value) + 32
	h.count++
	if h.bytes > h.maxBytes || h.count > h.maxFields+pseudoFields {
		h.TooLarge = true
	}
	if h.Wrong != "" {
		return
	}
	if len(name) > 0 && name[0] == ':' {
		h.takePseudo(name, value)
		return
	}
	h.regular = true
	if h.TooLarge { // One byte of a block may stand for a whole entry of the table: it is not worth a look.
		return
	}
	if !validLowerName(name) {
		h.Wrong = "a field name is not a token in lower case"
		return
	}
	if !validFieldValue(value) {
		h.Wrong = "a field value has a control character, or white space at an end"
		return
	}
	if mayBeSpecial(len(name)) && h.takeSpecial(name, value) {
		return
	}
	h.fields.Append(name, value)
}

// pseudoFields is how many fields a head may have on top, because they are no fields in
// HTTP/1.
const pseudoFields = 5

// lowerName marks what may stand in a name: a token without upper case (RFC 9113 §8.2.1, RFC 9114 §4.2).
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

// takePseudo follows RFC 9113 §8.3 and RFC 9114 §4.3: known, once, and before all others.
func (h *Head) takePseudo(name, value string) {
	var which pseudoSet
	var place *string
	switch name {
	case ":method":
		which, place = pseudoMethod, &h.Method
	case ":scheme":
		which, place = pseudoScheme, &h.Scheme
	case ":authority":
		which, place = pseudoAuthority, &h.Authority
	case ":path":
		which, place = pseudoPath, &h.Path
	case ":protocol":
		which, place = pseudoProtocol, &h.Protocol
	case ":status":
		which, place = pseudoStatus, &h.Status
	}
	switch {
	case which == 0:
		h.Wrong = "a pseudo-field is not known"
	case h.regular:
		h.Wrong = "a pseudo-field stands behind a field"
	case h.pseudo&which != 0:
		h.Wrong = "a pseudo-field is given twice"
	case h.kind == Trailer:
		h.Wrong = "a trailer section has a pseudo-field"
	case (which == pseudoStatus) != (h.kind == Response):
		h.Wrong = "a pseudo-field belongs to the other kind of message"
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
func (h *Head) takeSpecial(name, value string) bool {
	switch name {
	case "te":
		// RFC 9113 §8.2.2.
		if value != "trailers" {
			h.Wrong = "TE is not trailers"
		}
		h.trailers = true
	case "host":
		h.hosts++
		h.host = value
		return h.kind == Request
	case "cookie":
		return h.kind == Request && h.takeCookie(value)
	case "expect":
		if h.kind != Request {
			return false
		}
		if h.Expect == "" || message.EqualFold(h.Expect, "100-continue") {
			h.Expect = value
		}
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		h.Wrong = "a field belongs to connections of HTTP/1"
	case "content-length":
		h.takeLength(value)
	case "http2-settings", "trailer", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info":
	default:
		return false
	}
	return true
}

func (h *Head) takeLength(value string) {
	n, ok := message.ParseLength(value)
	switch {
	case h.HasLength:
		h.Wrong = "content-length is given twice"
	case !ok:
		h.Wrong = "content-length is not a plain number"
	}
	h.HasLength, h.Length = true, n
}

// takeCookie collects crumbs: the first one holds the place of all (RFC 9113 §8.2.3).
func (h *Head) takeCookie(value string) bool {
	h.cookies = append(h.cookies, value)
	if len(h.cookies) > 1 {
		return true
	}
	h.cookieAt = h.fields.Len()
	return false
}

// End is called when the section is complete.
func (h *Head) End() {
	if len(h.cookies) > 1 && !h.TooLarge && h.Wrong == "" {
		h.fields.Fields()[h.cookieAt].Value = strings.Join(h.cookies, "; ")
	}
	clear(h.cookies)
	h.cookies = h.cookies[:0]
}
