// Package template puts values of an exchange into strings of the configuration:
// "/v2/{path.id}" or "{client.address}".
//
// A template is parsed when the configuration is compiled; an unknown variable
// is an error there, never a surprise later. At run time a literal and a single
// variable cost no allocation, everything else one. A value that is not there
// is empty.
//
// Policies and targets parse and use templates; All lists the variables, and
// README.md explains them.
package template

import (
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/rawquery"
	"github.com/sluice-gateway/sluice/message"
)

// Limits of one template. The text of a body may be long; what multiplies the
// bytes of a request is the number of variables.
const (
	MaxText      = 1 << 20 // bytes
	MaxVariables = 256
)

// Use says where a template stands: what it may speak of, and how values are
// written there. The zero value is a template that is used before the answer
// is known, with values written as they are.
type Use struct {
	// Answered says that x.Response is filled when the template is used, so that
	// response.*, upstream and endpoint have values.
	Answered bool
	// Escape says how values, not the literal text, are written.
	Escape Escape
	// Loose leaves braces alone that enclose no known variable: for texts that
	// are full of braces, like JSON or CSS. "{{client.address}}" is then the literal
	// "{client.address}"; other doubled braces stay as they are.
	Loose bool
}

// Template is a parsed template. It is immutable and used by many goroutines.
type Template struct {
	pieces  []piece
	literal string
	escape  Escape
}

// piece is a literal text, or a variable with the name behind its last dot.
type piece struct {
	text     string
	variable variable // none: text is literal
}

// Literal returns a template without variables: braces mean nothing in text.
func Literal(text string) *Template { return &Template{literal: text} }

// IsLiteral says whether the template has no variables, so that String returns
// the same for every exchange.
func (t *Template) IsLiteral() bool { return len(t.pieces) == 0 }

// Variables lists the variables in the order in which they stand, without
// braces: "request.header.x-team".
func (t *Template) Variables() []string {
	var names []string
	for _, p := range t.pieces {
		if p.variable != none {
			names = append(names, p.variable.name(p.text))
		}
	}
	return names
}

// Shape returns the text with every variable replaced by "x", and request.path by
// "/x": what a check while the configuration is compiled looks at.
func (t *Template) Shape() string {
	if len(t.pieces) == 0 {
		return t.literal
	}
	var b strings.Builder
	for _, p := range t.pieces {
		switch p.variable {
		case none:
			b.WriteString(p.text)
		case requestPath:
			b.WriteString("/x")
		default:
			b.WriteByte('x')
		}
	}
	return b.String()
}

// stackRoom is how long a result may be before String needs more than the one
// allocation for the string itself.
const stackRoom = 512

// String returns the text for this exchange. A literal and a single variable cost no
// allocation, unless the value itself has to be put together: several header
// fields of one name, or a value that must be escaped or decoded. It may be kept.
func (t *Template) String(x *message.Exchange) string {
	switch len(t.pieces) {
	case 0:
		return t.literal
	case 1:
		p := &t.pieces[0]
		if text, ok := p.plain(x); ok && !t.escape.changes(p.variable, text) {
			return text
		}
	}
	var room [stackRoom]byte
	return string(t.Append(room[:0], x))
}

// Append appends the text for this exchange to dst. It allocates only where dst is
// too short.
func (t *Template) Append(dst []byte, x *message.Exchange) []byte {
	if len(t.pieces) == 0 {
		return append(dst, t.literal...)
	}
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.variable == none {
			dst = append(dst, p.text...)
			continue
		}
		if text, ok := p.plain(x); ok {
			dst = t.escape.append(dst, p.variable, text)
			continue
		}
		dst = p.appendComposed(dst, x, t.escape)
	}
	return dst
}

