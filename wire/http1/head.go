package http1

import (
	"bytes"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// headScan finds the end of a head in bytes that arrive little by little. It
// looks at each byte once, however the head is cut up, and refuses a line that
// does not end in CRLF at once (RFC 9112 §2.2 allows leniency; two parsers that
// use it differently are how requests are smuggled).
type headScan struct {
	pos   int // where the line that is being looked for begins
	seen  int // how far the search for its end has come
	lines int // complete lines so far, the first one included
	first int // length of the first line with its CRLF; 0 until it is complete
}

func (s *headScan) reset() { *s = headScan{} }

// scan looks on in buf, which begins with the head and has only grown since the
// last call. end is the length of the head, 0 if it is not complete.
func (s *headScan) scan(buf []byte) (end int, ok bool) {
	for {
		i := bytes.IndexByte(buf[s.seen:], '\n')
		if i < 0 {
			s.seen = len(buf)
			return 0, true
		}
		lf := s.seen + i
		if lf == s.pos || buf[lf-1] != '\r' {
			return 0, false
		}
		empty := lf == s.pos+1
		s.pos, s.seen = lf+1, lf+1
		if s.first == 0 {
			s.first = s.pos
		}
		if empty {
			return s.pos, true
		}
		s.lines++
	}
}

// framing is what the fields of a head say about the message itself. These
// fields do not stand in the Header.
type framing struct {
	length     int64 // Content-Length, -1 without one
	hasLength  bool
	chunked    bool // Transfer-Encoding is exactly one "chunked"
	encodings  int  // Transfer-Encoding fields
	badCoding  bool // some other coding
	coding     string
	hosts      int
	host       string
	close      bool
	keepAlive  bool
	wantsUp    bool // Connection: upgrade
	upgrade    string
	expect     string
	teTrailers bool
	named      string // the Connection values that name a field that may be removed
	options    int    // members of Connection that name a field
	hasDate    bool
}

// fault is why a head is refused. The text goes to the client.
type fault string

// parseFields reads the fields of a head from text, which begins with the first
// field line and ends with the empty line. All lines end in CRLF: headScan saw to it.
func parseFields(text string, h *message.Header, f *framing) fault {
	f.length = -1
	for len(text) > 2 {
		colon := 0
		for message.IsToken(text[colon]) { // ends at the CR at the latest.
			colon++
		}
		if text[colon] != ':' {
			return badName(text, colon)
		}
		if colon == 0 {
			return "a header field has no name"
		}
		end, ok := valueEnd(text, colon+1)
		if !ok {
			return "a header value has a control character"
		}
		name, value := text[:colon], message.TrimOWS(text[colon+1:end])
		text = text[end+2:]
		if !special(len(name)) {
			h.Append(name, value)
			continue
		}
		if why := f.take(h, name, value); why != "" {
			return why
		}
	}
	return ""
}

// badName says what is wrong with a line that is not "token:".
func badName(text string, at int) fault {
	switch text[at] {
	case ' ', '\t':
		if at == 0 {
			return "a header line is folded or begins with white space" // RFC 9112 §5.2, §2.2.
		}
		return "white space stands before the colon of a header field" // RFC 9112 §5.1.
	case '\r', '\n':
		return "a header line has no colon"
	}
	return "a header field name has a character that is not allowed"
}

// valueEnd finds the CRLF behind a value that starts at from.
func valueEnd(text string, from int) (end int, ok bool) {
	for i := from; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == 0x7f {
			if c == '\t' {
				continue
			}
			// A CR is the line's end only with its LF: a bare one is refused.
			return i, c == '\r' && text[i+1] == '\n'
		}
	}
	return 0, false
}

// specialLengths marks the lengths of the names that framing.take knows, so that most
// fields are passed on without a comparison.
const specialLengths = 1<<2 | 1<<4 | 1<<6 | 1<<7 | 1<<10 | 1<<14 | 1<<16 | 1<<17 | 1<<18 | 1<<19 | 1<<25

func special(n int) bool { return n < 32 && specialLengths&(1<<n) != 0 }

