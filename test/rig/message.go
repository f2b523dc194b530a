package rig

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Field is one header field as it came over the wire.
type Field struct{ Name, Value string }

// Message is a request or an answer as it came over the wire. It is read by code
// that shares nothing with the gateway, and that is strict: a test must notice
// when the gateway writes something odd.
type Message struct {
	Line     string // the request line or the status line
	Fields   []Field
	Body     string
	Framing  string // none, length, chunked or close
	Trailers []Field
	// Incomplete says why the body ended before its end, nil where it did not.
	Incomplete error
}

// Status is the number in a status line, 0 in a request.
func (m *Message) Status() int {
	parts := strings.SplitN(m.Line, " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(m.Line, "HTTP/") {
		return 0
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return n
}

// Values are all values of a field.
func Values(fields []Field, name string) []string {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// Value is all values of a field, joined by ", ".
func (m *Message) Value(name string) string { return strings.Join(Values(m.Fields, name), ", ") }

func (m *Message) String() string {
	var b strings.Builder
	b.WriteString(m.Line + "\n")
	for _, f := range m.Fields {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	if m.Body != "" {
		b.WriteString("\n" + Quote(m.Body) + "\n")
	}
	for _, f := range m.Trailers {
		b.WriteString(f.Name + ": " + f.Value + " (trailer)\n")
	}
	if m.Incomplete != nil {
		fmt.Fprintf(&b, "(incomplete: %v)\n", m.Incomplete)
	}
	return b.String()
}

// ReadHead reads a start line and its fields.
func ReadHead(r *bufio.Reader) (*Message, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	m := &Message{Line: line}
	m.Fields, err = readFields(r)
	if err != nil {
		return m, fmt.Errorf("in the head behind %q: %w", line, err)
	}
	return m, nil
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if line != "" {
			return "", fmt.Errorf("%w after %s", err, Quote(line))
		}
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("a line that does not end in CRLF, or has controls: %s", Quote(line))
	}
	return text, nil
}

func readFields(r *bufio.Reader) ([]Field, error) {
	var fields []Field
	for {
		line, err := readLine(r)
		if err != nil {
			return fields, unexpected(err)
		}
		if line == "" {
			return fields, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return fields, fmt.Errorf("not a field line: %s", Quote(line))
		}
		fields = append(fields, Field{name, strings.Trim(value, " \t")})
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReadBody reads what stands behind the head of m (RFC 9112 §6.3). bodyless says
// that there is none whatever the head announces: HEAD, 1xx, 204, 304. What the
// body lacks is in m.Incomplete; the error is for what is no framing at all.
func (m *Message) ReadBody(r *bufio.Reader, bodyless bool) error {
	b, err := m.open(r, bodyless)
	if err != nil {
		return err
	}
	return m.readAll(b)
}

func (m *Message) readAll(b *body) error {
	data, err := io.ReadAll(b)
	m.Body = string(data)
	var cut *cutError
	if errors.As(err, &cut) {
		m.Incomplete = cut.error
		return nil
	}
	return err
}

// open chooses how the body is framed.
func (m *Message) open(r *bufio.Reader, bodyless bool) (*body, error) {
	coding, length := m.Value("Transfer-Encoding"), Values(m.Fields, "Content-Length")
	status := m.Status()
	b := &body{message: m, r: r}
	m.Framing = "none"
	switch {
	case coding != "" && len(length) > 0:
		return nil, fmt.Errorf("both Content-Length and Transfer-Encoding:\n%s", m)
	case coding != "" && coding != "chunked":
		return nil, fmt.Errorf("an odd Transfer-Encoding:\n%s", m)
	case len(length) > 1:
		return nil, fmt.Errorf("two Content-Length:\n%s", m)
	case bodyless, status >= 100 && status < 200, status == 204, status == 304:
		b.done = true
	case coding != "":
		m.Framing = "chunked"
	case len(length) == 1:
		m.Framing = "length"
		n, err := strconv.ParseUint(length[0], 10, 62)
		if err != nil {
			return nil, fmt.Errorf("an odd Content-Length:\n%s", m)
		}
		b.left = int64(n)
		b.done = n == 0
	case status == 0:
		b.done = true
	default:
		m.Framing = "close"
	}
	return b, nil
}

// cutError says that a body ended before its end.
type cutError struct{ error }

// body reads the body of a message without its framing.
type body struct {
	message *Message
	r       *bufio.Reader
	left    int64 // of the body, or of the chunk
	done    bool
}

// Read implements io.Reader. Where the body is cut, the error is a cutError.
func (b *body) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if b.message.Framing == "close" {
		n, err := b.r.Read(p)
		if err != nil && !errors.Is(err, io.EOF) {
			err = &cutError{err}
		}
		return n, err
	}
	if b.left == 0 {
		if err := b.nextChunk(); err != nil || b.done {
			return 0, cmp.Or(err, io.EOF)
		}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case err != nil:
		return n, &cutError{unexpected(err)}
	case b.left > 0:
		return n, nil
	case b.message.Framing == "length":
		b.done = true
		return n, nil
	}
	if end, err := readLine(b.r); err != nil || end != "" {
		return n, &cutError{fmt.Errorf("no CRLF behind a chunk: %q %v", end, err)}
	}
	return n, nil
}

// nextChunk reads the line in front of a chunk, and the trailers behind the last.
func (b *body) nextChunk() error {
	line, err := readLine(b.r)
	if err != nil {
		return &cutError{unexpected(err)}
	}
	size, err := strconv.ParseUint(line, 16, 62)
	if err != nil {
		return fmt.Errorf("an odd chunk size: %s", Quote(line))
	}
	b.left = int64(size)
	if size > 0 {
		return nil
	}
	b.message.Trailers, err = readFields(b.r)
	if err != nil {
		return &cutError{err}
	}
	b.done = true
	return nil
}
