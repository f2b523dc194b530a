package apikey

import (
	"crypto/sha256"
	"strings"

	"github.com/sluice-gateway/sluice/internal/rawquery"
	"github.com/sluice-gateway/sluice/message"
)

// place is where a key may stand.
type place struct {
	kind   kind
	name   string
	scheme string // of a header, or ""
}

type kind uint8

const (
	inHeader kind = iota
	inQuery
	inCookie
)

func placeOf(p *Place) place {
	switch {
	case p.Query != "":
		return place{kind: inQuery, name: p.Query}
	case p.Cookie != "":
		return place{kind: inCookie, name: p.Cookie}
	}
	return place{kind: inHeader, name: p.Header, scheme: p.Scheme}
}

// challenge says to a client where the key belongs. There is no registered scheme for
// keys in fields of their own, so ApiKey is ours; its parameters are quoted
// strings (RFC 9110 §11.2), and names are tokens, so nothing needs an escape.
func (p *place) challenge() string {
	if p.scheme != "" {
		return p.scheme
	}
	return "ApiKey " + [...]string{"header", "query", "cookie"}[p.kind] + `="` + p.name + `"`
}

// find returns the first key in this place, as it is written there, and how many
// there are.
func (p *place) find(r *message.Request) (value string, n int) {
	switch p.kind {
	case inQuery:
		return p.findQuery(r.Query)
	case inCookie:
		return p.findCookie(&r.Header)
	}
	for _, f := range r.Header.Fields() {
		if !message.EqualFold(f.Name, p.name) {
			continue
		}
		if key, ok := p.cutScheme(f.Value); ok {
			if n == 0 {
				value = key
			}
			n++
		}
	}
	return value, n
}

// cutScheme returns what stands behind the scheme (RFC 9110 §11.4).
func (p *place) cutScheme(value string) (string, bool) {
	if p.scheme == "" {
		return value, true
	}
	word, key, found := strings.Cut(value, " ")
	if !found || !message.EqualFold(word, p.scheme) {
		return "", false
	}
	return message.TrimOWS(key), true
}

func (p *place) findQuery(query string) (value string, n int) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, v, _ := strings.Cut(pair, "=")
		if rawquery.Means(name, p.name) {
			if n == 0 {
				value = v
			}
			n++
		}
	}
	return value, n
}

func (p *place) findCookie(h *message.Header) (value string, n int) {
	for _, f := range h.Fields() {
		if !message.EqualFold(f.Name, "Cookie") {
			continue
		}
		for rest := f.Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			if name, v, _ := strings.Cut(message.TrimOWS(pair), "="); name == p.name {
				if n == 0 {
					value = v
				}
				n++
			}
		}
	}
	return value, n
}

// hash is the SHA-256 of a key that find has returned; it is not ok for one that is
// too long.
func (p *place) hash(value string) (hash [sha256.Size]byte, ok bool) {
	if p.kind == inQuery {
		// Three bytes can make one.
		if len(value) > 3*MaxKey {
			return hash, false
		}
		var room [3 * MaxKey]byte
		decoded := rawquery.AppendDecoded(room[:0], value)
		return sha256.Sum256(decoded), len(decoded) <= MaxKey
	}
	if len(value) > MaxKey {
		return hash, false
	}
	var room [MaxKey]byte
	return sha256.Sum256(room[:copy(room[:], value)]), true
}

// remove takes the one key of this place out of the request, and leaves every other
// byte as it is.
func (p *place) remove(r *message.Request) {
	switch p.kind {
	case inQuery:
		r.Query = p.cutQuery(r.Query)
		r.HasQuery = r.Query != ""
	case inCookie:
		p.cutCookie(&r.Header)
	default:
		if p.scheme == "" {
			r.Header.Del(p.name)
			return
		}
		fields := r.Header.Fields()
		for i := range fields {
			if _, ok := p.cutScheme(fields[i].Value); ok && message.EqualFold(fields[i].Name, p.name) {
				removeField(&r.Header, i)
				return
			}
		}
	}
}

func removeField(h *message.Header, at int) {
	fields := h.Fields()
	copy(fields[at:], fields[at+1:])
	h.Truncate(len(fields) - 1)
}

func (p *place) cutQuery(query string) string {
	for start := 0; start < len(query); {
		pair, _, _ := strings.Cut(query[start:], "&")
		if name, _, _ := strings.Cut(pair, "="); rawquery.Means(name, p.name) {
			return cut(query, start, start+len(pair), '&')
		}
		start += len(pair) + 1
	}
	return query
}

// cut removes text[from:to] and the separator behind it, or before it at the end.
func cut(text string, from, to int, separator byte) string {
	switch {
	case to < len(text) && text[to] == separator:
		to++
	case from > 0:
		from--
	}
	if from == 0 {
		return text[to:]
	}
	return text[:from] + text[to:]
}

func (p *place) cutCookie(h *message.Header) {
	fields := h.Fields()
	for i := range fields {
		if !message.EqualFold(fields[i].Name, "Cookie") {
			continue
		}
		value := fields[i].Value
		for start := 0; start < len(value); {
			pair, _, _ := strings.Cut(value[start:], ";")
			if name, _, _ := strings.Cut(message.TrimOWS(pair), "="); name == p.name {
				value = message.TrimOWS(cut(value, start, start+len(pair), ';'))
				if value == "" {
					removeField(h, i)
				} else {
					fields[i].Value = value
				}
				return
			}
			start += len(pair) + 1
		}
	}
}
