package config

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/sluice-gateway/sluice/unit"
)

// class is how a Go type is filled.
type class uint8

const (
	classBool class = iota
	classInt
	classUint
	classFloat
	classString
	classText    // UnmarshalText and no fields
	classStruct  // fields; perhaps UnmarshalText as a short form
	classSlice   // []T
	classList    // unit.List: one or many
	classMap     // unit.Map
	classPointer // *T: optional
	classMarked  // Text: a string with its place
	classAny     // unit.Any
	classNode    // Node
	classDecoder // decodes itself
)

// typePlan is what reflection found out about a type, once.
type typePlan struct {
	typ       reflect.Type
	class     class
	short     bool // a struct that may be written as one word
	validates bool
	hidden    bool // neither its text nor an error about it may be shown
	form      unit.Form
	elem      *typePlan
	fields    []*fieldPlan
	byName    map[string]int
	rest      []int // the field that takes the keys without a field of their own
	restDoc   string
	// nested says that those keys are kinds of targets: rest is a []unit.Keyed.
	nested bool
}

// isTarget says whether a type is a target and nothing else.
func (p *typePlan) isTarget() bool { return p.nested && len(p.fields) == 0 }

// fieldPlan is one key of a struct, with what its tags say.
type fieldPlan struct {
	name     string
	doc      string
	index    []int
	plan     *typePlan
	required bool
	fallback *tree
	defaults string // as it is written in the tag
	rules    *rules
}

// rules are the bounds of a field's value. Numbers are compared as float64 or, for
// units, as the integers below them.
type rules struct {
	min, max         *float64
	minText, maxText string
	enum             []string
	pattern          *regexp.Regexp
	form             string // what the pattern asks for, in words
}

// plans holds the plans of all types that were met.
type plans struct {
	mu    sync.Mutex
	types map[reflect.Type]*typePlan
}

func newPlans() *plans { return &plans{types: map[reflect.Type]*typePlan{}} }

// plan returns the plan of a type. A struct tag that makes no sense panics: it is a
// fault in the program, which the first test that touches the type finds.
func (ps *plans) plan(t reflect.Type) *typePlan {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.build(t)
}

func (ps *plans) build(t reflect.Type) *typePlan {
	if p := ps.types[t]; p != nil {
		return p
	}
	p := &typePlan{typ: t}
	ps.types[t] = p
	pointer := reflect.PointerTo(t)
	p.validates = pointer.Implements(reflect.TypeFor[interface{ Validate() error }]())
	p.hidden = pointer.Implements(reflect.TypeFor[interface{ Hidden() }]())
	if formed, ok := reflect.New(t).Interface().(interface{ Form() unit.Form }); ok {
		p.form = formed.Form()
	}
	ps.classify(p, t, pointer)
	return p
}

func (ps *plans) classify(p *typePlan, t, pointer reflect.Type) {
	text := pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch {
	case t == reflect.TypeFor[Node]():
		p.class = classNode
	case t == reflect.TypeFor[Text]():
		p.class = classMarked
	case t == reflect.TypeFor[unit.Any]():
		p.class = classAny
	case pointer.Implements(reflect.TypeFor[unit.Decoder]()):
		p.class = classDecoder
	case t.Implements(reflect.TypeFor[interface{ OneOrMany() }]()):
		p.class, p.elem = classList, ps.build(t.Elem())
	case t.Implements(reflect.TypeFor[interface{ InOrder() }]()):
		value, _ := t.Elem().FieldByName("Value")
		p.class, p.elem = classMap, ps.build(value.Type)
	case t.Kind() == reflect.Struct && (!text || hasFields(t)):
		p.class, p.short = classStruct, text
		ps.fieldsOf(p, t, nil)
		if len(p.fields) > 64 {
			panic(fmt.Sprintf("config: %s has more than 64 keys", t))
		}
		p.byName = make(map[string]int, len(p.fields))
		for i, f := range p.fields {
			p.byName[f.name] = i
		}
	case text:
		p.class = classText
	default:
		ps.simple(p, t)
	}
}

