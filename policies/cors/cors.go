// Package cors tells browsers which pages of other origins may call an API, and answers their preflights.
//
// It follows the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol).
// CORS opens what browsers keep shut by themselves; it does not keep anybody out:
// the browser decides, and who uses none is not asked.
package cors

import (
	"embed"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy cors.
var Kind = policy.Define("cors", policy.Edge, files, build, policy.Problems(notAllowed))

var notAllowed = &message.Problem{
	Status: 403,
	Code:   "cors_origin_not_allowed",
	Title:  "Pages of this origin may not call this API",
	Source: message.SourceClient,
}

const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowMethods     = "Access-Control-Allow-Methods"
	allowHeaders     = "Access-Control-Allow-Headers"
	allowCredentials = "Access-Control-Allow-Credentials"
	exposeHeaders    = "Access-Control-Expose-Headers"
	maxAge           = "Access-Control-Max-Age"
	prefix           = "Access-Control-"
)

// sharing is one cors policy. Everything that is sent is put together once.
type sharing struct {
	everybody bool
	exact     map[string]struct{}
	below     []domain

	methods, headers, exposed, maxAge string
	credentials                       bool

	call policy.Local[call]
}

// domain is the pattern https://*.example.com:8443 in two parts.
type domain struct{ scheme, rest string } // "https://", ".example.com:8443"

// call is what onRequest found out and onResponse needs: policies in between may
// change the request.
type call struct {
	origin    string // the origin to be allowed, or ""
	preflight bool
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	s := &sharing{
		exact:       map[string]struct{}{},
		methods:     strings.Join(c.Methods, ", "),
		headers:     strings.Join(c.Headers, ", "),
		exposed:     strings.Join(c.ExposedHeaders, ", "),
		maxAge:      strconv.FormatInt(int64(c.MaxAge.Std()/time.Second), 10),
		credentials: c.Credentials,
		call:        policy.NewLocal[call](env),
	}
	for _, o := range c.Origins {
		scheme, host, _ := strings.Cut(o.text, "://")
		switch rest, wild := strings.CutPrefix(host, "*"); {
		case o.text == anyone:
			s.everybody = true
		case wild:
			s.below = append(s.below, domain{scheme + "://", rest})
		default:
			s.exact[o.text] = struct{}{}
		}
	}
	return policy.Hooks{OnRequest: s.onRequest, OnResponse: s.onResponse}, nil
}

// onRequest answers preflights itself, so that no policy behind it asks a preflight
// for credentials, which it never has. It allocates nothing.
func (s *sharing) onRequest(x *message.Exchange) message.Verdict {
	r := &x.Request
	origin, given := r.Header.Lookup("Origin")
	if !given {
		return message.Next
	}
	c := s.call.At(x)
	// Two origins are none: a browser sends one.
	if s.allows(origin) && r.Header.Count("Origin") == 1 {
		c.origin = origin
	}
	// A CORS-preflight request is an OPTIONS request with this field (Fetch, "HTTP
	// requests"); any other OPTIONS is the API's own affair.
	if r.Method != "OPTIONS" || !r.Header.Has("Access-Control-Request-Method") {
		return message.Next
	}
	c.preflight = true
	if c.origin == "" {
		return x.Deny(notAllowed)
	}
	x.Response.CloseBody()
	x.Response.Status, x.Response.Length = 204, -1
	return message.Reply
}

// onResponse replaces whatever the origin server says about CORS: two voices would
// contradict each other, and a field given twice lets nobody in. It runs for
// problems too: a page may read why it was refused.
func (s *sharing) onResponse(x *message.Exchange) message.Verdict {
	h := &x.Response.Header
	dropOwn(h)
	c := s.call.At(x)
	if s.everybody {
		// Always the same answer, also to requests without an Origin: so caches may
		// give it to anybody (Fetch, "CORS protocol and HTTP caches").
		h.Append(allowOrigin, anyone)
	} else {
		vary(h, "Origin")
		if c.origin == "" {
			return message.Next
		}
		h.Append(allowOrigin, c.origin)
		if s.credentials {
			h.Append(allowCredentials, "true")
		}
	}
	if c.preflight && c.origin != "" {
		appendSet(h, allowMethods, s.methods)
		appendSet(h, allowHeaders, s.headers)
		h.Append(maxAge, s.maxAge)
		return message.Next
	}
	appendSet(h, exposeHeaders, s.exposed)
	return message.Next
}

// appendSet adds a field that has been checked, unless it would be empty.
func appendSet(h *message.Header, name, value string) {
	if value != "" {
		h.Append(name, value)
	}
}

// dropOwn removes every Access-Control- field in one pass.
func dropOwn(h *message.Header) {
	fields := h.Fields()
	kept := 0
	for i := range fields {
		if len(fields[i].Name) > len(prefix) && message.EqualFold(fields[i].Name[:len(prefix)], prefix) {
			continue
		}
		if kept != i {
			fields[kept] = fields[i]
		}
		kept++
	}
	h.Truncate(kept)
}

// vary says that the answer depends on a field of the request (RFC 9110 §12.5.5).
func vary(h *message.Header, name string) {
	for i := range h.Fields() {
		f := &h.Fields()[i]
		if message.EqualFold(f.Name, "Vary") && (message.HasToken(f.Value, name) || message.HasToken(f.Value, "*")) {
			return
		}
	}
	h.Append("Vary", name)
}

// allows says whether an origin is one of those that may call. Browsers send
// origins in one form only, so bytes are compared.
func (s *sharing) allows(origin string) bool {
	if s.everybody {
		return true
	}
	if _, ok := s.exact[origin]; ok {
		return true
	}
	for i := range s.below {
		if s.below[i].has(origin) {
			return true
		}
	}
	return false
}

// has says whether an origin is below the domain: one label or more in front.
func (d *domain) has(origin string) bool {
	if len(origin) <= len(d.scheme)+len(d.rest) || !strings.HasPrefix(origin, d.scheme) || !strings.HasSuffix(origin, d.rest) {
		return false
	}
	labels := origin[len(d.scheme) : len(origin)-len(d.rest)]
	before := byte('.')
	for i := 0; i < len(labels); i++ {
		c := labels[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && before != '.':
		default:
			return false
		}
		before = c
	}
	return before != '.'
}
