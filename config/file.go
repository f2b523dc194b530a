package config

import (
	"hash/maphash"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// file is one file of a document while it is loaded.
type file struct {
	l     *loader
	src   *source
	stack []string // the files that include it, and itself

	entries  []entry // the parts of a file that is read in parts
	extra    []entry // entries of lists that are read as a whole
	sections []section
	problems Problems
	within   int     // problems that belong to an entry
	kept     []entry // for the next load
	block    block
}

// section is a top-level key and its value; places are those of the file.
type section struct {
	key, value tree
	entries    bool // it is a list, and its entries are in file.entries
}

// load reads the file in parts where it can, and else as a whole.
func (f *file) load(text string) {
	f.block.finish = f.parser(0).finish
	if f.l.cache.whole || !f.loadParts(text) {
		f.entries, f.extra, f.sections, f.problems, f.within = nil, nil, nil, nil, 0
		f.loadWhole(text)
		// What the last load in parts left is kept for the next one.
		f.kept = f.l.cache.files[f.src.name]
	} else {
		f.src.text, f.src.parts = "", f.entries
	}
	f.l.fresh[f.src.name] = f.kept
	f.l.problems = append(f.l.problems, f.problems...)
	f.l.within += f.within
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
		f.extra = append(f.extra, entry{base, f.decode(l, &value.children[k], base)})
	}
	return true
}

// decode makes an entry of a list.
func (f *file) decode(l list, t *tree, base int) *decoded {
	plan := f.l.entryPlan(l)
	v := reflect.New(plan.typ)
	w := walker{at: place{f.src, base}, unbound: true}
	w.value(t, v.Elem(), plan)
	w.conceal(t.child("credentials"))
	d := &decoded{list: l, clean: len(w.problems) == 0, value: v.Interface()}
	if all := w.all(); len(all) > 0 {
		f.problems = append(f.problems, all...)
		f.within += len(all)
		f.l.faulty[d.value] = true
	}
	name := ""
	switch v := d.value.(type) {
	case *Listener:
		name = v.Name.Value
	case *Upstream:
		name = v.Name.Value
	case *Consumer:
		name = v.Name.Value
	case *Route:
		if v.Name.Value == "" {
			v.derive(Mark{t.line, t.column})
		}
		name = v.Name.Value
		d.listens = len(v.Match.Listener) > 0
	}
	d.nameHash = maphash.String(f.l.cache.seed, name)
	f.l.pace()
	return d
}

// entryPlan is the plan of the entries of a list.
func (l *loader) entryPlan(of list) *typePlan {
	return l.layout.fields[l.layout.byName[of.String()]].plan.elem
}

// loadParts reads the file part by part. It returns false where the parts may not
// be what the whole is.
func (f *file) loadParts(text string) bool {
	before := f.l.cache.files[f.src.name]
	f.entries = make([]entry, 0, len(before)+64)
	s := splitter{text: text, previous: newPrevious(before)}
	var late []latePart // what was not found near its place
	s.found = func(p part) {
		// A copy: the whole text would be kept by whatever keeps one string of it.
		p.text = strings.Clone(p.text)
		late = append(late, latePart{p, len(f.entries), len(f.sections)})
		f.entries = append(f.entries, entry{base: p.base})
		if p.list == noList {
			f.sections = append(f.sections, section{})
		}
	}
	s.reused = func(base, from int, d *decoded) {
		if !f.fresh(d) {
			s.found(part{list: d.list, indent: d.indent, base: base, from: from, text: d.text})
			return
		}
		if d.section != nil {
			f.again(base, d.section)
		}
		f.entries = append(f.entries, entry{base, d})
		f.l.pace()
	}
	if !s.split() {
		return false
	}
	for i := range late {
		p := &late[i]
		e := &f.entries[p.entry]
		if e.decoded = s.previous.elsewhere(&p.part); e.decoded != nil && f.fresh(e.decoded) {
			continue
		}
		if e.decoded = f.part(&p.part, p.section); e.decoded == nil {
			return f.faulty(text, p)
		}
	}
	f.own()
	f.kept = f.entries
	return true
}

// faulty looks for the fault in a part that is no YAML by itself, all before it being
// well: what follows the last good part is read to the fault, and not the whole file
// again. It returns false if there is none: then the cuts were wrong. What stands
// before the part is stood for by the least that leaves it in the same place.
func (f *file) faulty(text string, p *latePart) bool {
	head := ""
	switch {
	case p.list == noList && p.section > 0:
		head = "key: 0\n"
	case p.list != noList && f.entries[p.entry-1].list == noList:
		head = "key:\n"
	case p.list != noList:
		head = "key:\n" + strings.Repeat(" ", p.indent) + "- 0\n"
	}
	rest, lines := head+text[p.from:], p.base-strings.Count(head, "\n")
	fault := checkText(rest)
	if fault == nil {
		_, fault = f.parser(0).parse(rest, 1)
	}
	if fault == nil || strings.Contains(fault.message, "anchor") {
		return false
	}
	f.entries, f.extra, f.sections, f.problems = nil, nil, nil, nil
	f.parser(lines).report(fault.line, fault.column, fault.message)
	f.kept = f.l.cache.files[f.src.name]
	return true
}