func (ps *plans) simple(p *typePlan, t reflect.Type) {
	switch t.Kind() {
	case reflect.Bool:
		p.class = classBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.class = classInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.class = classUint
	case reflect.Float32, reflect.Float64:
		p.class = classFloat
	case reflect.String:
		p.class = classString
	case reflect.Slice:
		p.class, p.elem = classSlice, ps.build(t.Elem())
	case reflect.Pointer:
		p.class, p.elem = classPointer, ps.build(t.Elem())
	default:
		panic(fmt.Sprintf("config: settings cannot have the type %s: use strings, numbers, booleans, structs, slices and the types of package unit", t))
	}
}

// hasFields says whether a struct has a field that can be written as a key.
func hasFields(t reflect.Type) bool {
	for f := range t.Fields() {
		if f.IsExported() && !f.Anonymous && f.Tag.Get("yaml") != "-" {
			return true
		}
	}
	return false
}

func (ps *plans) fieldsOf(p *typePlan, t reflect.Type, index []int) {
	for f := range t.Fields() {
		name := f.Tag.Get("yaml")
		at := append(append([]int(nil), index...), f.Index...)
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			ps.fieldsOf(p, f.Type, at)
			continue
		}
		if name == ",rest" {
			p.rest, p.restDoc = at, f.Tag.Get("doc")
			p.nested = f.Type == reflect.TypeFor[[]unit.Keyed]()
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = lowerSnake(f.Name)
		}
		field := &fieldPlan{
			name: name, doc: f.Tag.Get("doc"), index: at, plan: ps.build(f.Type),
			required: f.Tag.Get("required") == "true",
		}
		where := t.String() + "." + f.Name
		field.rules = rulesOf(f.Tag, field.plan, where)
		if text, ok := f.Tag.Lookup("default"); ok {
			field.defaults = text
			field.fallback = fallbackOf(text, field, where)
		}
		p.fields = append(p.fields, field)
	}
}

// lowerSnake writes "MaxBytes" as "max_bytes" and "HTTPMethod" as "http_method".
func lowerSnake(s string) string {
	var b strings.Builder
	upper := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	for i := range len(s) {
		c := s[i]
		if upper(c) {
			if i > 0 && (!upper(s[i-1]) || i+1 < len(s) && !upper(s[i+1])) {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// base is the plan below pointers.
func (p *typePlan) base() *typePlan {
	for p.class == classPointer {
		p = p.elem
	}
	return p
}

func rulesOf(tag reflect.StructTag, p *typePlan, where string) *rules {
	r := &rules{minText: tag.Get("min"), maxText: tag.Get("max")}
	r.min = boundOf(r.minText, p.base(), where)
	r.max = boundOf(r.maxText, p.base(), where)
	if words := tag.Get("enum"); words != "" {
		r.enum = strings.Split(words, ",")
	}
	if pattern := tag.Get("pattern"); pattern != "" {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			panic(fmt.Sprintf("config: %s: %v", where, err))
		}
		r.pattern, r.form = compiled, tag.Get("form")
		if r.form == "" {
			panic(fmt.Sprintf("config: %s: a pattern is told to users in words: give it a form", where))
		}
	}
	if r.min == nil && r.max == nil && r.enum == nil && r.pattern == nil {
		return nil
	}
	return r
}

// boundOf reads a bound in the form in which the value itself is written.
func boundOf(text string, p *typePlan, where string) *float64 {
	if text == "" {
		return nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if p.class == classText {
		into := reflect.New(p.typ)
		err = into.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
		if err == nil && into.Elem().CanInt() {
			value = float64(into.Elem().Int())
		}
	}
	if err != nil {
		panic(fmt.Sprintf("config: %s: the bound %q: %v", where, text, err))
	}
	return &value
}

// fallbackOf parses a default, and tries it.
func fallbackOf(text string, f *fieldPlan, where string) *tree {
	t := &tree{kind: unit.Scalar, text: text, line: 1, column: 1}
	base := f.plan.base()
	switch base.class {
	case classString, classText, classMarked:
	case classList:
		if base.elem.class != classString && base.elem.class != classText && base.elem.class != classMarked || strings.HasPrefix(text, "[") {
			t = parseTag(text, where)
		}
	default:
		t = parseTag(text, where)
	}
	return t
}

func parseTag(text, where string) *tree {
	p := &parser{refs: newReferences("", nil), report: func(_, _ int, message string) {
		panic(fmt.Sprintf("config: %s: default: %s", where, message))
	}}
	t, fault := p.parse(text, 1)
	if fault != nil {
		panic(fmt.Sprintf("config: %s: default: %s", where, fault.message))
	}
	return t
}
