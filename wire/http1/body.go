package http1

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// body is an incoming body on either side. It belongs to its connection, which
// uses it for one message after the other.
//
// advance parses what is in the buffer and never reads; Next reads when advance
// has nothing more. That is why Ready can tell whether Next would block.
type body struct {
	st    *stream
	owner bodyOwner

	kind      bodyKind
	length    int64 // announced, -1 if not known
	remaining int64 // of the body, or of the current chunk
	state     chunkState
	trailer   message.Header
	err       error // io.EOF at the clean end
	closed    bool

	trailerLimit   int
	extensionLimit int
	maxFields      int
}

// bodyOwner is the connection that carries a body.
type bodyOwner interface {
	// fillBody waits for more bytes of the body and puts them into the stream; its
	// error is final and is what Next returns.
	fillBody() error
	// malformed makes an error of a body that is not framed as it must be.
	malformed(why string) error
	// bodyDone is called once, by Close; clean says that the body was read to its
	// end.
	bodyDone(clean bool)
}

type bodyKind uint8

const (
	noBody bodyKind = iota
	fixedBody
	chunkedBody
	untilClose
)

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd // the CRLF behind the data
	chunkTrailer
)

func (b *body) start(kind bodyKind, length int64) {
	b.kind, b.length, b.remaining, b.state = kind, length, 0, chunkSize
	if kind == fixedBody {
		b.remaining = length
	}
	b.trailer.Reset()
	b.err, b.closed = nil, false
}

// Length implements message.Body.
func (b *body) Length() int64 { return b.length }

// Trailer implements message.Body.
func (b *body) Trailer() *message.Header {
	if b.trailer.Len() == 0 {
		return nil
	}
	return &b.trailer
}

// Ready implements message.Ready.
func (b *body) Ready() bool { return b.advance() > 0 || b.err != nil }

// Next implements message.Body.
func (b *body) Next() ([]byte, error) {
	for {
		if n := b.advance(); n > 0 {
			chunk := b.st.buf[b.st.r : b.st.r+n]
			b.st.r += n
			if b.kind != untilClose {
				b.remaining -= int64(n)
			}
			return chunk, nil
		}
		if b.err == nil {
			b.err = b.fill()
		}
		if b.err != nil {
			return nil, b.err
		}
	}
}

// Wait implements message.Waiter. The body of a request is not waited for: it is as good as ready.
func (b *body) Wait(d time.Duration) bool {
	c, ok := b.owner.(*ClientConn)
	for by := clock() + int64(d); ok && !b.Ready(); {
		c.waitBy = by
		err := b.fill()
		c.waitBy = 0
		if err == errNotYet {
			return false
		}
		b.err = err
	}
	return true
}

// errNotYet is that nothing came in the time for which somebody waited.
var errNotYet = errors.New("http1: nothing has come yet")

func (b *body) fill() error {
	if b.closed {
		return errBodyClosed
	}
	if b.remaining > int64(len(b.st.buf)) || b.kind == untilClose {
		b.st.grow()
	}
	return b.owner.fillBody()
}

var errBodyClosed = errors.New("http1: body was closed")

// Close implements message.Body. Only Close ends the exchange on a connection: at
// the end of the body the trailer is still to be had.
func (b *body) Close() error {
	if !b.closed && b.err == nil && b.advance() == 0 && b.err == io.EOF {
		b.finish(true) // All of it was there, only nobody had asked.
		return nil
	}
	b.finish(b.err == io.EOF)
	return nil
}

func (b *body) finish(clean bool) {
	if b.closed {
		return
	}
	b.closed = true
	b.owner.bodyDone(clean)
}

// advance parses what is there up to the next bytes of the body, sets b.err at the
// end or where the framing is wrong, and returns the number of bytes that Next
// can return without reading.
func (b *body) advance() int {
	if b.err != nil {
		return 0
	}
	switch b.kind {
	case fixedBody:
		if b.remaining == 0 {
			b.err = io.EOF
		}
		return int(min(b.remaining, int64(b.st.buffered())))
	case untilClose:
		return b.st.buffered()
	case chunkedBody:
		return b.advanceChunk()
	}
	b.err = io.EOF
	return 0
}

