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
	indent int  // of an entry's dash
	base   int  // lines before it
	from   int  // bytes before it
	text   string
	// trimmed is what trim has returned.
	trimmed string
}

// entry is a part of a file as it was read, and the lines before it.
type entry struct {
	base int
	*decoded
}

// decoded is what was made of a part. It is immutable, and shared by the loads in
// which the part reads the same.
type decoded struct {
	list     list
	clean    bool // it has no problem: the next load may use it
	trimmed  bool // text ends where the last value does: blank lines and comments behind it are nothing
	listens  bool // a route that names listeners
	indent   int
	lines    int
	text     string
	value    any    // *Route, *Upstream, …; nil for a section
	nameHash uint64 // of the value's name
	refs     *[]reference
	section  *listSection // a list that was read as a whole
}

// listSection is what was made of a list that is not cut into its entries.
type listSection struct {
	key     tree // its place is that in the part
	entries []*decoded
}

// reference is what a reference in an entry stood for when it was decoded.
type reference struct{ name, value string }

// splitter cuts a text at its top-level keys, and lists at their entries.
type splitter struct {
	text string
	at   int // where the line that is looked at begins
	line int // lines before it
	open bool
	part part // while it is open
	// list is the list whose entries are being cut, and indent that of their dashes,
	// -1 before the first.
	list   list
	indent int

	previous *previous
	// reused is called with a part that the previous load had, found with one that
	// it may not have had; in order.
	reused func(base, from int, d *decoded)
	found  func(p part)
}

// split cuts the text; false means that it cannot be cut.
func (s *splitter) split() bool {
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
			return false
		}
		s.at += end
		s.line++
	}
	s.close()
	return true
}

// close ends the part that is open.
func (s *splitter) close() {
	if !s.open {
		return
	}
	s.open = false
	s.part.text = s.text[s.part.from:s.at]
	if d := s.previous.same(&s.part); d != nil {
		s.reused(s.part.base, s.part.from, d)
		return
	}
	s.found(s.part)
}

// begin opens a part at this line.
func (s *splitter) begin(l list, indent int) {
	s.close()
	s.part = part{list: l, base: s.line, from: s.at, indent: indent}
	s.open = true
}

// reuse takes the entry that stands at this line if the previous load had the same
// one next: then its lines need not be looked at.
func (s *splitter) reuse() bool {
	d := s.previous.next(s.text[s.at:], s.list, s.indent)
	if d == nil {
		return false
	}
	s.close()
	s.reused(s.line, s.at, d)
	s.at += len(d.text)
	s.line += d.lines
	if d.trimmed {
		length, lines, _ := trailer(s.text[s.at:])
		s.at += length
		s.line += lines
	}
	return true
}

