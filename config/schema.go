package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// draft is the version of JSON Schema in which schemas are written.
const draft = "https://json-schema.org/draft/2020-12/schema"

// SchemaOf is the JSON Schema of a settings type, from the same description that
// the decoder follows; settings is a value of the type or a pointer to one.
func SchemaOf(settings any) []byte {
	g := newGenerator()
	s := &schema{}
	s.set("$schema", draft)
	s.join(g.of(g.plans.plan(settingsType(settings))))
	g.define(s)
	return s.indented()
}

// KindSchema is a kind of policy or target, for the schema of the whole document.
type KindSchema struct {
	Name       string
	Doc        string // one sentence
	Settings   any    // a value of its settings type, or a pointer to one
	Credential any    // the same of its credentials; nil where it has none
}

// Schema is the JSON Schema of a whole document, with the settings of every kind.
func Schema(policyKinds, targetKinds []KindSchema) []byte {
	g := newGenerator()
	g.targets = targetKinds
	defined := func(name string) func() *schema {
		return func() *schema { return new(schema).set("$ref", "#/$defs/"+name) }
	}
	g.special[reflect.TypeFor[Policy]()] = defined("policy")
	g.special[reflect.TypeFor[Credential]()] = defined("credential")
	g.special[reflect.TypeFor[Route]()] = defined("route")
	s := &schema{}
	s.set("$schema", draft).set("title", "Sluice configuration")
	s.join(g.object(g.plans.plan(reflect.TypeFor[layout]())))

	var credentials []KindSchema
	for _, k := range policyKinds {
		if k.Credential != nil {
			credentials = append(credentials, KindSchema{Name: k.Name, Doc: "What the policy " + k.Name + " knows the consumer by.", Settings: k.Credential})
		}
	}
	g.done.set("policy", g.keyed(reflect.TypeFor[Policy](), policyKinds))
	g.done.set("credential", g.keyed(reflect.TypeFor[Credential](), credentials))
	g.done.set("route", g.targeted(g.object(g.plans.plan(reflect.TypeFor[Route]()))))
	for _, k := range targetKinds {
		g.done.set(targetDefinition(k.Name), g.settings(k))
	}
	g.define(s)
	return s.indented()
}

// keyed is the schema of a mapping that has exactly one of the kinds among its keys.
func (g *generator) keyed(t reflect.Type, kinds []KindSchema) *schema {
	return oneKey(g.object(g.plans.plan(t)), kinds, g.settings)
}

// targeted is the same for kinds of targets, which are defined once.
func (g *generator) targeted(s *schema) *schema {
	return oneKey(s, g.targets, func(k KindSchema) *schema {
		return new(schema).set("$ref", "#/$defs/"+targetDefinition(k.Name))
	})
}

func targetDefinition(kind string) string { return "target_" + kind }

func oneKey(s *schema, kinds []KindSchema, settings func(KindSchema) *schema) *schema {
	s.set("additionalProperties", false)
	properties := s.values[slices.Index(s.keys, "properties")].(*schema)
	var one []any
	for _, k := range kinds {
		properties.set(k.Name, settings(k))
		one = append(one, new(schema).set("required", []any{k.Name}))
	}
	if len(one) == 0 {
		return s.set("not", &schema{}) // nothing can stand here
	}
	return s.set("oneOf", one)
}

func (g *generator) settings(k KindSchema) *schema {
	s := &schema{}
	if k.Doc != "" {
		s.set("description", k.Doc)
	}
	s.join(g.of(g.plans.plan(settingsType(k.Settings))))
	return s
}

