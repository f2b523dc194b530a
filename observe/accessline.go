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
		{"client", "string", true, "IP address of the client, after PROXY protocol and trusted proxies."},
		{"listener", "string", true, "Name of the listener."},
		{"protocol", "string", true, "HTTP version that the client spoke."},
		{"scheme", "string", true, "http or https: how the client reached the gateway."},
		{"tls_version", "string", false, "Version of TLS that the client spoke."},
		{"tls_server_name", "string", false, "Name that the client asked for in the handshake (SNI)."},
		{"client_certificate_subject", "string", false, "Whom the client's certificate is for, where an authority of the listener has issued it."},
		{"client_certificate_fingerprint", "string", false, "Its SHA-256 in hexadecimal."},
		{"method", "string", true, "Request method."},
		{"host", "string", true, "Host, with the port if the client named one."},
		{"path", "string", true, "Path as the client sent it."},
		{"query", "string", false, "Query as the origin got it, without the question mark; values of credential-like parameters are `***`."},
		{"user_agent", "string", false, "User-Agent field."},
		{"referer", "string", false, "Referer field; its query is redacted like `query`, user information and fragment are left out."},
		{"request_id", "string", false, "The request's id, where a policy gave it one."},
		{"consumer", "string", false, "Name of the consumer, where a policy identified one."},
		{"route", "string", false, "Name of the route that matched."},
		{"upstream", "string", false, "Name of the upstream that was asked last."},
		{"upstream_group", "string", false, "Name of the upstream of which that one is a member; of several the outermost."},
		{"endpoint", "string", false, "Address of the origin whose answer was used, or that was asked last."},
		{"fallback", "string", false, "What was asked last because the target had failed: the name of an upstream, or the kind of a target."},
		{"fallback_cause", "string", false, "Why the target had failed: the code of a problem, or a status."},
		{"problem", "string", false, "Code of the problem with which the exchange ended."},
		{"problem_source", "string", false, "Who is to blame for the problem: client, upstream, gateway or policy."},
		{"status", "integer", true, "Status of the answer; that of the problem where nothing was sent, or where a refusal was sent as gRPC; 0 where there is neither."},
		{"tries", "integer", false, "How often an origin was asked."},
		{"bytes_in", "integer", true, "Bytes that came from the client, head included."},
		{"bytes_out", "integer", true, "Bytes that were sent to the client, head included."},
		{"duration_us", "integer", true, "Microseconds from `time` to the last byte of the answer."},
		{"upstream_connect_us", "integer", false, "Microseconds that it took to get a connection to the origin."},
		{"upstream_first_byte_us", "integer", false, "Microseconds from `time` to the complete head of the origin's answer."},
	}
}

// appendLine appends one line of the access log for an exchange that is over. It
// writes the fields of LogFields and no other: no header but the two named there
// ever reaches the log. All strings come first, so that each one's closing quote
// is written with the name of the next field.
func appendLine(dst []byte, x *message.Exchange, c *clock) []byte {
	dst = append(dst, `{"time":"`...)
	dst = c.append(dst, x.Times.Started)
	dst = appendRequest(dst, x)
	facts := &x.Facts
	if facts.RequestID != "" {
		dst = append(dst, `","request_id":"`...)
		dst = appendValue(dst, facts.RequestID)
	}
	if facts.Consumer != nil {
		dst = append(dst, `","consumer":"`...)
		dst = appendValue(dst, facts.Consumer.Name)
	}
	if facts.Route != "" {
		dst = append(dst, `","route":"`...)
		dst = appendValue(dst, facts.Route)
	}
	if facts.Upstream != "" {
		dst = append(dst, `","upstream":"`...)
		dst = appendValue(dst, facts.Upstream)
	}
	if facts.UpstreamGroup != "" {
		dst = append(dst, `","upstream_group":"`...)
		dst = appendValue(dst, facts.UpstreamGroup)
	}
	if facts.Endpoint != "" {
		dst = append(dst, `","endpoint":"`...)
		dst = appendValue(dst, facts.Endpoint)
	}
	if facts.Fallback != "" {
		dst = append(dst, `","fallback":"`...)
		dst = appendValue(dst, facts.Fallback)
		dst = append(dst, `","fallback_cause":"`...)
		dst = appendValue(dst, facts.FallbackCause)
	}
	if p := x.Problem(); p != nil {
		dst = append(dst, `","problem":"`...)
		dst = appendValue(dst, p.Code)
		dst = append(dst, `","problem_source":"`...)
		dst = append(dst, p.Source.String()...)
	}
	dst = append(dst, `","status":`...)
	dst = appendFigures(dst, x)
	return append(dst, '}', '\n')
}

