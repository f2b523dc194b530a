package observe

import (
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// maxLogged is how many bytes of one value a line of the access log shows; what
// is longer is cut and ends in "…". With it a line is at most some 60 KiB, where
// every byte needs an escape.
const maxLogged = 2048

// clock is the text of the second in which the last line began: it is formatted
// anew once a second, not once a line.
type clock struct {
	second int64
	text   [len("2006-01-02T15:04:05")]byte
}

// append appends t in UTC as RFC 3339 with milliseconds.
func (c *clock) append(dst []byte, t time.Time) []byte {
	// The zero clock holds no text; second 0 is 1970.
	if second := t.Unix(); second != c.second || c.text[0] == 0 {
		t.UTC().AppendFormat(c.text[:0], "2006-01-02T15:04:05")
		c.second = second
	}
	dst = append(dst, c.text[:]...)
	ms := t.Nanosecond() / 1e6
	return append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// LogField describes a field of the access log, for the documentation.
type LogField struct {
	Name string
	Type string // "string" or "integer"
	// Always says that every line has the field; others are left out where there
	// is nothing to say.
	Always bool
	Help   string
}

// LogFields lists the fields of the access log in the order in which they stand.
func LogFields() []LogField {
	return []LogField{
		{"time", "string", true, "When the head of the request was complete: RFC 3339, UTC, milliseconds."},
		{"request_id", "string", false, "The request's id, where a policy gave it one."},
		{"client", "string", true, "IP address of the client, after PROXY protocol and trusted proxies."},
		{"listener", "string", true, "Name of the listener."},
		{"method", "string", true, "Request method."},
		{"scheme", "string", true, "http or https: how the client reached the gateway."},
		{"host", "string", true, "Host, with the port if the client named one."},
		{"path", "string", true, "Path as the client sent it."},
		{"query", "string", false, "Query without the question mark; values of credential-like parameters are `***`."},
		{"protocol", "string", true, "HTTP version the client spoke."},
		{"route", "string", false, "Name of the route that matched."},
		{"upstream", "string", false, "Name of the upstream that was asked last."},
		{"endpoint", "string", false, "Address of the origin that was asked last."},
		{"tries", "integer", false, "How often an origin was asked."},
		{"status", "integer", true, "Status of the answer; that of the problem where nothing was sent; 0 where there is neither."},
		{"problem", "string", false, "Code of the problem with which the exchange ended."},
		{"problem_source", "string", false, "Who is to blame for the problem: client, upstream, gateway or policy."},
		{"bytes_in", "integer", true, "Bytes that came from the client, head included."},
		{"bytes_out", "integer", true, "Bytes that were sent to the client, head included."},
		{"duration_us", "integer", true, "Microseconds from `time` to the last byte of the answer."},
		{"upstream_connect_us", "integer", false, "Microseconds that it took to get a connection to the origin."},
		{"upstream_first_byte_us", "integer", false, "Microseconds from `time` to the complete head of the origin's answer."},
		{"consumer", "string", false, "Name of the consumer, where a policy identified one."},
		{"user_agent", "string", false, "User-Agent field."},
		{"referer", "string", false, "Referer field; its query is redacted like `query`, user information and fragment are left out."},
	}
}

// appendLine appends one line of the access log for an exchange that is over. It
// writes the fields of LogFields and no other: no header but the two named there
// ever reaches the log.
func appendLine(dst []byte, x *message.Exchange, c *clock) []byte {
	req, facts, times := &x.Request, &x.Facts, &x.Times
	dst = append(dst, `{"time":"`...)
	dst = c.append(dst, times.Started)
	dst = append(dst, '"')
	dst = appendOptional(dst, `,"request_id":`, facts.RequestID)
	dst = appendField(dst, `,"client":`, x.Client.AddressText)
	dst = appendField(dst, `,"listener":`, x.Client.Listener)
	dst = appendField(dst, `,"method":`, req.Method)
	dst = appendField(dst, `,"scheme":`, req.Scheme)
	dst = appendField(dst, `,"host":`, req.Authority)
	dst = appendField(dst, `,"path":`, loggedPath(req))
	if req.Query != "" {
		dst = append(dst, `,"query":"`...)
		dst = appendCut(dst, req.Query, appendQuery)
		dst = append(dst, '"')
	}
	dst = appendField(dst, `,"protocol":`, req.Protocol)
	dst = appendOptional(dst, `,"route":`, facts.Route)
	dst = appendOptional(dst, `,"upstream":`, facts.Upstream)
	dst = appendOptional(dst, `,"endpoint":`, facts.Endpoint)
	if facts.Tries != 0 {
		dst = append(dst, `,"tries":`...)
		dst = strconv.AppendInt(dst, int64(facts.Tries), 10)
	}
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(Status(x)), 10)
	if p := x.Problem(); p != nil {
		dst = appendField(dst, `,"problem":`, p.Code)
		dst = appendField(dst, `,"problem_source":`, p.Source.String())
	}
	wire := x.Wire()
	dst = append(dst, `,"bytes_in":`...)
	dst = strconv.AppendInt(dst, wire.BytesIn(), 10)
	dst = append(dst, `,"bytes_out":`...)
	dst = strconv.AppendInt(dst, wire.BytesOut(), 10)
	dst = append(dst, `,"duration_us":`...)
	dst = strconv.AppendInt(dst, times.Done.Microseconds(), 10)
	if times.Connected != 0 {
		dst = append(dst, `,"upstream_connect_us":`...)
		dst = strconv.AppendInt(dst, times.Connected.Microseconds(), 10)
	}
	if times.FirstByte != 0 {
		dst = append(dst, `,"upstream_first_byte_us":`...)
		dst = strconv.AppendInt(dst, times.FirstByte.Microseconds(), 10)
	}
	if facts.Consumer != nil {
		dst = appendField(dst, `,"consumer":`, facts.Consumer.Name)
	}
	dst = appendOptional(dst, `,"user_agent":`, req.Header.Get("User-Agent"))
	if referer := req.Header.Get("Referer"); referer != "" {
		dst = append(dst, `,"referer":"`...)
		dst = appendCut(dst, referer, appendReferer)
		dst = append(dst, '"')
	}
	return append(dst, '}', '\n')
}

// loggedPath is what the client sent. A query that a wire left in it would pass
// the redaction by, so it is cut off.
func loggedPath(req *message.Request) string {
	if req.RawPath == "" {
		return req.Path
	}
	path, _, _ := strings.Cut(req.RawPath, "?")
	return path
}

func appendOptional(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendField(dst, name, value)
}

// appendField appends a member; name stands with its comma, quotes and colon.
func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	if len(value) <= maxLogged {
		return appendString(dst, value)
	}
	dst = append(dst, '"')
	dst = appendCut(dst, value, appendText)
	return append(dst, '"')
}

// appendCut appends what write makes of the first maxLogged bytes of a value.
func appendCut(dst []byte, value string, write func([]byte, string) []byte) []byte {
	if len(value) <= maxLogged {
		return write(dst, value)
	}
	dst = write(dst, value[:maxLogged])
	return append(dst, "…"...)
}
