package engine

import (
	"strconv"
	"unicode/utf8"

	"github.com/sluice-gateway/sluice/message"
)

// ProblemType is the URI reference under which a code is described (RFC 9457
// §3.1.1); what follows the '#' is the code.
const ProblemType = "https://github.com/sluice-gateway/sluice/blob/main/docs/problems.md#"

// appendProblem appends the problem document: the members of RFC 9457 §3.1 and our own,
// code, source, retry and request_id.
func appendProblem(out []byte, p *message.Problem, requestID string) []byte {
	out = append(out, `{"type":"`+ProblemType...)
	out = append(out, p.Code...)
	out = append(out, `","title":`...)
	out = appendString(out, p.Title)
	out = append(out, `,"status":`...)
	out = strconv.AppendInt(out, int64(p.Status), 10)
	if p.Detail != "" {
		out = append(out, `,"detail":`...)
		out = appendString(out, p.Detail)
	}
	out = append(out, `,"code":"`...)
	out = append(out, p.Code...)
	out = append(out, `","source":"`...)
	out = append(out, p.Source.String()...)
	out = append(out, `","retry":"`...)
	out = append(out, p.Retry.String()...)
	out = append(out, '"')
	if requestID != "" {
		out = append(out, `,"request_id":`...)
		out = appendString(out, requestID)
	}
	return append(out, "}\n"...)
}

// appendString appends a JSON string (RFC 8259 §7).
func appendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
			i++
		case c < ' ' || c == 0x7f:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			out = utf8.AppendRune(out, r) // An invalid byte becomes U+FFFD.
			i += size
		}
	}
	return append(out, '"')
}
