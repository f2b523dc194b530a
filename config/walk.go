package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluice-gateway/sluice/internal/nearest"
	"github.com/sluice-gateway/sluice/unit"
)

// walker fills Go values from trees and collects every problem.
type walker struct {
	at       place
	problems Problems
	broken   int     // values that were passed over because a problem with them is known
	secrets  []int32 // lines with a secret in plain text: they are not quoted
	// unbound leaves the place out of Nodes that are stored in values: the value
	// outlives the document.
	unbound bool
}

// all returns the problems, without a quote where it would show a secret.
func (w *walker) all() Problems {
	for _, p := range w.problems {
		if slices.Contains(w.secrets, int32(p.Line-w.at.base)) {
			p.Quote = ""
		}
	}
	return w.problems
}

// conceal is called with what may hold secrets of types that are not known here.
func (w *walker) conceal(t *tree) {
	if t == nil {
		return
	}
	w.secrets = append(w.secrets, t.line)
	for i := range t.children {
		w.conceal(&t.children[i])
	}
}

func (w *walker) problem(t *tree, format string, arguments ...any) {
	w.problems = append(w.problems, w.at.problem(int(t.line), int(t.column), fmt.Sprintf(format, arguments...)))
}

// value fills v from t.
func (w *walker) value(t *tree, v reflect.Value, p *typePlan) {
	before := len(w.problems) + w.broken
	w.fill(t, v, p)
	if !p.validates || len(w.problems)+w.broken > before {
		return
	}
	into := v.Addr().Interface()
	if k, ok := into.(interface {
		ValidateKeys(keys func(under string) []string) error
	}); ok {
		if err := k.ValidateKeys(t.keysUnder); err != nil {
			w.fault(t, err)
			return
		}
	}
	if err := into.(interface{ Validate() error }).Validate(); err != nil {
		w.fault(t, err)
	}
}

func (w *walker) fill(t *tree, v reflect.Value, p *typePlan) {
	if t.broken {
		w.broken++
		return
	}
	switch p.class {
	case classPointer:
		v.Set(reflect.New(p.elem.typ))
		w.value(t, v.Elem(), p.elem)
		return
	case classDecoder:
		if err := v.Addr().Interface().(unit.Decoder).DecodeSetting(&Node{t, w.at}); err != nil {
			w.fault(t, err)
		}
		return
	case classNode:
		n := Node{t.clone(), w.at}
		if w.unbound {
			n.at = place{}
		}
		v.Set(reflect.ValueOf(n))
		return
	case classAny:
		v.SetBytes(w.json(nil, t))
		return
	}
	if t.kind == unit.Null {
		w.nothing(t, p)
		return
	}
	switch p.class {
	case classList:
		w.oneOrMany(t, v, p)
	case classSlice:
		w.list(t, v, p)
	case classMap:
		w.ordered(t, v, p)
	case classStruct:
		w.structure(t, v, p)
	default:
		w.scalar(t, v, p)
	}
}

func (w *walker) nothing(t *tree, p *typePlan) {
	switch p.class {
	case classStruct, classMap:
		w.problem(t, "nothing stands here: write {} to keep every default, or leave the key out")
	case classList, classSlice:
		w.problem(t, "nothing stands here: write [] for an empty list, or leave the key out")
	case classString, classMarked:
		w.problem(t, `nothing stands here: write "" for an empty text, or leave the key out`)
	default:
		w.problem(t, "nothing stands here: write %s, or leave the key out", p.wants())
	}
}

// wants says what a type is written as: it completes "this must be …".
func (p *typePlan) wants() string {
	switch p.class {
	case classBool:
		return "true or false"
	case classInt, classUint:
		return "a whole number"
	case classFloat:
		return "a number"
	case classString, classMarked:
		return "a text"
	case classSlice:
		return "a list"
	case classMap:
		return "a mapping"
	case classList:
		return p.elem.wants() + " or a list"
	case classStruct:
		if p.short && p.form.Is != "" {
			return p.form.Is + ", or a mapping"
		}
		if p.isTarget() {
			return "a target such as { upstream: NAME }"
		}
		return "a mapping"
	case classPointer:
		return p.elem.wants()
	}
	if p.form.Is != "" {
		return p.form.Is
	}
	return "a single value"
}