// take looks at a field whose name has a length of those that frame, route or
// belong to one connection only.
func (f *framing) take(h *message.Header, name, value string) fault {
	is := func(s string) bool { return message.EqualFold(name, s) }
	switch len(name) {
	case 2:
		if is("TE") {
			f.teTrailers = f.teTrailers || message.HasToken(value, "trailers")
			return ""
		}
	case 4:
		if is("Host") {
			f.hosts++
			f.host = value
			return ""
		}
		if is("Date") {
			f.hasDate = true
		}
	case 6:
		if is("Expect") {
			// One that is not understood is not forgotten because of one that is.
			if f.expect == "" || message.EqualFold(f.expect, "100-continue") {
				f.expect = value
			}
			return ""
		}
	case 7:
		if is("Upgrade") {
			if f.upgrade != "" {
				value = f.upgrade + ", " + value
			}
			f.upgrade = value
			return ""
		}
		if is("Trailer") {
			return ""
		}
	case 10:
		if is("Connection") {
			return f.takeConnection(value)
		}
		if is("Keep-Alive") {
			return ""
		}
	case 14:
		if is("Content-Length") {
			return f.takeLength(value)
		}
		if is("HTTP2-Settings") {
			return ""
		}
	case 16:
		if is("Proxy-Connection") {
			return ""
		}
	case 17:
		if is("Transfer-Encoding") {
			f.encodings++
			f.chunked = message.EqualFold(value, "chunked")
			f.badCoding, f.coding = f.badCoding || !f.chunked, value
			return ""
		}
	case 18, 19, 25:
		if is("Proxy-Authenticate") || is("Proxy-Authorization") || is("Proxy-Authentication-Info") {
			return ""
		}
	}
	h.Append(name, value)
	return ""
}

func (f *framing) takeLength(value string) fault {
	if f.hasLength {
		return "Content-Length is given twice" // RFC 9112 §6.3 item 5.
	}
	f.hasLength = true
	n, ok := message.ParseLength(value)
	if !ok {
		return "Content-Length is not a plain number"
	}
	f.length = n
	return ""
}

// takeConnection reads the options of a Connection field (RFC 9110 §7.6.1).
func (f *framing) takeConnection(value string) fault {
	before := f.options
	for rest := value; rest != ""; {
		var option string
		option, rest = message.NextListItem(rest)
		switch {
		case option == "":
		case message.EqualFold(option, "close"):
			f.close = true
		case message.EqualFold(option, "keep-alive"):
			f.keepAlive = true
		case message.EqualFold(option, "upgrade"):
			f.wantsUp = true
		case !message.ValidName(option):
			return "Connection holds something that is not a field name"
		case endToEnd(option):
			return "Connection names a field that is not hop-by-hop"
		default:
			if f.options++; f.options > maxConnectionOptions {
				return "Connection names too many fields"
			}
		}
	}
	switch {
	case f.options == before:
	case before == 0:
		f.named = value
	default:
		f.named += "," + value
	}
	return ""
}

// maxConnectionOptions bounds what it costs to remove the fields that Connection
// names.
const maxConnectionOptions = 32

// endToEnd says whether a field must never be removed because Connection names
// it: those that frame, route, authenticate or say where a request came from.
func endToEnd(name string) bool {
	switch len(name) {
	case 3:
		return message.EqualFold(name, "Via")
	case 4:
		return message.EqualFold(name, "Host") || message.EqualFold(name, "Date")
	case 6:
		return message.EqualFold(name, "Cookie") || message.EqualFold(name, "Expect")
	case 9:
		return message.EqualFold(name, "Forwarded") || message.EqualFold(name, "X-Real-IP")
	case 10:
		return message.EqualFold(name, "Set-Cookie")
	case 13:
		return message.EqualFold(name, "Authorization") || message.EqualFold(name, "Cache-Control")
	case 17:
		return message.EqualFold(name, "Transfer-Encoding")
	}
	return strings.HasPrefix(message.LowerASCII(name), "x-forwarded-") ||
		strings.HasPrefix(message.LowerASCII(name), "content-")
}

// dropNamed removes the fields that Connection named.
func (f *framing) dropNamed(h *message.Header) {
	for rest := f.named; rest != ""; {
		var option string
		option, rest = message.NextListItem(rest)
		if option != "" {
			h.Del(option)
		}
	}
}