func (b *body) advanceChunk() int {
	for b.err == nil {
		switch b.state {
		case chunkSize:
			if !b.parseSize() {
				return 0
			}
		case chunkData:
			if b.remaining > 0 {
				return int(min(b.remaining, int64(b.st.buffered())))
			}
			b.state = chunkEnd
		case chunkEnd:
			if b.st.buffered() < 2 {
				return 0
			}
			if b.st.buf[b.st.r] != '\r' || b.st.buf[b.st.r+1] != '\n' {
				b.err = b.owner.malformed("chunk data is not followed by CRLF")
				return 0
			}
			b.st.r += 2
			b.state = chunkSize
		case chunkTrailer:
			b.parseTrailer()
			return 0
		}
	}
	return 0
}

// parseSize reads "size [extensions] CRLF" (RFC 9112 §7.1): 1 to 16 hex digits,
// no sign, no prefix, no white space. Extensions are checked and dropped.
func (b *body) parseSize() bool {
	line := b.st.buf[b.st.r:b.st.w]
	lf := bytes.IndexByte(line, '\n')
	if lf < 0 {
		if len(line) > 16+2+b.extensionLimit {
			b.err = b.owner.malformed("a chunk size line is too long")
		}
		return false
	}
	if lf == 0 || line[lf-1] != '\r' {
		b.err = b.owner.malformed("a chunk size line does not end in CRLF")
		return false
	}
	line = line[:lf-1]
	var size uint64
	digits := 0
	for digits < len(line) {
		v := hexValue[line[digits]]
		if v < 0 {
			break
		}
		size = size<<4 | uint64(v)
		digits++
	}
	switch {
	case digits == 0 || digits > 16 || size > 1<<62:
		b.err = b.owner.malformed("a chunk size is not 1 to 16 hex digits")
		return false
	case len(line)-digits > b.extensionLimit:
		b.err = b.owner.malformed("a chunk extension is too long")
		return false
	case !validExtensions(line[digits:]):
		b.err = b.owner.malformed("a chunk extension is malformed")
		return false
	}
	b.st.r += lf + 1
	b.remaining, b.state = int64(size), chunkData
	if size == 0 {
		b.state = chunkTrailer
	}
	return true
}

var hexValue = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = int8(c - '0')
	}
	for c := 'a'; c <= 'f'; c++ {
		t[c], t[c-'a'+'A'] = int8(c-'a'+10), int8(c-'a'+10)
	}
	return t
}()

// validExtensions checks *( ";" name [ "=" ( token / quoted-string ) ] ) (RFC 9112
// §7.1.1). White space around the parts ("bad" in the RFC) is refused.
func validExtensions(ext []byte) bool {
	i := 0
	token := func() bool {
		start := i
		for i < len(ext) && message.IsToken(ext[i]) {
			i++
		}
		return i > start
	}
	for i < len(ext) {
		if ext[i] != ';' {
			return false
		}
		i++
		if !token() {
			return false
		}
		if i == len(ext) || ext[i] != '=' {
			continue
		}
		i++
		if i < len(ext) && ext[i] == '"' {
			end, ok := quotedEnd(ext, i+1)
			if !ok {
				return false
			}
			i = end
		} else if !token() {
			return false
		}
	}
	return true
}

func quotedEnd(ext []byte, i int) (int, bool) {
	for ; i < len(ext); i++ {
		switch c := ext[i]; {
		case c == '"':
			return i + 1, true
		case c == '\\':
			i++
			if i == len(ext) || ext[i] < ' ' && ext[i] != '\t' || ext[i] == 0x7f {
				return 0, false
			}
		case c < ' ' && c != '\t' || c == 0x7f:
			return 0, false
		}
	}
	return 0, false
}

// parseTrailer waits until the whole trailer section is there and keeps those of
// its fields that may stand there.
func (b *body) parseTrailer() {
	section := b.st.buf[b.st.r:b.st.w]
	var scan headScan
	end, ok := scan.scan(section)
	switch {
	case !ok:
		b.err = b.owner.malformed("a trailer line does not end in CRLF")
	case end == 0 && len(section) > b.trailerLimit, end > b.trailerLimit:
		b.err = b.owner.malformed("the trailer section is too large")
	case scan.lines > b.maxFields:
		b.err = b.owner.malformed("the trailer section has too many fields")
	case end > 0:
		var f framing
		var all message.Header
		if end > 2 {
			if why := parseFields(string(section[:end]), &all, &f); why != "" {
				b.err = b.owner.malformed(string(why))
				return
			}
		}
		b.st.r += end
		message.KeepTrailers(&all)
		b.trailer.CopyFrom(&all)
		b.err = io.EOF
	}
}
