package template

import (
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// Parse reads a template. "{{" and "}}" are literal braces. The error says where,
// what is wrong, and what the nearest known variable is; it is called while the
// configuration is compiled.
func Parse(text string, use Use) (*Template, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("template: the text has %d bytes; the limit is %d", len(text), MaxText)
	}
	p := parser{text: text, use: use}
	for p.at < len(text) {
		if err := p.step(); err != nil {
			return nil, err
		}
	}
	p.flush()
	t := &Template{escape: use.Escape}
	if p.variables == 0 {
		if len(p.pieces) == 1 {
			t.literal = p.pieces[0].text
		}
		return t, nil
	}
	t.pieces = p.pieces
	return t, nil
}

type parser struct {
	text      string
	use       Use
	at        int
	literal   strings.Builder
	pieces    []piece
	variables int
}

// step reads one literal run, one doubled brace or one variable.
func (p *parser) step() error {
	rest := p.text[p.at:]
	brace := strings.IndexAny(rest, "{}")
	switch {
	case brace < 0:
		p.take(rest, len(rest))
		return nil
	case brace > 0:
		p.take(rest[:brace], brace)
		return nil
	case p.use.Loose:
		return p.loose(rest)
	case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
		p.take(rest[:1], 2)
		return nil
	case rest[0] == '}':
		return p.fail(`"}" without "{" before it; write "}}" for a literal brace`)
	}
	end := strings.IndexAny(rest[1:], "{}")
	if end < 0 || rest[1+end] == '{' {
		return p.fail(`"{" without "}" behind it; write "{{" for a literal brace`)
	}
	return p.variable(rest[1:1+end], end+2)
}

// loose reads what begins with a brace in a text that is full of braces.
func (p *parser) loose(rest string) error {
	if name, ok := enclosed(rest, "{{", "}}"); ok && p.isOurs(name) {
		p.take("{"+name+"}", len(name)+4)
		return nil
	}
	if name, ok := enclosed(rest, "{", "}"); ok && p.isOurs(name) {
		return p.variable(name, len(name)+2)
	}
	p.take(rest[:1], 1)
	return nil
}

// enclosed returns what stands between two marks at the beginning of s, if it has
// no brace, space or quote in it.
func enclosed(s, left, right string) (inside string, ok bool) {
	if !strings.HasPrefix(s, left) {
		return "", false
	}
	s = s[len(left):]
	end := strings.IndexAny(s, "{} \t\r\n\"',;")
	if end < 1 || !strings.HasPrefix(s[end:], right) {
		return "", false
	}
	return s[:end], true
}

// isOurs says whether a name in a loose text is meant as a variable: it is one,
// or it begins like one, and is then worth an error if it is misspelled.
func (p *parser) isOurs(name string) bool {
	group, _, dotted := strings.Cut(name, ".")
	for i := range catalogue {
		e := &catalogue[i]
		if name == e.name || dotted && strings.HasPrefix(e.name, group+".") {
			return true
		}
	}
	return false
}

func (p *parser) take(literal string, n int) {
	p.literal.WriteString(literal)
	p.at += n
}

func (p *parser) flush() {
	if p.literal.Len() > 0 {
		p.pieces = append(p.pieces, piece{text: p.literal.String()})
		p.literal.Reset()
	}
}

// variable adds the variable of this name, which takes n bytes of the text.
func (p *parser) variable(name string, n int) error {
	e, behind := find(name)
	if e == nil {
		return p.fail("%s", unknown(name, p.use.Answered))
	}
	if e.answered && !p.use.Answered {
		return p.fail("{%s} is not known before the answer is there; it can stand only where an answer is changed", name)
	}
	if problem := checkName(e.variable, behind); problem != "" {
		return p.fail("{%s}: %s", name, problem)
	}
	if p.variables++; p.variables > MaxVariables {
		return p.fail("more than %d variables", MaxVariables)
	}
	p.flush()
	p.pieces = append(p.pieces, piece{text: behind, variable: e.variable})
	p.at += n
	return nil
}

// find looks a name up; behind is the part that names a field, parameter or cookie.
func find(name string) (e *entry, behind string) {
	for i := range catalogue {
		e := &catalogue[i]
		if e.takesName() && len(name) > len(e.name) && strings.HasPrefix(name, e.name) {
			return e, name[len(e.name):]
		}
		if name == e.name && !e.takesName() {
			return e, ""
		}
	}
	return nil, ""
}

func checkName(v variable, name string) string {
	switch v {
	case requestHeader, responseHeader:
		if !message.ValidName(name) {
			return "this is no header name (RFC 9110 §5.1)"
		}
	case requestCookie:
		if !message.ValidName(name) {
			return "this is no cookie name (RFC 6265 §4.1.1)"
		}
	case pathParam, requestQueryValue:
		if strings.TrimSpace(name) != name {
			return "remove the space around the name"
		}
	}
	return ""
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("template: character %d of %q: %s", p.at+1, shorten(p.text), fmt.Sprintf(format, args...))
}

// shorten keeps a message readable where the text is a page.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
