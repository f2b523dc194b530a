package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// Viewer shows settings as their types understand them, to tools that compare or
// print them. It is used by one goroutine at a time.
type Viewer struct{ plans *plans }

// NewViewer returns a Viewer.
func NewViewer() *Viewer { return &Viewer{newPlans()} }

// View is a value in one form, whatever way it was written: defaults are filled in,
// the keys of mappings are sorted, and one value is a list of one where a list may
// stand. Exactly one of Fields, Items and Word tells what it is.
type View struct {
	t *tree
	p *typePlan // nil where the type is not known
}

// Field is a key of a View and its value.
type Field struct {
	Name  string
	Value View
}

// View shows settings as the type of into, a pointer, or nil where none is known.
func (s *Viewer) View(n *Node, into any) View {
	if into == nil {
		return View{t: n.tree()}
	}
	return View{n.tree(), s.plans.plan(settingsType(into))}.base()
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

func (v View) is(c class) bool { return v.p != nil && v.p.class == c }

// Fields are the keys of a mapping, and false where it is none. Those of a struct stand
// in its order.
func (v View) Fields() ([]Field, bool) {
	if v.t != nil && v.t.kind != unit.Mapping || v.t == nil && !v.is(classStruct) || v.is(classList) {
		return nil, false
	}
	var fields []Field
	if v.is(classStruct) {
		for _, f := range v.p.fields {
			value := View{f.fallback, f.plan}
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
		value := View{t: &v.t.children[i+1]}
		if v.is(classMap) {
			value.p = v.p.elem
		}
		fields = append(fields, Field{v.t.children[i].text, value.base()})
	}
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields, true
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
		items[i].t = &children[i]
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
	case t.look == looksText && !t.plain && v.p == nil && looksLike(text) != looksText:
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