// cut decides what a line begins.
func (s *splitter) cut(line string) bool {
	indent := 0
	for indent < len(line) && line[indent] == ' ' {
		indent++
	}
	if indent == len(line) || line[indent] == '\n' || line[indent] == '#' {
		// What stands before the first section belongs to no part that is parsed.
		return s.open || ordinary(line)
	}
	dash := line[indent] == '-' && (indent+1 == len(line) || line[indent+1] == ' ' || line[indent+1] == '\n')
	switch {
	case line[indent] == '\t':
		return false
	case indent == 0 && !dash:
		return s.section(line)
	case s.list == noList:
		return s.open
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

// ordinary says whether a text has nothing that a YAML text may not have, and no
// line ends but line feeds.
func ordinary(text string) bool {
	return plainBytes(text) || checkText(text) == nil && !strings.ContainsAny(text, "\r\u0085\u2028\u2029")
}

// section begins the part of a top-level key.
func (s *splitter) section(line string) bool {
	name := 0
	for name < len(line) && (line[name] >= 'a' && line[name] <= 'z' || line[name] == '_') {
		name++
	}
	if name == 0 || name == len(line) || line[name] != ':' || name+1 < len(line) && line[name+1] != ' ' && line[name+1] != '\n' {
		return false
	}
	s.begin(noList, 0)
	s.list = noList
	rest := strings.TrimLeft(strings.TrimSuffix(line[name+1:], "\n"), " ")
	if rest == "" || rest[0] == '#' {
		s.list, s.indent = listNamed(line[:name]), -1
	}
	return true
}

// previous finds entries of the previous load of a file. It may be nil.
type previous struct {
	entries []entry
	used    []bool
	at      int // the entry that is expected next
	moved   map[string]*decoded
}

func newPrevious(entries []entry) *previous {
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
	return p.entries[i].decoded
}

// next returns the entry with which a text begins, if it is the expected one.
func (p *previous) next(text string, l list, indent int) *decoded {
	if p == nil || p.at >= len(p.entries) {
		return nil
	}
	e := p.entries[p.at].decoded
	if e.list != l || e.indent != indent || !e.clean || !begins(text, e, indent) {
		return nil
	}
	return p.use(p.at)
}

// begins says whether a text begins with an entry that ends where the next one,
// or the next section, begins.
func begins(text string, e *decoded, indent int) bool {
	if !strings.HasPrefix(text, e.text) || e.text[len(e.text)-1] != '\n' {
		return false
	}
	rest := text[len(e.text):]
	if e.trimmed {
		length, _, ok := trailer(rest)
		if !ok {
			return false
		}
		rest = rest[length:]
	}
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

// trailer measures the blank lines and comments with which a text begins. It is not
// ok if they have a byte that somebody has to look at.
func trailer(text string) (length, lines int, ok bool) {
	for length < len(text) {
		at := length
		for at < len(text) && text[at] == ' ' {
			at++
		}
		if at < len(text) && text[at] == '#' {
			for at < len(text) && text[at] != '\n' {
				if text[at] < ' ' || text[at] > '~' {
					return 0, 0, false
				}
				at++
			}
		}
		if at < len(text) && text[at] != '\n' {
			break
		}
		length = min(at+1, len(text))
		lines++
	}
	return length, lines, true
}

// trim cuts blank lines and comments off the end of a text.
func trim(text string) string {
	for text != "" {
		start := strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n') + 1
		line := strings.TrimLeft(text[start:], " ")
		if line != "" && line[0] != '\n' && line[0] != '#' {
			return text
		}
		text = text[:start]
	}
	return text
}

// same returns the entry near the expected one that is equal to a part. What stands
// behind it is expected next.
func (p *previous) same(of *part) *decoded {
	if p == nil {
		return nil
	}
	for i := p.at; i < len(p.entries) && i < p.at+ahead; i++ {
		d := p.entries[i].decoded
		if d.is(of) {
			return p.use(i)
		}
		if d.list == noList && of.list == noList && sameKey(d.text, of.text) {
			p.at = i + 1 // it is read again, but what follows is expected to follow
			return nil
		}
	}
	return nil
}

func sameKey(a, b string) bool {
	key, _, _ := strings.Cut(a, ":")
	other, _, _ := strings.Cut(b, ":")
	return key == other
}

// elsewhere returns an entry that is equal to a part and was not met in its place:
// it was moved. It is called when the whole text was cut.
func (p *previous) elsewhere(of *part) *decoded {
	if p == nil || of.list == noList {
		return nil
	}
	of.trim()
	if p.moved == nil {
		p.moved = map[string]*decoded{}
		for i, e := range p.entries {
			if !p.used[i] {
				p.moved[e.text] = e.decoded
			}
		}
	}
	for _, text := range [...]string{of.text, of.trimmed} {
		if d := p.moved[text]; d != nil && d.is(of) {
			return d
		}
	}
	return nil
}

func (d *decoded) is(of *part) bool {
	if !d.clean || d.list != of.list || d.indent != of.indent {
		return false
	}
	if d.text == of.text {
		return true
	}
	return d.trimmed && strings.HasPrefix(of.text, d.text) && d.text == of.trim()
}

// trim is the text without what stands behind its last value. It is the text itself
// where somebody has to look at that.
func (p *part) trim() string {
	if p.trimmed == "" {
		p.trimmed = trim(p.text)
		if _, _, ok := trailer(p.text[len(p.trimmed):]); !ok {
			p.trimmed = p.text
		}
	}
	return p.trimmed
}
