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

// Setting is one value in the canonical form of settings.
type Setting struct {
	Path string // "windows[1].per"; "" for the value itself
	// Text is what it means, for comparing; it may be a secret. Shown is what may
	// be printed.
	Text, Shown string
}

// Canon brings settings into one form, whatever way they were written: defaults are
// filled in, the keys of mappings are sorted, one value is the same as a list of
// one, and 60s the same as 1m. It is made by NewCanon and used by one goroutine at
// a time; sluice diff and explain work with it.
type Canon struct{ plans *plans }

// NewCanon returns a Canon.
func NewCanon() *Canon { return &Canon{newPlans()} }

// Node is the canonical form of settings that are written as the type of into: a
// pointer, or nil where the type is not known.
func (c *Canon) Node(n *Node, into any) []Setting {
	w := canonWriter{}
	if into == nil {
		w.untyped("", n.tree())
		return w.out
	}
	w.tree("", n.tree(), c.plans.plan(settingsType(into)))
	return w.out
}

// Value is the canonical form of what was decoded already: an entry of a Document,
// or a part of one. Policies, credentials and targets in it are left out.
func (c *Canon) Value(v any) []Setting {
	w := canonWriter{}
	value := reflect.ValueOf(v)
	for value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return nil
		}
		value = value.Elem()
	}
	addressable := reflect.New(value.Type()).Elem()
	addressable.Set(value)
	w.value("", addressable, c.plans.plan(value.Type()))
	return w.out
}

type canonWriter struct{ out []Setting }

func (w *canonWriter) add(path, text string) { w.out = append(w.out, Setting{path, text, text}) }

// tree writes a value by the plan of its type.
func (w *canonWriter) tree(path string, t *tree, p *typePlan) {
	p = p.base()
	switch {
	case p.class == classStruct && t.kind == unit.Mapping:
		for _, f := range p.fields {
			w.field(joinPath(path, f.name), t.child(f.name), f)
		}
	case p.class == classMap && t.kind == unit.Mapping:
		w.mapping(path, t, func(path string, t *tree) { w.tree(path, t, p.elem) })
	case p.class == classList || p.class == classSlice:
		items := t.children
		if t.kind != unit.Sequence {
			items = []tree{*t}
		}
		w.list(path, len(items), idOf(p.elem, func(i int, name string) string {
			if id := items[i].child(name); id != nil {
				return id.text
			}
			return ""
		}), func(w *canonWriter, path string, i int) { w.tree(path, &items[i], p.elem) })
	case t.kind == unit.Scalar && p.class == classText:
		w.scalar(path, t, p)
	case t.kind == unit.Scalar && (p.class == classString || p.class == classMarked):
		w.written(path, t, t.text, p)
	default:
		w.untyped(path, t)
	}
}

// field writes a field, or its default where it is absent.
func (w *canonWriter) field(path string, t *tree, f *fieldPlan) {
	if t == nil {
		t = f.fallback
	}
	if t != nil {
		w.tree(path, t, f.plan)
		return
	}
	if p := f.plan; p.class == classStruct {
		for _, inner := range p.fields {
			if !inner.required {
				w.field(joinPath(path, inner.name), nil, inner)
			}
		}
	}
}

// scalar writes a word in the one way in which its type writes it.
func (w *canonWriter) scalar(path string, t *tree, p *typePlan) {
	text := t.text
	if !p.hidden {
		into := reflect.New(p.typ)
		if err := into.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(t.text)); err == nil {
			text = wordOf(into, t.text)
		}
	}
	w.written(path, t, text, p)
}

// written adds a scalar, and shows neither secrets nor what references stand for.
func (w *canonWriter) written(path string, t *tree, text string, p *typePlan) {
	s := Setting{path, text, text}
	switch {
	case t.expanded:
		s.Shown = t.written()
	case p != nil && p.hidden:
		s.Shown = "***"
	}
	w.out = append(w.out, s)
}

// untyped writes a value of which no type is known, keys sorted.
func (w *canonWriter) untyped(path string, t *tree) {
	switch t.kind {
	case unit.Null:
		w.add(path, "null")
	case unit.Mapping:
		if len(t.children) == 0 && path != "" {
			w.add(path, "{}")
		}
		w.mapping(path, t, w.untyped)
	case unit.Sequence:
		w.list(path, len(t.children), nil, func(w *canonWriter, path string, i int) { w.untyped(path, &t.children[i]) })
	default:
		text := t.text
		if t.look == looksText && !t.plain && looksLike(text) != looksText {
			text = strconv.Quote(text)
		}
		w.written(path, t, text, nil)
	}
}

