package config

import "strings"

// A large file is cut into parts that are parsed one by one, so that a reload costs
// what changed and not what there is. A cut is believed only when each part is YAML
// by itself: then nothing that begins in one reaches into the next, and the parts
// are what the whole is. Where there is any doubt the file is parsed as a whole.

// list is one of the document's lists.
type list uint8

const (
	listeners list = iota
	upstreams
	consumers
	policies
	routes
	lists // how many there are
	noList
)

func (l list) String() string {
	return [...]string{"listeners", "upstreams", "consumers", "policies", "routes"}[l]
}

// listNamed returns the list that stands under a key of a file, or noList.
func listNamed(key string) list {
	for l := range lists {
		if l.String() == key {
			return l
		}
	}
	return noList
}

// part is a section of a file, with its key, or an entry of a list.
type part struct {
	list   list // noList: a section
	base   int  // lines before it
	indent int  // of an entry's dash
	text   string
	// before is the same part in the previous load, or nil.
	before *decoded
}

// splitter cuts a text at its top-level keys, and lists at their entries.
type splitter struct {
	text  string
	at    int // where the line that is looked at begins
	line  int // lines before it
	parts []part
	// open is whether the last part takes further lines; list is the list whose
	// entries are being cut, and indent that of their dashes, -1 before the first.
	open   bool
	list   list
	indent int

	previous *previous
	pace     func()
}

// split returns the parts of a text, or false where it cannot be cut.
func (s *splitter) split() ([]part, bool) {
	s.list = noList
	for s.at < len(s.text) {
		if s.list != noList && s.indent >= 0 && s.reuse() {
			continue
		}
		end := strings.IndexByte(s.text[s.at:], '\n') + 1
		if end == 0 {
			end = len(s.text) - s.at
		}
		if !s.cut(s.text[s.at : s.at+end]) {
			return nil, false
		}
		s.at += end
		s.line++
	}
	s.close()
	s.previous.rest(s.parts)
	return s.parts, true
}

// close ends the part that is open.
func (s *splitter) close() {
	if !s.open {
		return
	}
	last := &s.parts[len(s.parts)-1]
	last.text = s.text[len(s.text)-len(last.text) : s.at]
	s.open = false
	if last.list != noList {
		last.before = s.previous.same(last)
	}
	if s.pace != nil && len(s.parts)%paceEvery == 0 {
		s.pace()
	}
}

// begin opens a part at this line. Until it is closed, its text reaches to the end
// of the file.
func (s *splitter) begin(l list, indent int) {
	s.close()
	s.parts = append(s.parts, part{list: l, base: s.line, indent: indent, text: s.text[s.at:]})
	s.open = true
}

// cut decides what a line begins.
func (s *splitter) cut(line string) bool {
	indent := 0
	for indent < len(line) && line[indent] == ' ' {
		indent++
	}
	if indent == len(line) || line[indent] == '\n' || line[indent] == '#' {
		return true
	}
	dash := line[indent] == '-' && (indent+1 == len(line) || line[indent+1] == ' ' || line[indent+1] == '\n')
	switch {
	case line[indent] == '\t':
		return false
	case indent == 0 && !dash:
		return s.section(line)
	case s.list == noList:
		return len(s.parts) > 0
	case s.indent < 0 && dash:
		s.indent = indent
	case indent > s.indent && s.indent >= 0:
		return true
	case indent != s.indent || !dash:
		return false
	}
	s.begin(s.list, indent)
	return true
}

// section begins the part of a top-level key.
func (s *splitter) section(line string) bool {
	name := 0
	for name < len(line) && (line[name] >= 'a' && line[name] <= 'z' || line[name] == '_') {
		name++
	}
	if name == 0 || name == len(line) || line[name] != ':' {
		return false
	}
	s.begin(noList, 0)
	s.list = noList
	rest := strings.TrimLeft(strings.TrimSuffix(line[name+1:], "\n"), " ")
	if rest == "" || rest[0] == '#' && line[name+1] == ' ' {
		s.list, s.indent = listNamed(line[:name]), -1
	}
	return true
}

