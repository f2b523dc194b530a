package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

func problemf(format string, arguments ...any) error { return fmt.Errorf(format, arguments...) }

// Path is a pattern of paths, or a regular expression.
type Path struct {
	Text  string
	Regex bool
	Mark  Mark
}

// regexForm is {regex: "…"}.
type regexForm struct {
	Regex Text `required:"true" min:"1" max:"4096" doc:"A regular expression (RE2 syntax)."`
}

// pathWord is a path written as a word, for the schema.
type pathWord string

// UnmarshalText makes the type one that has a form.
func (p *pathWord) UnmarshalText(text []byte) error {
	*p = pathWord(text)
	return nil
}

// Form says how a path is written.
func (pathWord) Form() unit.Form {
	return unit.Form{Name: "path", Is: "a path such as /orders", Pattern: "^/"}
}

// markOf is where a setting stands in its entry.
func markOf(n unit.Node) Mark {
	if node, ok := n.(*Node); ok && node.t != nil {
		return Mark{node.t.line, node.t.column}
	}
	return Mark{}
}

// Alternatives are the shapes of a path.
func (*Path) Alternatives() []any { return []any{pathWord(""), regexForm{}} }

// DecodeSetting reads either shape.
func (p *Path) DecodeSetting(n unit.Node) error {
	if n.Kind() == unit.Mapping {
		var form regexForm
		err := n.Decode(&form)
		p.Text, p.Regex, p.Mark = form.Regex.Value, true, form.Regex.Mark
		return err
	}
	var word Text
	if err := n.Decode(&word); err != nil {
		return err
	}
	if !strings.HasPrefix(word.Value, "/") {
		return errors.New(`a path begins with "/"`)
	}
	p.Text, p.Mark = word.Value, word.Mark
	return nil
}

// Condition is what a header field or a query parameter must be.
type Condition struct {
	Text    string // the value, or the expression
	Regex   bool
	Present *bool // set: it must be there, or must not
	Mark    Mark
}

// conditionForm is {present: …} or {regex: …}.
type conditionForm struct {
	Present *bool `doc:"Whether it must be there."`
	Regex   *Text `min:"1" max:"4096" doc:"A regular expression (RE2 syntax) that a value must match."`
}

func (f *conditionForm) Validate() error {
	if (f.Present == nil) == (f.Regex == nil) {
		return errors.New("write either {present: true}, {present: false} or {regex: …}")
	}
	return nil
}

// Alternatives are the shapes of a condition.
func (*Condition) Alternatives() []any {
	return []any{"", struct {
		Present bool `required:"true" doc:"Whether it must be there."`
	}{}, regexForm{}}
}

// DecodeSetting reads any shape.
func (c *Condition) DecodeSetting(n unit.Node) error {
	if n.Kind() == unit.Mapping {
		var form conditionForm
		if err := n.Decode(&form); err != nil {
			return err
		}
		c.Present, c.Mark = form.Present, markOf(n)
		if form.Regex != nil {
			c.Text, c.Regex, c.Mark = form.Regex.Value, true, form.Regex.Mark
		}
		return nil
	}
	var word Text
	err := n.Decode(&word)
	c.Text, c.Mark = word.Value, word.Mark
	return err
}