// latePart is a part that is read when all parts are known, and where it belongs in
// entries and, if it is one, in sections.
type latePart struct {
	part
	entry, section int
}

// own tells each section that it has entries: they stand behind it.
func (f *file) own() {
	n := -1
	for i := range f.entries {
		if f.entries[i].list == noList {
			n++
		} else {
			f.sections[n].entries = true
		}
	}
	slices.SortStableFunc(f.extra, func(a, b entry) int { return a.base - b.base })
}

// fresh says whether the references in an entry still stand for the same. All are
// looked up, so that the files among them are watched.
func (f *file) fresh(d *decoded) bool {
	if d.refs == nil {
		return true
	}
	same := true
	for _, r := range *d.refs {
		now := f.l.refs.value(r.name)
		same = same && now.err == nil && now.value == r.value
	}
	return same
}

// part reads a section or an entry; nil means that the file cannot be read in parts.
func (f *file) part(p *part, section int) *decoded {
	before := len(f.problems)
	f.l.refs.take()
	t, plain, ok := f.parsePart(p)
	if !ok {
		return nil
	}
	if plain {
		p.text = p.trim()
	}
	var d *decoded
	if p.list == noList {
		d = f.sectionPart(p, &t, section)
	} else {
		d = f.entryPart(p, &t)
	}
	if d == nil {
		return nil
	}
	d.indent, d.lines, d.text, d.trimmed = p.indent, strings.Count(p.text, "\n"), p.text, plain
	d.clean = len(f.problems) == before && (p.list != noList || d.section != nil)
	if used := f.l.refs.take(); len(used) > 0 {
		refs := make([]reference, len(used))
		for i, name := range used {
			refs[i] = reference{name, f.l.refs.value(name).value}
		}
		d.refs = &refs
	}
	return d
}

func (f *file) entryPart(p *part, t *tree) *decoded {
	if t.kind != unit.Sequence || len(t.children) != 1 {
		return nil
	}
	return f.decode(p.list, &t.children[0], p.base)
}

func (f *file) sectionPart(p *part, t *tree, at int) *decoded {
	if t.kind != unit.Mapping || len(t.children) != 2 {
		return nil
	}
	d := &decoded{list: noList}
	key, value := t.children[0], *t.children[1].clone()
	first := len(f.extra)
	entries := f.whole(key.text, &value, p.base)
	if entries {
		d.section = &listSection{key: key}
		for _, e := range f.extra[first:] {
			d.section.entries = append(d.section.entries, e.decoded)
		}
	}
	key.shift(p.base)
	value.shift(p.base)
	f.sections[at] = section{key, value, entries}
	return d
}

// again takes a list that was read as a whole and has not changed.
func (f *file) again(base int, s *listSection) {
	key := s.key
	key.shift(base)
	f.sections = append(f.sections, section{key: key, entries: true})
	for _, d := range s.entries {
		f.extra = append(f.extra, entry{base, d})
	}
}

// parsePart makes a tree of a part, with the fast parser where that is enough: then
// the part is plain.
func (f *file) parsePart(p *part) (t tree, plain, ok bool) {
	before := len(f.problems)
	slow := f.parser(p.base)
	f.block.report = slow.report
	if t, ok = f.block.parse(p.text); ok {
		return t, true, true
	}
	f.problems = f.problems[:before]
	if !ordinary(p.text) {
		return tree{}, false, false
	}
	depth := 1
	if p.list != noList {
		depth = 2
	}
	root, fault := slow.parse(p.text, depth)
	if fault != nil || slow.anchors {
		return tree{}, false, false
	}
	return *root, false, true
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
	f.l.doc.Routes = slices.Grow(f.l.doc.Routes, len(f.entries))
	extra := f.extra
	for _, e := range f.entries {
		for len(extra) > 0 && extra[0].base <= e.base {
			f.add(extra[0])
			extra = extra[1:]
		}
		f.add(e)
		f.l.pace()
	}
	for _, e := range extra {
		f.add(e)
	}
	w := &walker{at: place{src: f.src}}
	for i := range f.sections {
		f.section(w, i)
	}
	f.l.problems = append(f.l.problems, w.problems...)
}

// add puts one entry into its list.
func (f *file) add(e entry) {
	l, doc := f.l, f.l.doc
	if e.value == nil {
		return
	}
	l.names[e.list] = append(l.names[e.list], e.nameHash)
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
		if e.listens {
			l.listening = append(l.listening, len(doc.Routes))
		}
		doc.Routes = append(doc.Routes, Item[Route]{v, f.src, e.base})
	}
}

// section decodes a top-level key that is no list of entries.
func (f *file) section(w *walker, i int) {
	key, value := &f.sections[i].key, &f.sections[i].value
	if key.broken {
		return
	}
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