func (w *canonWriter) mapping(path string, t *tree, each func(path string, t *tree)) {
	keys := make([]string, 0, len(t.children)/2)
	for i := 0; i < len(t.children); i += 2 {
		keys = append(keys, t.children[i].text)
	}
	slices.Sort(keys)
	for _, key := range keys {
		each(joinPath(path, key), t.child(key))
	}
}

// list writes words on one line, and anything else entry by entry: under the name
// of each entry where it has one, else under its number.
func (w *canonWriter) list(path string, n int, id func(i int) string, each func(w *canonWriter, path string, i int)) {
	words, shown := make([]string, n), make([]string, n)
	for i := range n {
		var one canonWriter
		each(&one, "", i)
		if len(one.out) != 1 || one.out[0].Path != "" {
			w.entries(path, n, id, each)
			return
		}
		words[i], shown[i] = one.out[0].Text, one.out[0].Shown
	}
	w.out = append(w.out, Setting{path, "[" + strings.Join(words, ", ") + "]", "[" + strings.Join(shown, ", ") + "]"})
}

func (w *canonWriter) entries(path string, n int, id func(i int) string, each func(w *canonWriter, path string, i int)) {
	type entry struct {
		id string
		at int
	}
	list := make([]entry, n)
	named := map[string]bool{}
	for i := range n {
		list[i].at = i
		if id != nil {
			list[i].id = id(i)
			named[list[i].id] = true
		}
	}
	if len(named) != n || named[""] {
		for i := range n {
			each(w, fmt.Sprintf("%s[%d]", path, i), i)
		}
		return
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.id, b.id) })
	for _, e := range list {
		each(w, path+"["+e.id+"]", e.at)
	}
}

// idOf finds the field by which the entries of a list are told apart; nil where
// there is none and the order may count.
func idOf(p *typePlan, of func(i int, name string) string) func(i int) string {
	if p.base().class != classStruct {
		return nil
	}
	for _, f := range p.base().fields {
		if f.required && (f.name == "name" || f.name == "url" || f.name == "upstream") {
			return func(i int) string { return of(i, f.name) }
		}
	}
	return nil
}

func joinPath(path, key string) string {
	if strings.ContainsAny(key, ".[") {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// value writes what was decoded.
func (w *canonWriter) value(path string, v reflect.Value, p *typePlan) {
	switch p.class {
	case classPointer:
		if !v.IsNil() {
			w.value(path, v.Elem(), p.elem)
		}
	case classStruct:
		for _, f := range p.fields {
			w.value(joinPath(path, f.name), v.FieldByIndex(f.index), f.plan)
		}
	case classList, classSlice:
		if v.Len() == 0 {
			return
		}
		w.list(path, v.Len(), idOf(p.elem, func(i int, name string) string {
			f := p.elem.fields[p.elem.byName[name]]
			return wordOf(v.Index(i).FieldByIndex(f.index).Addr(), "")
		}), func(w *canonWriter, path string, i int) { w.value(path, v.Index(i), p.elem) })
	case classMap:
		w.entriesOf(path, v, p)
	case classNode, classAny:
	case classBool, classInt, classUint, classFloat, classString:
		w.add(path, fmt.Sprint(v.Interface()))
	default:
		s := Setting{Path: path, Text: wordOf(v.Addr(), "")}
		s.Shown = s.Text
		w.out = append(w.out, s)
	}
}

// entriesOf writes a unit.Map.
func (w *canonWriter) entriesOf(path string, v reflect.Value, p *typePlan) {
	at := map[string]int{}
	var keys []string
	for i := range v.Len() {
		key := v.Index(i).FieldByName("Key").String()
		at[key] = i
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		w.value(joinPath(path, key), v.Index(at[key]).FieldByName("Value"), p.elem)
	}
}

// wordOf is a value as its type writes it; otherwise where the type does not say.
func wordOf(pointer reflect.Value, otherwise string) string {
	switch v := pointer.Interface().(type) {
	case encoding.TextMarshaler:
		if text, err := v.MarshalText(); err == nil {
			return string(text)
		}
	case fmt.Stringer:
		return v.String()
	case *string:
		return *v
	}
	return otherwise
}

// String is how the condition is written.
func (r RetryOn) String() string {
	if r.ConnectFailure {
		return "connect_failure"
	}
	return strconv.Itoa(r.Status)
}

// String is how the path is written.
func (p Path) String() string {
	if p.Regex {
		return "{regex: " + strconv.Quote(p.Text) + "}"
	}
	return p.Text
}

// String is how the condition is written.
func (c Condition) String() string {
	switch {
	case c.Present != nil:
		return fmt.Sprintf("{present: %t}", *c.Present)
	case c.Regex:
		return "{regex: " + strconv.Quote(c.Text) + "}"
	}
	return c.Text
}
