// Package headers changes the header fields of requests and answers.
//
// Values are templates over the message as it came to this policy: one change
// does not see what another one did, so fields can be renamed and swapped. A
// value can never split a message: message.Header replaces what may not stand in
// a field.
package headers

import (
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/internal/reserved"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy headers.
var Kind = policy.Define("headers", policy.Transform, files, build)

// MaxChanges is how many changes one policy makes in one direction.
const MaxChanges = 100

func build(c *Config, _ *policy.Env) (policy.Hooks, error) {
	if c.Request.empty() && c.Response.empty() {
		return policy.Hooks{}, errors.New("nothing to do: give request or response a field to set, add, default or remove")
	}
	request, err := compile("request", &c.Request, template.Use{})
	response, err2 := compile("response", &c.Response, template.Use{Answered: true})
	if err := errors.Join(err, err2); err != nil {
		return policy.Hooks{}, err
	}
	var hooks policy.Hooks
	if !c.Request.empty() {
		hooks.OnRequest = func(x *message.Exchange) message.Verdict {
			request.apply(x, &x.Request.Header)
			return message.Next
		}
	}
	if !c.Response.empty() {
		hooks.OnResponse = func(x *message.Exchange) message.Verdict {
			response.apply(x, &x.Response.Header)
			return message.Next
		}
	}
	return hooks, nil
}

// edits are the changes of one direction, ready to be made.
type edits struct {
	removed  []string
	prefixes []string
	changes  []change
}

type change struct {
	how   how
	name  string
	value *template.Template
}

type how uint8

const (
	set how = iota
	fallback
	add
)

// compile checks all changes and reports all that is wrong.
func compile(direction string, c *Changes, use template.Use) (*edits, error) {
	p := compiler{direction: direction, use: use}
	for i, name := range c.Remove {
		p.remove(fmt.Sprintf("remove[%d]", i), name)
	}
	for _, e := range c.Set {
		p.change("set", set, e.Key, e.Value)
	}
	for _, e := range c.Default {
		p.change("default", fallback, e.Key, e.Value)
	}
	for _, e := range c.Add {
		for _, value := range e.Value {
			p.change("add", add, e.Key, value)
		}
	}
	if n := len(c.Remove) + len(p.changes); n > MaxChanges {
		p.errs = append(p.errs, unit.At(direction, fmt.Errorf("%d changes; the limit is %d", n, MaxChanges)))
	}
	return &p.edits, errors.Join(p.errs...)
}

type compiler struct {
	edits
	direction string
	use       template.Use
	errs      []error
}

func (p *compiler) fail(place string, err error) {
	p.errs = append(p.errs, unit.At(p.direction+"."+place, err))
}

func (p *compiler) remove(place, name string) {
	prefix, wild := strings.CutSuffix(name, "*")
	switch {
	case wild && prefix == "":
		p.fail(place, errors.New(`"*" alone would remove every field: write the beginning of a name before it`))
		return
	case wild && !message.ValidName(prefix), wild && strings.Contains(prefix, "*"):
		p.fail(place, fmt.Errorf("%q is no beginning of a header name: one * at the very end, letters, digits and hyphens before it", name))
		return
	case wild:
		p.prefixes = append(p.prefixes, prefix)
		return
	}
	if err := check(name); err != nil {
		p.fail(place, err)
		return
	}
	p.removed = append(p.removed, name)
}

func (p *compiler) change(place string, how how, name, value string) {
	place += `["` + name + `"]`
	if err := check(name); err != nil {
		p.fail(place, err)
		return
	}
	for _, c := range p.changes {
		if message.EqualFold(c.name, name) && c.how != how && (c.how == fallback || how == fallback) {
			p.fail(place, fmt.Errorf("%s has a default and another value too: a field that is set or added is never absent", name))
			return
		}
		if message.EqualFold(c.name, name) && c.how == how && how != add {
			p.fail(place, fmt.Errorf("%s is given twice, as %s before: names are compared without regard to case", name, c.name))
			return
		}
	}
	if value == "" {
		p.fail(place, errors.New("the value is empty: to remove a field, name it under remove"))
		return
	}
	if !message.ValidValue(value) || message.TrimOWS(value) != value {
		p.fail(place, errors.New("the value has a control character, or a space at an end: a field cannot carry it"))
		return
	}
	t, err := template.Parse(value, p.use)
	if err != nil {
		p.fail(place, err)
		return
	}
	p.changes = append(p.changes, change{how, name, t})
}

// check says whether the configuration may change a field of this name.
func check(name string) error {
	if !message.ValidName(name) {
		return fmt.Errorf("%q is no header name: use letters, digits and hyphens", name)
	}
	if why := reserved.Why(name); why != "" {
		return fmt.Errorf("%s cannot be changed here: %s", name, why)
	}
	return nil
}

// usual is how many values find room on the stack; more cost one allocation.
const usual = 16

// apply makes the changes. Literals and single variables cost no allocation beyond
// the room that the header grows by.
func (e *edits) apply(x *message.Exchange, h *message.Header) {
	var room [usual]string
	values := room[:0]
	if len(e.changes) > usual {
		values = make([]string, 0, len(e.changes))
	}
	// All values first: they speak of the message as it came.
	for i := range e.changes {
		values = append(values, e.changes[i].value.String(x))
	}
	if len(e.removed)+len(e.prefixes) > 0 {
		e.remove(h)
	}
	for i := range e.changes {
		c := &e.changes[i]
		switch {
		case values[i] == "":
			// What a client sent must not stand in for a value that is not there.
			if c.how == set {
				h.Del(c.name)
			}
		case c.how == set:
			h.Set(c.name, values[i])
		case c.how == add || !h.Has(c.name):
			h.Add(c.name, values[i])
		}
	}
}

// remove takes fields out in one pass.
func (e *edits) remove(h *message.Header) {
	fields := h.Fields()
	kept := 0
	for i := range fields {
		if e.removes(fields[i].Name) {
			continue
		}
		fields[kept] = fields[i]
		kept++
	}
	h.Truncate(kept)
}

func (e *edits) removes(name string) bool {
	for _, r := range e.removed {
		if message.EqualFold(r, name) {
			return true
		}
	}
	for _, prefix := range e.prefixes {
		if len(name) >= len(prefix) && message.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}