func settingsType(settings any) reflect.Type {
	t := reflect.TypeOf(settings)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// schema is a JSON object whose keys keep their order.
type schema struct {
	keys   []string
	values []any // of schema, string, bool, float64, []any, json.RawMessage
}

func (s *schema) set(key string, value any) *schema {
	if i := slices.Index(s.keys, key); i >= 0 {
		s.values[i] = value
		return s
	}
	s.keys, s.values = append(s.keys, key), append(s.values, value)
	return s
}

func (s *schema) join(other *schema) {
	for i, key := range other.keys {
		s.set(key, other.values[i])
	}
}

// MarshalJSON writes the keys in order.
func (s *schema) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, key := range s.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(appendText(nil, key))
		b.WriteByte(':')
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(s.values[i]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (s *schema) indented() []byte {
	compact, err := s.MarshalJSON()
	if err != nil {
		panic(fmt.Sprintf("config: a schema that is no JSON: %v", err))
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		panic(fmt.Sprintf("config: a schema that is no JSON: %v", err))
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func typed(name string) *schema { return new(schema).set("type", name) }

func anyOf(choices ...*schema) *schema {
	var flat []any
	for _, c := range choices {
		if len(c.keys) == 1 && c.keys[0] == "anyOf" {
			flat = append(flat, c.values[0].([]any)...)
			continue
		}
		flat = append(flat, c)
	}
	return new(schema).set("anyOf", flat)
}

// generator makes schemas of types. Types that contain themselves go to $defs.
type generator struct {
	plans *plans
	open  []*typePlan
	defs  map[*typePlan]string
	done  schema
	// special replaces the schema of a type that does not know its own.
	special map[reflect.Type]func() *schema
	// targets are the kinds of targets, where they are known.
	targets []KindSchema
}

func newGenerator() *generator {
	return &generator{plans: newPlans(), defs: map[*typePlan]string{}, special: map[reflect.Type]func() *schema{}}
}

// define puts the collected definitions at the end of a schema.
func (g *generator) define(s *schema) {
	if len(g.done.keys) > 0 {
		s.set("$defs", &g.done)
	}
}

func (g *generator) of(p *typePlan) *schema {
	if special := g.special[p.typ]; special != nil {
		return special()
	}
	if name, ok := g.defs[p]; ok {
		return new(schema).set("$ref", "#/$defs/"+name)
	}
	if slices.Contains(g.open, p) {
		name := strings.ReplaceAll(p.typ.String(), ".", "_")
		g.defs[p] = name
		return new(schema).set("$ref", "#/$defs/"+name)
	}
	g.open = append(g.open, p)
	s := g.shape(p)
	g.open = g.open[:len(g.open)-1]
	if name, ok := g.defs[p]; ok && !slices.Contains(g.done.keys, name) {
		g.done.set(name, s)
		return new(schema).set("$ref", "#/$defs/"+name)
	}
	return s
}

func (g *generator) shape(p *typePlan) *schema {
	switch p.class {
	case classBool:
		return typed("boolean")
	case classInt:
		return typed("integer")
	case classUint:
		s := typed("integer").set("minimum", 0)
		if bits := p.typ.Bits(); bits < 64 {
			s.set("maximum", uint64(1)<<bits-1)
		}
		return s
	case classFloat:
		return typed("number")
	case classString, classText, classMarked:
		return word(p)
	case classSlice:
		return typed("array").set("items", g.of(p.elem))
	case classList:
		return anyOf(g.of(p.elem), typed("array").set("items", g.of(p.elem)))
	case classMap:
		return typed("object").set("propertyNames", new(schema).set("minLength", 1)).set("additionalProperties", g.of(p.elem))
	case classPointer:
		return g.of(p.elem)
	case classDecoder:
		return g.union(p)
	case classStruct:
		if p.short {
			return anyOf(word(p), g.object(p))
		}
		return g.object(p)
	}
	return &schema{}
}

// word is the schema of what is written as one word. A reference may stand in
// place of what has a pattern.
func word(p *typePlan) *schema {
	s := typed("string")
	if p.form.Pattern != "" {
		s.set("pattern", orReference(p.form.Pattern))
	}
	return s
}

func orReference(pattern string) string { return "(" + pattern + `)|\$\{(env|file):` }

func (g *generator) union(p *typePlan) *schema {
	union, ok := reflect.New(p.typ).Interface().(unit.Union)
	if !ok {
		return &schema{}
	}
	var choices []*schema
	for _, value := range union.Alternatives() {
		choices = append(choices, g.of(g.plans.plan(settingsType(value))))
	}
	return anyOf(choices...)
}

func (g *generator) object(p *typePlan) *schema {
	properties, required := &schema{}, []any{}
	for _, f := range p.fields {
		properties.set(f.name, g.field(f))
		if f.required {
			required = append(required, f.name)
		}
	}
	s := typed("object").set("properties", properties)
	if len(required) > 0 {
		s.set("required", required)
	}
	switch {
	case p.nested && g.targets != nil:
		return g.targeted(s)
	case p.rest != nil:
		return s
	}
	return s.set("additionalProperties", false)
}

func (g *generator) field(f *fieldPlan) *schema {
	s := &schema{}
	if f.doc != "" {
		s.set("description", f.doc)
	}
	inner := g.of(f.plan)
	switch {
	case f.rules == nil:
	case f.plan.class == classList:
		constrainList(inner, f.rules)
	default:
		constrain(inner, f.rules)
	}
	s.join(inner)
	if f.fallback != nil {
		w := walker{at: place{src: &source{plans: g.plans}}}
		s.set("default", json.RawMessage(w.json(nil, f.fallback)))
	}
	return s
}

// constrain adds the rules of a field to the schema of its type, wherever in it
// they apply.
func constrain(s *schema, r *rules) {
	if i := slices.Index(s.keys, "anyOf"); i >= 0 {
		for _, choice := range s.values[i].([]any) {
			constrain(choice.(*schema), r)
		}
		return
	}
	i := slices.Index(s.keys, "type")
	if i < 0 {
		return
	}
	switch s.values[i] {
	case "integer", "number":
		bound(s, "minimum", "maximum", r)
	case "string":
		constrainWord(s, r)
	case "array":
		bound(s, "minItems", "maxItems", r)
		if items, ok := s.values[slices.Index(s.keys, "items")].(*schema); ok && (r.enum != nil || r.pattern != nil) {
			constrain(items, &rules{enum: r.enum, pattern: r.pattern})
		}
	}
}

// constrainList is constrain where one value may stand in place of a list: bounds are those of the
// list, which comes last.
func constrainList(s *schema, r *rules) {
	choices := s.values[slices.Index(s.keys, "anyOf")].([]any)
	last := len(choices) - 1
	for _, choice := range choices[:last] {
		constrain(choice.(*schema), &rules{enum: r.enum, pattern: r.pattern})
	}
	constrain(choices[last].(*schema), r)
}

func constrainWord(s *schema, r *rules) {
	if slices.Contains(s.keys, "pattern") {
		return // a unit: its bounds cannot be said in a schema
	}
	bound(s, "minLength", "maxLength", r)
	if r.enum != nil {
		words := make([]any, len(r.enum))
		for i, word := range r.enum {
			words[i] = word
		}
		s.set("enum", words)
	}
	if r.pattern != nil {
		s.set("pattern", orReference(r.pattern.String()))
	}
}

func bound(s *schema, least, most string, r *rules) {
	if r.min != nil && *r.min == math.Trunc(*r.min) {
		s.set(least, *r.min)
	}
	if r.max != nil && *r.max == math.Trunc(*r.max) {
		s.set(most, *r.max)
	}
}