// plain returns the value of a variable where it is one string already.
func (p *piece) plain(x *message.Exchange) (value string, ok bool) {
	switch p.variable {
	case clientAddress:
		return x.Client.AddressText, true
	case certificateSubject, certificateIssuer, certificateNames, certificateSerial, certificateFingerprint, certificateNotAfter:
		return p.certificate(x.Client.TLS.VerifiedCertificate())
	case tlsVersion, tlsCipher, tlsServerName:
		return p.tls(x.Client.TLS), true
	case listener:
		return x.Client.Listener, true
	case requestID:
		return x.Facts.RequestID, true
	case requestMethod:
		return x.Request.Method, true
	case requestScheme:
		return x.Request.Scheme, true
	case requestHost:
		return x.Request.Host(), true
	case requestAuthority:
		return x.Request.Authority, true
	case requestPath:
		return x.Request.Path, true
	case requestQuery:
		return x.Request.Query, true
	case requestHeader:
		return oneField(&x.Request.Header, p.text)
	case requestQueryValue:
		raw := rawquery.Value(x.Request.Query, p.text)
		return raw, !rawquery.Encoded(raw)
	case requestCookie:
		return cookie(&x.Request.Header, p.text), true
	case pathParam:
		return x.Facts.Params.Get(p.text), true
	case consumerName:
		if x.Facts.Consumer == nil {
			return "", true
		}
		return x.Facts.Consumer.Name, true
	case consumerGroups:
		if x.Facts.Consumer == nil {
			return "", true
		}
		return x.Facts.Consumer.GroupList, true
	case routeName:
		return x.Facts.Route, true
	case upstreamName:
		return x.Facts.Upstream, true
	case endpoint:
		return x.Facts.Endpoint, true
	case responseStatus:
		return statusText(x.Response.Status), true
	case responseHeader:
		return oneField(&x.Response.Header, p.text)
	}
	return p.text, true
}

// certificate returns a value of the client's certificate; c is nil where there is none
// that an authority of the listener has issued.
func (p *piece) certificate(c *message.ClientCertificate) (value string, ok bool) {
	if c == nil {
		return "", true
	}
	switch p.variable {
	case certificateSubject:
		return c.Subject, true
	case certificateIssuer:
		return c.Issuer, true
	case certificateNames:
		return c.NameList, true
	case certificateSerial:
		return c.Serial, true
	case certificateFingerprint:
		return c.Fingerprint, true
	}
	return "", false
}

// tls returns a value of the client's connection; t is nil without TLS.
func (p *piece) tls(t *message.TLS) string {
	if t == nil {
		return ""
	}
	switch p.variable {
	case tlsVersion:
		return t.Version
	case tlsCipher:
		return t.Suite
	}
	return t.ServerName
}

// appendComposed writes a value that is not one string in the message.
func (p *piece) appendComposed(dst []byte, x *message.Exchange, escape Escape) []byte {
	switch p.variable {
	case requestHeader:
		return appendFields(dst, &x.Request.Header, p, escape)
	case responseHeader:
		return appendFields(dst, &x.Response.Header, p, escape)
	case certificateNotAfter:
		var room [len(time.RFC3339)]byte
		text := x.Client.TLS.VerifiedCertificate().NotAfter.UTC().AppendFormat(room[:0], time.RFC3339)
		return appendEscapedBytes(dst, text, escape, p.variable)
	case requestQueryValue:
		var room [stackRoom]byte
		decoded := rawquery.AppendDecoded(room[:0], rawquery.Value(x.Request.Query, p.text))
		return appendEscapedBytes(dst, decoded, escape, p.variable)
	}
	return dst
}

// oneField returns the value of a field, and false if there are several.
func oneField(h *message.Header, name string) (value string, ok bool) {
	found := false
	for _, f := range h.Fields() {
		if !message.EqualFold(f.Name, name) {
			continue
		}
		if found {
			return "", false
		}
		value, found = f.Value, true
	}
	return value, true
}

// appendFields writes all fields of a name as one list (RFC 9110 §5.3): a second
// field that a client adds is seen, not passed over.
func appendFields(dst []byte, h *message.Header, p *piece, escape Escape) []byte {
	first := true
	for _, f := range h.Fields() {
		if !message.EqualFold(f.Name, p.text) {
			continue
		}
		if !first {
			dst = escape.append(dst, p.variable, ", ")
		}
		first = false
		dst = escape.append(dst, p.variable, f.Value)
	}
	return dst
}

// cookie returns the value of the first cookie of this name as it was sent (RFC
// 6265 §4.2.1); names are compared exactly.
func cookie(h *message.Header, name string) string {
	for _, f := range h.Fields() {
		if !message.EqualFold(f.Name, "Cookie") {
			continue
		}
		for rest := f.Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			key, value, _ := strings.Cut(message.TrimOWS(pair), "=")
			if key == name {
				return value
			}
		}
	}
	return ""
}

// statuses holds the digits of 100 to 599, so that a status costs no allocation.
var statuses = func() string {
	var b strings.Builder
	for status := 100; status < 600; status++ {
		b.WriteByte(byte('0' + status/100))
		b.WriteByte(byte('0' + status/10%10))
		b.WriteByte(byte('0' + status%10))
	}
	return b.String()
}()

// statusText returns the three digits of a status, or "" for what is none.
func statusText(status int) string {
	if status < 100 || status > 599 {
		return ""
	}
	at := (status - 100) * 3
	return statuses[at : at+3]
}