// reuse takes the entry that stands at this line if the previous load had the same
// one next: then its lines need not be looked at.
func (s *splitter) reuse() bool {
	before := s.previous.next(s.text[s.at:], s.list, s.indent)
	if before == nil {
		return false
	}
	s.close()
	s.parts = append(s.parts, part{list: s.list, base: s.line, indent: s.indent, text: before.text, before: before})
	s.at += len(before.text)
	s.line += before.lines
	if s.pace != nil && len(s.parts)%paceEvery == 0 {
		s.pace()
	}
	return true
}

// paceEvery is after how many entries Pace is called.
const paceEvery = 64

// decoded is an entry as it was decoded. It is immutable.
type decoded struct {
	list   list
	indent int16
	lines  int
	text   string
	value  any // *Route, *Upstream, …
	refs   *[]reference
}

// reference is what a reference in an entry stood for when it was decoded.
type reference struct{ name, value string }

// previous finds entries of the previous load of a file. It may be nil.
type previous struct {
	entries []*decoded
	used    []bool
	at      int // the entry that is expected next
}

func newPrevious(entries []*decoded) *previous {
	if len(entries) == 0 {
		return nil
	}
	return &previous{entries: entries, used: make([]bool, len(entries))}
}

// ahead is how many entries behind the expected one are tried: as many may have
// been removed in one place before the lines of all that follow are looked at.
const ahead = 8

func (p *previous) use(i int) *decoded {
	p.used[i] = true
	p.at = i + 1
	return p.entries[i]
}

// next returns the entry with which a text begins, if it is the expected one.
func (p *previous) next(text string, l list, indent int) *decoded {
	if p == nil || p.at >= len(p.entries) {
		return nil
	}
	e := p.entries[p.at]
	if e.list != l || int(e.indent) != indent || !begins(text, e.text, indent) {
		return nil
	}
	return p.use(p.at)
}

// begins says whether a text begins with an entry that ends where the next one,
// or the next section, begins.
func begins(text, entry string, indent int) bool {
	if !strings.HasPrefix(text, entry) || entry[len(entry)-1] != '\n' {
		return false
	}
	rest := text[len(entry):]
	if rest == "" {
		return true
	}
	spaces := 0
	for spaces < len(rest) && spaces <= indent && rest[spaces] == ' ' {
		spaces++
	}
	if spaces == len(rest) {
		return false
	}
	if c := rest[spaces]; spaces == 0 && (c >= 'a' && c <= 'z' || c == '_') {
		return true
	}
	return spaces == indent && rest[spaces] == '-' && spaces+1 < len(rest) && rest[spaces+1] == ' '
}

// same returns the entry near the expected one that is equal to a part. What stands
// behind it is expected next.
func (p *previous) same(of *part) *decoded {
	if p == nil {
		return nil
	}
	for i := p.at; i < len(p.entries) && i < p.at+ahead; i++ {
		if p.entries[i].is(of) {
			return p.use(i)
		}
	}
	return nil
}

// rest looks for the parts that were not found in order among the entries that
// were not used: what was moved.
func (p *previous) rest(parts []part) {
	if p == nil {
		return
	}
	var byText map[string]*decoded
	for i := range parts {
		of := &parts[i]
		if of.list == noList || of.before != nil {
			continue
		}
		if byText == nil {
			byText = map[string]*decoded{}
			for k, e := range p.entries {
				if !p.used[k] {
					byText[e.text] = e
				}
			}
		}
		if e := byText[of.text]; e != nil && e.is(of) {
			of.before = e
		}
	}
}

func (e *decoded) is(of *part) bool {
	return e.list == of.list && int(e.indent) == of.indent && e.text == of.text
}