// appendRequest appends what the client asked.
func appendRequest(dst []byte, x *message.Exchange) []byte {
	req := &x.Request
	dst = append(dst, `","client":"`...)
	dst = appendValue(dst, x.Client.AddressText)
	dst = append(dst, `","listener":"`...)
	dst = appendValue(dst, x.Client.Listener)
	dst = append(dst, `","protocol":"`...)
	dst = appendValue(dst, req.Protocol)
	dst = append(dst, `","scheme":"`...)
	dst = appendValue(dst, req.Scheme)
	if x.Client.TLS != nil {
		dst = appendTLS(dst, x.Client.TLS)
	}
	dst = append(dst, `","method":"`...)
	dst = appendValue(dst, req.Method)
	dst = append(dst, `","host":"`...)
	dst = appendValue(dst, req.Authority)
	dst = append(dst, `","path":"`...)
	dst = appendValue(dst, loggedPath(req))
	if req.Query != "" {
		dst = append(dst, `","query":"`...)
		dst = appendCut(dst, req.Query, appendQuery)
	}
	if agent := req.Header.Get("User-Agent"); agent != "" {
		dst = append(dst, `","user_agent":"`...)
		dst = appendValue(dst, agent)
	}
	if referer := req.Header.Get("Referer"); referer != "" {
		dst = append(dst, `","referer":"`...)
		dst = appendCut(dst, referer, appendReferer)
	}
	return dst
}

// appendTLS appends what is known of the client's connection.
func appendTLS(dst []byte, t *message.TLS) []byte {
	dst = append(dst, `","tls_version":"`...)
	dst = append(dst, t.Version...)
	if t.ServerName != "" {
		dst = append(dst, `","tls_server_name":"`...)
		dst = appendValue(dst, t.ServerName)
	}
	if c := t.VerifiedCertificate(); c != nil {
		dst = append(dst, `","client_certificate_subject":"`...)
		dst = appendValue(dst, c.Subject)
		dst = append(dst, `","client_certificate_fingerprint":"`...)
		dst = append(dst, c.Fingerprint...)
	}
	return dst
}

// appendFigures appends everything that is a number.
func appendFigures(dst []byte, x *message.Exchange) []byte {
	times, wire := &x.Times, x.Wire()
	dst = strconv.AppendInt(dst, int64(Status(x)), 10)
	if x.Facts.Tries != 0 {
		dst = append(dst, `,"tries":`...)
		dst = strconv.AppendInt(dst, int64(x.Facts.Tries), 10)
	}
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
	return dst
}

// loggedPath is what the client sent. A query that a wire left in it would pass
// the redaction by, so it is cut off.
func loggedPath(req *message.Request) string {
	if req.RawPath == "" {
		return req.Path
	}
	if end := strings.IndexByte(req.RawPath, '?'); end >= 0 {
		return req.RawPath[:end]
	}
	return req.RawPath
}

// appendValue appends a string without its quotes, cut if it is too long.
func appendValue(dst []byte, value string) []byte {
	if len(value) <= maxLogged && allPlain(value) {
		return append(dst, value...)
	}
	return appendCut(dst, value, appendText)
}

// appendCut appends what write makes of the first maxLogged bytes of a value.
func appendCut(dst []byte, value string, write func([]byte, string) []byte) []byte {
	if len(value) <= maxLogged {
		return write(dst, value)
	}
	dst = write(dst, value[:maxLogged])
	return append(dst, "…"...)
}
