package config

import "reflect"

// Section is a part of the document for the documentation: the top-level keys, or
// what stands below one of them.
type Section struct {
	Key   string // "document" for the top-level keys
	Table string // in Markdown, as SettingsTable makes it
}

// Sections describes the whole document, from the types that the decoder fills.
func Sections() []Section {
	t := &table{plans: newPlans()}
	top := t.plans.plan(reflect.TypeFor[layout]())
	for _, f := range top.fields {
		t.own(f)
	}
	all := []Section{{"document", t.text()}}
	for _, f := range top.fields {
		p := f.plan.base()
		if p.class == classSlice {
			p = p.elem
		}
		if p.class != classStruct {
			continue
		}
		below := &table{plans: t.plans}
		below.rows(p, "")
		all = append(all, Section{f.name, below.text()})
	}
	return all
}

// own adds the row of a top-level key without what stands below it.
func (t *table) own(f *fieldPlan) {
	fallback := ""
	if f.defaults != "" {
		fallback = "`" + f.defaults + "`"
	}
	t.row("`"+f.name+"`", t.kind(f.plan.base(), f.rules), fallback, f.doc)
}