func (w *walker) wrong(t *tree, p *typePlan) {
	is := t.kind.String()
	if t.kind == unit.Scalar {
		is = "a text"
		if t.plain {
			is = t.look.String()
		}
	}
	w.problem(t, "this must be %s, not %s", p.wants(), is)
}

func (w *walker) scalar(t *tree, v reflect.Value, p *typePlan) {
	if t.kind != unit.Scalar {
		w.wrong(t, p)
		return
	}
	switch p.class {
	case classText:
		w.text(t, v, p)
	case classString, classMarked:
		if t.look != looksText {
			w.problem(t, "this must be a text, not %s: write it in quotes, %q", t.look, t.text)
			return
		}
		if p.class == classString {
			v.SetString(t.text)
			return
		}
		*v.Addr().Interface().(*Text) = Text{t.text, Mark{t.line, t.column}}
	case classBool:
		w.boolean(t, v, p)
	case classInt, classUint:
		w.whole(t, v, p)
	case classFloat:
		n, err := strconv.ParseFloat(t.text, 64)
		if !t.plain || t.look != looksInt && t.look != looksFloat || strings.Trim(t.text, "0123456789.+-eE") != "" {
			w.wrong(t, p)
			return
		}
		if err != nil {
			w.problem(t, "this number is too large")
			return
		}
		v.SetFloat(n)
	}
}

// text hands a word to the type. Its error is not shown where it could hold what
// a reference stands for.
func (w *walker) text(t *tree, v reflect.Value, p *typePlan) {
	if p.hidden && !t.expanded {
		w.secrets = append(w.secrets, t.line)
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(t.text))
	switch {
	case err == nil:
		if t.look != looksText {
			w.problem(t, "this must be a text, not %s: write it in quotes, %q", t.look, t.shown(p))
		}
	case p.hidden && t.text == "" || !p.hidden && !t.expanded:
		w.fault(t, err)
	case p.form.Is != "":
		w.problem(t, "what %q stands for is not %s", t.shown(p), p.form.Is)
	default:
		w.problem(t, "what %q stands for cannot be used here", t.shown(p))
	}
}

// shown is the scalar as it may stand in a message.
func (t *tree) shown(p *typePlan) string {
	if p.hidden && !t.expanded {
		return "***"
	}
	return t.written()
}

func (w *walker) boolean(t *tree, v reflect.Value, p *typePlan) {
	if t.plain && (t.text == "true" || t.text == "false") {
		v.SetBool(t.text == "true")
		return
	}
	meant := ""
	if !t.expanded {
		meant = strings.ToLower(t.text)
	}
	switch meant {
	case "yes", "on", "y", "true", "enabled":
		w.problem(t, "this must be true or false, not %q: write true", t.text)
	case "no", "off", "n", "false", "disabled":
		w.problem(t, "this must be true or false, not %q: write false", t.text)
	default:
		w.wrong(t, p)
	}
}

// whole reads a whole number in plain decimal digits.
func (w *walker) whole(t *tree, v reflect.Value, p *typePlan) {
	if !t.plain || t.look != looksInt && t.look != looksFloat {
		w.wrong(t, p)
		return
	}
	digits := strings.TrimPrefix(t.text, "-")
	if t.look != looksInt || digits == "" || digits[0] == '0' && digits != "0" || strings.Trim(digits, "0123456789") != "" {
		w.problem(t, "this must be a whole number in plain decimal digits, not %s", t.text)
		return
	}
	if p.class == classUint {
		n, err := strconv.ParseUint(t.text, 10, 64)
		if digits != t.text {
			w.problem(t, "this must not be negative")
			return
		}
		if err != nil || v.OverflowUint(n) {
			w.problem(t, "this number is too large")
			return
		}
		v.SetUint(n)
		return
	}
	n, err := strconv.ParseInt(t.text, 10, 64)
	if err != nil || v.OverflowInt(n) {
		w.problem(t, "this number is too large")
		return
	}
	v.SetInt(n)
}

