package redirect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/template"
)

// MaxLocation is how long a location may become, in bytes.
const MaxLocation = 16 << 10

// location is where a redirect leads, cut at the places where values could
// change the meaning of what stands behind them (RFC 3986 §3).
type location struct {
	scheme    *template.Template // with "://"; nil where the location is a path
	authority *template.Template
	path      *template.Template
	query     *template.Template // nil where there is none
	fragment  *template.Template // nil where there is none
	keepQuery bool
	fixed     string // the whole, where nothing has variables
}

// parse reads a location. It is called while the configuration is compiled.
func parse(text string, keepQuery bool) (*location, error) {
	if text == "" {
		return nil, errors.New("the location is missing: write a path, or an http or https URL")
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`|", c) >= 0 {
			return nil, fmt.Errorf("character %d of %q may not stand in a URL: percent-encode it (RFC 3986 §2.1)", i+1, text)
		}
	}
	if strings.Contains(text, "{{") || strings.Contains(text, "}}") {
		return nil, errors.New("braces may not stand in a URL: write %7B and %7D")
	}
	l := &location{}
	rest, err := l.parseOrigin(text)
	if err != nil {
		return nil, err
	}
	path, behind := cut(rest, "?#")
	if l.path, err = template.Parse(path, template.Use{Escape: template.Path}); err != nil {
		return nil, err
	}
	if l.scheme == nil {
		shape := l.path.Shape()
		if !strings.HasPrefix(shape, "/") {
			return nil, fmt.Errorf("%q is neither a path nor a URL: begin it with /, {request.path}, http:// or https://", text)
		}
		if strings.HasPrefix(shape, "//") {
			return nil, fmt.Errorf("%q would lead to another host: write https:// before it, or one slash", text)
		}
	}
	if query, ok := strings.CutPrefix(behind, "?"); ok {
		query, behind = cut(query, "#")
		if l.query, err = template.Parse(query, template.Use{Escape: template.Query}); err != nil {
			return nil, err
		}
	}
	if fragment, ok := strings.CutPrefix(behind, "#"); ok {
		if l.fragment, err = template.Parse(fragment, template.Use{Escape: template.Query}); err != nil {
			return nil, err
		}
	}
	l.keepQuery = keepQuery && l.query == nil
	return l, l.fix()
}

// parseOrigin reads the scheme and the host, if there are any, and returns the rest.
func (l *location) parseOrigin(text string) (rest string, err error) {
	var scheme string
	for _, known := range [...]string{"http://", "https://", "{request.scheme}://"} {
		if strings.HasPrefix(text, known) {
			scheme = known
		}
	}
	if scheme == "" {
		return text, nil
	}
	if l.scheme, err = template.Parse(scheme, template.Use{}); err != nil {
		return "", err
	}
	authority, rest := cut(text[len(scheme):], "/?#")
	// The path of a request begins with a slash, so it ends the host as one does.
	if i := strings.Index(authority, "{request.path}"); i >= 0 {
		authority, rest = authority[:i], authority[i:]+rest
	}
	if err := checkAuthority(authority); err != nil {
		return "", err
	}
	if l.authority, err = template.Parse(authority, template.Use{}); err != nil {
		return "", err
	}
	if _, ok := host(l.authority.Shape()); !ok {
		return "", fmt.Errorf("%q is no host: write a name or an address, and a port if one is needed", authority)
	}
	return rest, nil
}

// checkAuthority refuses variables with which a client could choose the host: what
// is neither its own name for us nor followed by a fixed domain.
func checkAuthority(authority string) error {
	for rest := authority; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return nil
		}
		name, behind, _ := strings.Cut(after, "}")
		own := name == "request.host" || name == "request.authority"
		if !own && (len(behind) < 2 || behind[0] != '.' || strings.HasPrefix(behind, ".{")) {
			return fmt.Errorf("{%s} would choose the host that clients are sent to: write a fixed domain behind it, such as {%s}.example.com", name, name)
		}
		rest = behind
	}
}

// cut cuts text before the first of these characters outside of a variable.
func cut(text, characters string) (before, from string) {
	inside := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '{':
			inside = true
		case c == '}':
			inside = false
		case !inside && strings.IndexByte(characters, c) >= 0:
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// fix puts a location together that is the same for every request.
func (l *location) fix() error {
	for _, part := range [...]*template.Template{l.scheme, l.authority, l.path, l.query, l.fragment} {
		if part != nil && !part.IsLiteral() {
			return nil
		}
	}
	out, ok := l.append(nil, &message.Exchange{})
	if !ok || len(out) > MaxLocation {
		return fmt.Errorf("this is no location that a client could follow, or it is longer than %d bytes", MaxLocation)
	}
	l.fixed = string(out)
	return nil
}

// of returns the location for an exchange, and false where there is none that a
// client should follow. It costs no allocation where it is the same for every request
// and no query is carried over; else one.
func (l *location) of(x *message.Exchange) (string, bool) {
	if l.fixed != "" && !(l.keepQuery && x.Request.HasQuery) {
		return l.fixed, true
	}
	var room [1024]byte
	out, ok := l.append(room[:0], x)
	if !ok || len(out) > MaxLocation {
		return "", false
	}
	return string(out), true
}

func (l *location) append(out []byte, x *message.Exchange) ([]byte, bool) {
	if l.scheme != nil {
		out = l.scheme.Append(out, x)
		authority, ok := host(l.authority.String(x))
		if !ok {
			return nil, false
		}
		out = append(out, authority...)
	}
	start := len(out)
	out = l.path.Append(out, x)
	if len(out) > start && out[start] != '/' || len(out) == start && l.scheme == nil {
		return nil, false
	}
	if l.scheme == nil {
		out = oneSlash(out, start)
	}
	switch {
	case l.query != nil:
		out = l.query.Append(append(out, '?'), x)
	case l.keepQuery && x.Request.HasQuery:
		out = append(append(out, '?'), x.Request.Query...)
	}
	if l.fragment != nil {
		out = l.fragment.Append(append(out, '#'), x)
	}
	return out, true
}

// host checks an authority. A label that is empty is a value that is not there.
func host(text string) (string, bool) {
	authority, ok := message.ParseAuthority(text)
	if !ok || authority[0] == '.' || strings.Contains(authority, "..") {
		return "", false
	}
	return authority, true
}

// oneSlash leaves one of the slashes at the beginning of a path: "//host" is a
// place on another host (RFC 3986 §4.2), and a client can ask for "//host" here.
func oneSlash(out []byte, start int) []byte {
	end := start
	for end < len(out) && out[end] == '/' {
		end++
	}
	if end-start < 2 {
		return out
	}
	return append(out[:start+1], out[end:]...)
}
