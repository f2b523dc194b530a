package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// SettingsTable is the table of a settings type for a README, in Markdown, from the
// same description that the decoder follows. A type without settings gives a
// sentence.
func SettingsTable(settings any) string {
	t := &table{plans: newPlans()}
	p := t.plans.plan(settingsType(settings))
	t.rows(p, "")
	if len(t.lines) == 0 {
		if p.class == classStruct && len(p.fields) == 0 {
			return "There are no settings: write `{}`.\n"
		}
		t.row("(the value itself)", t.kind(p, nil), "", "")
	}
	return t.text()
}

func (t *table) text() string {
	return "| Setting | Type | Default | Meaning |\n|---|---|---|---|\n" + strings.Join(t.lines, "")
}

type table struct {
	plans *plans
	lines []string
	open  []*typePlan
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ")
	}
	t.lines = append(t.lines, "| "+strings.Join(cells, " | ")+" |\n")
}

func (t *table) rows(p *typePlan, prefix string) {
	for _, open := range t.open {
		if open == p {
			return
		}
	}
	t.open = append(t.open, p)
	defer func() { t.open = t.open[:len(t.open)-1] }()
	switch p.class {
	case classPointer:
		t.rows(p.elem, prefix)
	case classList, classSlice:
		t.rows(p.elem, strings.TrimSuffix(prefix, ".")+"[].")
	case classMap:
		t.rows(p.elem, prefix+"*.")
	case classDecoder:
		for _, choice := range t.choices(p) {
			t.rows(choice, prefix)
		}
	case classStruct:
		if p.nested {
			t.row("`"+prefix+"KIND`", "target", "required", p.restDoc)
		}
		for _, f := range p.fields {
			t.field(f, prefix)
		}
	}
}

func (t *table) field(f *fieldPlan, prefix string) {
	base := f.plan.base()
	fallback := ""
	switch {
	case f.required:
		fallback = "required"
	case f.defaults != "":
		fallback = "`" + f.defaults + "`"
	}
	if base.class != classStruct || base.short || f.doc != "" {
		t.row("`"+prefix+f.name+"`", t.kind(base, f.rules), fallback, f.doc)
	}
	t.rows(base, prefix+f.name+".")
}

func (t *table) choices(p *typePlan) []*typePlan {
	union, ok := reflect.New(p.typ).Interface().(unit.Union)
	if !ok {
		return nil
	}
	var all []*typePlan
	for _, value := range union.Alternatives() {
		all = append(all, t.plans.plan(settingsType(value)))
	}
	return all
}

// kind is the type of a setting in words.
func (t *table) kind(p *typePlan, r *rules) string {
	name := p.form.Name
	if name == "" {
		name = t.name(p, r)
	}
	return name + rangeOf(p, r)
}

func (t *table) name(p *typePlan, r *rules) string {
	switch p.class {
	case classBool:
		return "true or false"
	case classInt, classUint:
		return "whole number"
	case classFloat:
		return "number"
	case classString, classMarked:
		if r != nil && r.enum != nil {
			return "`" + strings.Join(r.enum, "`, `") + "`"
		}
		return "text"
	case classSlice:
		return "list of " + t.kind(p.elem, elementRules(r))
	case classList:
		one := t.kind(p.elem, elementRules(r))
		return one + ", or a list"
	case classMap:
		return "mapping to " + t.kind(p.elem, nil)
	case classPointer:
		return t.kind(p.elem, r)
	case classDecoder:
		return t.unionName(p)
	case classStruct:
		switch {
		case p.short:
			return "text or mapping"
		case p.isTarget():
			return "target"
		}
		return "mapping"
	case classAny, classNode:
		return "anything"
	}
	return "text"
}

func (t *table) unionName(p *typePlan) string {
	var names []string
	for _, choice := range t.choices(p) {
		if name := t.kind(choice, nil); len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "anything"
	}
	return strings.Join(names, " or ")
}

func elementRules(r *rules) *rules {
	if r == nil {
		return nil
	}
	return &rules{enum: r.enum, pattern: r.pattern, form: r.form}
}

func rangeOf(p *typePlan, r *rules) string {
	if r == nil || r.min == nil && r.max == nil {
		return ""
	}
	of := ""
	switch p.class {
	case classString, classMarked:
		of = " characters"
	case classSlice, classList, classMap:
		of = " entries"
	}
	switch {
	case r.min != nil && r.max != nil:
		return fmt.Sprintf(", %s to %s%s", r.minText, r.maxText, of)
	case r.min != nil:
		return fmt.Sprintf(", at least %s%s", r.minText, of)
	}
	return fmt.Sprintf(", at most %s%s", r.maxText, of)
}