func (w *walker) oneOrMany(t *tree, v reflect.Value, p *typePlan) {
	if t.kind == unit.Sequence {
		w.list(t, v, p)
		return
	}
	v.Set(reflect.MakeSlice(p.typ, 1, 1))
	w.value(t, v.Index(0), p.elem)
}

func (w *walker) list(t *tree, v reflect.Value, p *typePlan) {
	if t.kind != unit.Sequence {
		w.wrong(t, p)
		return
	}
	v.Set(reflect.MakeSlice(p.typ, len(t.children), len(t.children)))
	for i := range t.children {
		w.value(&t.children[i], v.Index(i), p.elem)
	}
}

func (w *walker) ordered(t *tree, v reflect.Value, p *typePlan) {
	if t.kind != unit.Mapping {
		w.wrong(t, p)
		return
	}
	w.duplicates(t)
	n := len(t.children) / 2
	v.Set(reflect.MakeSlice(p.typ, n, n))
	for i := range n {
		entry := v.Index(i)
		entry.Field(0).SetString(t.children[2*i].text)
		w.value(&t.children[2*i+1], entry.Field(1), p.elem)
	}
}

// duplicates reports every key of a mapping that was given before.
func (w *walker) duplicates(t *tree) {
	if len(t.children) <= 2 {
		return
	}
	first := make(map[string]*tree, len(t.children)/2)
	for i := 0; i < len(t.children); i += 2 {
		key := &t.children[i]
		if other, ok := first[key.text]; ok && !key.broken {
			w.twice(key, other)
			continue
		}
		first[key.text] = key
	}
}

func (w *walker) twice(key, first *tree) {
	w.problem(key, "%q is given twice", key.text)
	other := w.at.position(int(first.line), int(first.column))
	w.problems[len(w.problems)-1].Other = &other
}

func (w *walker) structure(t *tree, v reflect.Value, p *typePlan) {
	if t.kind == unit.Scalar && p.short {
		w.absent(v, p, 0)
		w.text(t, v, p)
		return
	}
	if t.kind != unit.Mapping {
		w.wrong(t, p)
		return
	}
	given := uint64(0) // plans have no more than 64 fields
	for i := 0; i < len(t.children); i += 2 {
		key, child := &t.children[i], &t.children[i+1]
		if key.broken {
			w.broken++
			continue
		}
		at, known := p.byName[key.text]
		if !known {
			w.other(t, key, child, v, p)
			continue
		}
		if given&(1<<at) != 0 {
			w.twice(key, keyOf(t, key.text))
			continue
		}
		given |= 1 << at
		f := p.fields[at]
		into := v.FieldByIndex(f.index)
		before := len(w.problems)
		w.value(child, into, f.plan)
		if f.rules != nil && len(w.problems) == before {
			w.obey(child, into, f.plan, f.rules)
		}
	}
	for at, f := range p.fields {
		if f.required && given&(1<<at) == 0 {
			w.problem(t, "%q is missing here", f.name)
		}
	}
	w.absent(v, p, given)
}

// other takes a key without a field of its own.
func (w *walker) other(t, key, child *tree, v reflect.Value, p *typePlan) {
	if p.rest == nil {
		w.unknown(key, p)
		return
	}
	if first := keyOf(t, key.text); first != key {
		w.twice(key, first)
		return
	}
	if p.nested {
		rest := v.FieldByIndex(p.rest).Addr().Interface().(*[]unit.Keyed)
		*rest = append(*rest, unit.Keyed{Name: key.text, Key: &Node{key, w.at}, Value: &Node{child, w.at}, Beside: p.names()})
		return
	}
	rest := v.FieldByIndex(p.rest).Addr().Interface().(*[]Keyed)
	settings := Node{child.clone(), w.at}
	if w.unbound {
		settings.at = place{}
	}
	*rest = append(*rest, Keyed{key.text, Mark{key.line, key.column}, settings})
}

func keyOf(t *tree, name string) *tree {
	for i := 0; i < len(t.children); i += 2 {
		if t.children[i].text == name {
			return &t.children[i]
		}
	}
	return t
}

