package config

import (
	"reflect"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// file is one file of a document while it is loaded.
type file struct {
	l     *loader
	src   *source
	stack []string // the files that include it, and itself

	entries  []entry
	sections []section
	problems Problems
	decoded  []*decoded
	block    block
}

// entry is one entry of a list, decoded.
type entry struct {
	list  list
	base  int
	value any
}

// section is a top-level key and its value; places are those of the file.
type section struct {
	key, value tree
	entries    bool // it is a list, and its entries are in file.entries
}

// load reads the file in parts where it can, and else as a whole.
func (f *file) load(text string) {
	f.block.finish = f.parser(0).finish
	if !f.loadParts(text) {
		f.entries, f.sections, f.problems, f.decoded = nil, nil, nil, nil
		f.src.text, f.src.segments = text, nil
		f.loadWhole(text)
		// What the last good load left is kept for the next one.
		f.decoded = f.l.cache.files[f.src.name]
	}
	f.l.fresh[f.src.name] = f.decoded
	f.l.problems = append(f.l.problems, f.problems...)
	f.join()
}

// parser makes a parser of the library's kind for a part after base lines.
func (f *file) parser(base int) *parser {
	return &parser{refs: f.l.refs, report: func(line, column int, message string) {
		f.problems = append(f.problems, place{f.src, base}.problem(line, column, message))
	}}
}

func (f *file) loadWhole(text string) {
	p := f.parser(0)
	fault := checkText(text)
	var root *tree
	if fault == nil {
		root, fault = p.parse(text, 1)
	}
	if fault != nil {
		p.report(fault.line, fault.column, fault.message)
		return
	}
	if root.kind == unit.Null {
		return
	}
	if root.kind != unit.Mapping {
		w := walker{at: place{src: f.src}}
		w.wrong(root, f.l.layout)
		f.problems = append(f.problems, w.problems...)
		return
	}
	for i := 0; i < len(root.children); i += 2 {
		key, value := root.children[i], root.children[i+1]
		f.sections = append(f.sections, section{key, value, f.whole(key.text, &value, 0)})
	}
}

// whole decodes the entries of a list that is read as a whole.
func (f *file) whole(key string, value *tree, base int) bool {
	l := listNamed(key)
	if l == noList || value.kind != unit.Sequence {
		return false
	}
	for k := range value.children {
		v, _ := f.decode(l, &value.children[k], base)
		f.entries = append(f.entries, entry{l, base, v})
	}
	return true
}

// decode makes an entry of a list; clean says that it has no problem.
func (f *file) decode(l list, t *tree, base int) (value any, clean bool) {
	plan := f.l.entryPlan(l)
	v := reflect.New(plan.typ)
	w := walker{at: place{f.src, base}, unbound: true}
	w.value(t, v.Elem(), plan)
	f.problems = append(f.problems, w.problems...)
	if route, ok := v.Interface().(*Route); ok && route.Name.Value == "" {
		route.derive(Mark{t.line, t.column})
	}
	f.l.pace()
	return v.Interface(), len(w.problems) == 0
}

// entryPlan is the plan of the entries of a list.
func (l *loader) entryPlan(of list) *typePlan {
	return l.layout.fields[l.layout.byName[of.String()]].plan.elem
}

// loadParts reads the file part by part. It returns false where the parts may not
// be what the whole is.
func (f *file) loadParts(text string) bool {
	s := splitter{text: text, previous: newPrevious(f.l.cache.files[f.src.name]), pace: f.l.cache.Pace}
	parts, ok := s.split()
	if !ok {
		return false
	}
	f.entries = make([]entry, 0, len(parts))
	f.decoded = make([]*decoded, 0, len(parts))
	f.src.segments = make([]segment, 0, len(parts))
	for i := range parts {
		p := &parts[i]
		if p.before != nil && f.fresh(p.before) {
			f.entries = append(f.entries, entry{p.list, p.base, p.before.value})
			f.sections[len(f.sections)-1].entries = true
			f.decoded = append(f.decoded, p.before)
			f.src.segments = append(f.src.segments, segment{p.base, p.before.text})
			continue
		}
		// A copy: the whole text would be kept by whatever keeps one string of it.
		p.text = strings.Clone(p.text)
		f.src.segments = append(f.src.segments, segment{p.base, p.text})
		if !f.part(p) {
			return false
		}
	}
	f.src.text = ""
	return true
}

// fresh says whether the references in an entry still stand for the same. All are
// looked up, so that the files among them are watched.
func (f *file) fresh(d *decoded) bool {
	if d.refs == nil {
		return true
	}
	same := true
	for _, r := range *d.refs {
		now := f.l.refs.lookup(r.name)
		same = same && now.err == nil && now.value == r.value
	}
	return same
}

// part reads a section or an entry.
func (f *file) part(p *part) bool {
	before := len(f.problems)
	f.l.refs.take()
	t, ok := f.parsePart(p)
	if !ok {
		return false
	}
	if p.list == noList {
		if t.kind != unit.Mapping || len(t.children) != 2 {
			return false
		}
		key, value := t.children[0], *t.children[1].clone()
		entries := f.whole(key.text, &value, p.base)
		key.shift(p.base)
		value.shift(p.base)
		f.sections = append(f.sections, section{key, value, entries})
		return true
	}
	f.sections[len(f.sections)-1].entries = true
	if t.kind != unit.Sequence || len(t.children) != 1 {
		return false
	}
	value, clean := f.decode(p.list, &t.children[0], p.base)
	f.entries = append(f.entries, entry{p.list, p.base, value})
	if clean && len(f.problems) == before {
		f.decoded = append(f.decoded, f.remember(p, value))
	}
	return true
}

func (f *file) remember(p *part, value any) *decoded {
	d := &decoded{list: p.list, indent: int16(min(p.indent, 1<<14)), lines: strings.Count(p.text, "\n"), text: p.text, value: value}
	if used := f.l.refs.take(); len(used) > 0 {
		refs := make([]reference, len(used))
		for i, name := range used {
			refs[i] = reference{name, f.l.refs.seen[name].value}
		}
		d.refs = &refs
	}
	return d
}

// parsePart makes a tree of a part, with the fast parser where that is enough.
func (f *file) parsePart(p *part) (tree, bool) {
	before := len(f.problems)
	slow := f.parser(p.base)
	f.block.report = slow.report
	t, ok := f.block.parse(p.text)
	if ok {
		return t, true
	}
	f.problems = f.problems[:before]
	if checkText(p.text) != nil || strings.ContainsAny(p.text, "\r\u0085\u2028\u2029") {
		return tree{}, false
	}
	depth := 1
	if p.list != noList {
		depth = 2
	}
	root, fault := slow.parse(p.text, depth)
	if fault != nil || slow.anchors {
		return tree{}, false
	}
	return *root, true
}

// shift moves a tree down by lines.
func (t *tree) shift(lines int) {
	t.line += int32(lines)
	for i := range t.children {
		t.children[i].shift(lines)
	}
}

// join puts what was read into the document.
func (f *file) join() {
	doc := f.l.doc
	for i := range f.entries {
		e := &f.entries[i]
		switch v := e.value.(type) {
		case *Listener:
			doc.Listeners = append(doc.Listeners, Item[Listener]{v, f.src, e.base})
		case *Upstream:
			doc.Upstreams = append(doc.Upstreams, Item[Upstream]{v, f.src, e.base})
		case *Consumer:
			doc.Consumers = append(doc.Consumers, Item[Consumer]{v, f.src, e.base})
		case *Policy:
			doc.Policies = append(doc.Policies, Item[Policy]{v, f.src, e.base})
		case *Route:
			doc.Routes = append(doc.Routes, Item[Route]{v, f.src, e.base})
		}
	}
	w := &walker{at: place{src: f.src}}
	for i := range f.sections {
		f.section(w, i)
	}
	f.l.problems = append(f.l.problems, w.problems...)
}

// section decodes a top-level key that is no list of entries.
func (f *file) section(w *walker, i int) {
	key, value := &f.sections[i].key, &f.sections[i].value
	at, known := f.l.layout.byName[key.text]
	if !known {
		w.unknown(key, f.l.layout)
		return
	}
	for k := range i {
		if first := &f.sections[k].key; first.text == key.text {
			w.twice(key, first)
			return
		}
	}
	field := f.l.layout.fields[at]
	if listNamed(key.text) != noList {
		f.list(w, &f.sections[i], field.plan)
		return
	}
	doc := f.l.doc
	switch key.text {
	case "version":
		w.value(value, reflect.ValueOf(new(version)).Elem(), field.plan)
	case "include":
		var patterns unit.List[Text]
		w.value(value, reflect.ValueOf(&patterns).Elem(), field.plan)
		for _, pattern := range patterns {
			f.l.include(pattern, f)
		}
	case "admin":
		f.once(w, key, value, reflect.ValueOf(&doc.Admin).Elem(), field.plan)
	case "telemetry":
		f.once(w, key, value, reflect.ValueOf(&doc.Telemetry).Elem(), field.plan.elem)
	case "drain":
		f.once(w, key, value, reflect.ValueOf(&doc.Drain).Elem(), field.plan.elem)
	}
}

// list looks at the value of a list's key, if it has no entries.
func (f *file) list(w *walker, s *section, plan *typePlan) {
	switch {
	case s.entries:
	case s.value.kind == unit.Null:
		w.nothing(&s.value, plan)
	case s.value.kind != unit.Sequence:
		w.wrong(&s.value, plan)
	}
}

// once decodes a key that may be given in one file only.
func (f *file) once(w *walker, key, value *tree, into reflect.Value, plan *typePlan) {
	at := w.at.position(int(key.line), int(key.column))
	if first, ok := f.l.single[key.text]; ok {
		w.problem(key, "%q is given in two files", key.text)
		w.problems[len(w.problems)-1].Other = &first
		return
	}
	f.l.single[key.text] = at
	w.value(value, into, plan)
}
