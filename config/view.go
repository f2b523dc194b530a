package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/internal/scalar"
	"github.com/sluice-gateway/sluice/unit"
)

// Viewer shows settings as their types understand them, to tools that compare or
// print them. It is used by one goroutine at a time.
type Viewer struct {
	plans  *plans
	target func(kind string) any
}

// NewViewer returns a Viewer. target returns a value of the settings type of a kind of
// target, or nil; it is asked for targets that stand within the settings of others, and
// may be nil.
func NewViewer(target func(kind string) any) *Viewer {
	if target == nil {
		target = func(string) any { return nil }
	}
	return &Viewer{newPlans(), target}
}

// View is a value in one form, whatever way it was written: defaults are filled in,
// the keys of mappings are sorted, and one value is a list of one where a list may
// stand. Exactly one of Fields, Items and Word tells what it is.
type View struct {
	t *tree
	p *typePlan // nil where the type is not known
	s *Viewer
}

// Field is a key of a View and its value.
type Field struct {
	Name  string
	Value View
}

// View shows settings as the type of into, a pointer, or nil where none is known.
func (s *Viewer) View(n *Node, into any) View {
	return s.view(n.tree(), into)
}

func (s *Viewer) view(t *tree, into any) View {
	if into == nil {
		return View{t, nil, s}
	}
	return View{t, s.plans.plan(settingsType(into)), s}.base()
}

func (v View) base() View {
	if v.p != nil {
		v.p = v.p.base()
	}
	return v
}

// Typed says whether the type of the value is known: then what is empty is the same as
// what is absent.
func (v View) Typed() bool { return v.p != nil && v.p.class != classAny && v.p.class != classDecoder }

// Target says whether the value is a target.
func (v View) Target() bool { return v.p != nil && v.p.isTarget() }

func (v View) is(c class) bool { return v.p != nil && v.p.class == c }

// Fields are the keys of a mapping, and false where it is none. Those of a struct stand
// in its order.
func (v View) Fields() ([]Field, bool) {
	if v.t != nil && v.t.kind != unit.Mapping || v.t == nil && !v.is(classStruct) || v.is(classList) {
		return nil, false
	}
	var fields []Field
	if v.is(classStruct) {
		fields = v.nested(fields)
		for _, f := range v.p.fields {
			value := View{f.fallback, f.plan, v.s}
			if v.t != nil && v.t.child(f.name) != nil {
				value.t = v.t.child(f.name)
			}
			if value.t != nil || f.plan.class == classStruct && !f.required {
				fields = append(fields, Field{f.name, value.base()})
			}
		}
		return fields, true
	}
	for i := 0; i < len(v.t.children); i += 2 {
		value := View{t: &v.t.children[i+1], s: v.s}
		if v.is(classMap) {
			value.p = v.p.elem
		}
		fields = append(fields, Field{v.t.children[i].text, value.base()})
	}
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields, true
}

// nested adds the target that stands among the keys of a struct.
func (v View) nested(fields []Field) []Field {
	if !v.p.nested || v.t == nil {
		return fields
	}
	for i := 0; i < len(v.t.children); i += 2 {
		kind := v.t.children[i].text
		if _, own := v.p.byName[kind]; !own {
			fields = append(fields, Field{kind, v.s.view(&v.t.children[i+1], v.s.target(kind))})
		}
	}
	return fields
}

// Items are the entries of a list, and false where it is none.
func (v View) Items() ([]View, bool) {
	if v.t == nil {
		return nil, false
	}
	typed := v.is(classList) || v.is(classSlice)
	children := v.t.children
	if v.t.kind != unit.Sequence {
		if !typed {
			return nil, false
		}
		children = []tree{*v.t}
	}
	items := make([]View, len(children))
	for i := range children {
		items[i].t, items[i].s = &children[i], v.s
		if typed {
			items[i].p = v.p.elem
		}
		items[i] = items[i].base()
	}
	return items, true
}

// Word is a single value: its text in the one way in which its type writes it, for
// comparing, which may be a secret; and what may be shown of it.
func (v View) Word() (text, shown string) {
	t := v.t
	if t == nil || t.kind == unit.Null {
		return "null", "null"
	}
	text = t.text
	switch {
	case v.is(classText) && !v.p.hidden:
		text = v.p.canonical(text)
	case t.look == looksText && !t.plain && v.p == nil && scalar.LooksLike(text) != looksText:
		text = strconv.Quote(text)
	}
	switch {
	case t.expanded:
		return text, t.written()
	case v.p != nil && v.p.hidden:
		return text, "***"
	}
	return text, text
}

// canonical is a word as its type writes it, where that says.
func (p *typePlan) canonical(text string) string {
	into := reflect.New(p.typ)
	if err := into.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		return text
	}
	switch v := into.Interface().(type) {
	case encoding.TextMarshaler:
		if written, err := v.MarshalText(); err == nil {
			return string(written)
		}
	case fmt.Stringer:
		return v.String()
	}
	return text
}