func (w *walker) unknown(key *tree, p *typePlan) {
	w.problem(key, "unknown key %q%s", key.text, Meant(key.text, p.names(), "keys here"))
}

func (p *typePlan) names() []string {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.name
	}
	return names
}

// absent gives the fields that were not written their defaults.
func (w *walker) absent(v reflect.Value, p *typePlan, given uint64) {
	for at, f := range p.fields {
		if given&(1<<at) != 0 {
			continue
		}
		if f.fallback != nil {
			w.value(f.fallback, v.FieldByIndex(f.index), f.plan)
		} else if f.plan.class == classStruct {
			w.absent(v.FieldByIndex(f.index), f.plan, 0)
		}
	}
}

// obey checks a value against the rules of its field.
func (w *walker) obey(t *tree, v reflect.Value, p *typePlan, r *rules) {
	for p.class == classPointer {
		v, p = v.Elem(), p.elem
	}
	size, be, of := 0.0, "be", ""
	if p.class == classMarked {
		v = v.Field(0)
	}
	switch {
	case v.CanInt():
		size = float64(v.Int())
	case v.CanUint():
		size = float64(v.Uint())
	case v.CanFloat():
		size = v.Float()
	case v.Kind() == reflect.String:
		size, of = float64(utf8.RuneCountInString(v.String())), " characters long"
		w.word(t, v.String(), p, r)
	case v.Kind() == reflect.Slice:
		size, be, of = float64(v.Len()), "have", " entries"
		for i := range v.Len() {
			item := v.Index(i)
			if p.elem.class == classMarked {
				item = item.Field(0)
			}
			if item.Kind() == reflect.String {
				w.word(t.item(i), item.String(), p.elem, r)
			}
		}
	default:
		return
	}
	if r.min != nil && size < *r.min {
		w.problem(t, "this must %s at least %s%s", be, r.minText, singular(of, r.minText))
	}
	if r.max != nil && size > *r.max {
		w.problem(t, "this must %s at most %s%s", be, r.maxText, singular(of, r.maxText))
	}
}

func singular(of, number string) string {
	if number != "1" {
		return of
	}
	return strings.NewReplacer("entries", "entry", "characters", "character").Replace(of)
}

// item is the i-th value of a list, or the one value that stands for a list.
func (t *tree) item(i int) *tree {
	if t.kind == unit.Sequence {
		return &t.children[i]
	}
	return t
}

func (w *walker) word(t *tree, s string, p *typePlan, r *rules) {
	shown := strconv.Quote(t.shown(p))
	if t.expanded {
		shown = "what " + shown + " stands for"
	}
	if r.enum != nil && !slices.Contains(r.enum, s) {
		near := ""
		if !t.expanded {
			if meant := nearest.Word(s, r.enum); meant != "" {
				near = fmt.Sprintf("; did you mean %q?", meant)
			}
		}
		if len(r.enum) == 1 {
			w.problem(t, "%s is not %s, the only choice", shown, r.enum[0])
			return
		}
		w.problem(t, "%s is not one of %s%s", shown, strings.Join(r.enum, ", "), near)
	}
	if r.pattern != nil && !r.pattern.MatchString(s) {
		w.problem(t, "%s is not %s", shown, r.form)
	}
}

// fault turns an error of a type's own code into problems: at the place that it
// names, or else at t.
func (w *walker) fault(t *tree, err error) {
	switch e := err.(type) {
	case Problems:
		w.problems = append(w.problems, e...)
		return
	case *Problem:
		w.problems = append(w.problems, e)
		return
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			w.fault(t, one)
		}
		return
	}
	var many Problems
	var placed *unit.Placed
	switch {
	case errors.As(err, &many):
		w.problems = append(w.problems, many...)
	case errors.As(err, &placed):
		at, rest := t.find(placed.Path)
		if rest != "" {
			w.fault(at, fmt.Errorf("%s: %w", rest, placed.Err))
			return
		}
		w.fault(at, placed.Err)
	default:
		w.problem(t, "%s", err)
	}
}
