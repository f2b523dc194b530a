package config

import (
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// block parses the plain part of YAML in which configurations are nearly always
// written, some thirty times as fast as the library (BenchmarkParse). It gives up
// at whatever it is not sure of, faults included, and the library decides: what
// it does accept is what the library makes of the text (FuzzBlockIsTheLibrary).
type block struct {
	finish func(t *tree, plain bool) string
	report func(line, column int, message string)

	text string
	// The line at which the parser stands: its number, where it begins, its first
	// character that is no space, and its end.
	line             int32
	start, from, end int
	over             bool // there is no further line
	depth            int

	stack []tree // values whose collection is not complete
	arena []tree // room for collections
}

// blockDepth is how deep the fast parser goes.
const blockDepth = 24

// giveUp is thrown where the text is not plain enough.
type giveUp struct{}

// parse returns the tree of a text of one block mapping or sequence. The tree is
// valid until the next call: its collections lie in room that is used again.
func (b *block) parse(text string) (t tree, ok bool) {
	if !plainBytes(text) {
		return tree{}, false
	}
	defer func() {
		if fault := recover(); fault != nil {
			if _, gaveUp := fault.(giveUp); !gaveUp {
				panic(fault)
			}
			t, ok = tree{}, false
		}
	}()
	b.text, b.line, b.end, b.over, b.depth = text, 0, -1, false, 0
	b.stack, b.arena = b.stack[:0], b.arena[:0]
	b.next()
	if b.over {
		return tree{}, false
	}
	t = b.node(b.from, -1)
	return t, b.over
}

// plainBytes says whether a text is printable ASCII and line feeds.
func plainBytes(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c > '~') && c != '\n' {
			return false
		}
	}
	return true
}

// next goes to the next line that is neither blank nor a comment.
func (b *block) next() {
	for {
		b.start = b.end + 1
		if b.start >= len(b.text) {
			b.over, b.from = true, b.start
			return
		}
		b.line++
		length := strings.IndexByte(b.text[b.start:], '\n')
		if length < 0 {
			length = len(b.text) - b.start
		}
		b.end = b.start + length
		b.from = b.start
		for b.from < b.end && b.text[b.from] == ' ' {
			b.from++
		}
		if b.from < b.end && b.text[b.from] != '#' {
			return
		}
	}
}

func (b *block) indent() int { return b.from - b.start }

// place makes a tree at an offset of the line.
func (b *block) place(at int) tree { return tree{line: b.line, column: int32(at - b.start + 1)} }

// dash says whether the indicator of a sequence's entry stands at an offset.
func (b *block) dash(at int) bool {
	return at < b.end && b.text[at] == '-' && (at+1 == b.end || b.text[at+1] == ' ')
}

// collect takes the values that were stacked since from into room that stays.
func (b *block) collect(from int) []tree {
	n := len(b.stack) - from
	if n == 0 {
		return nil
	}
	if cap(b.arena)-len(b.arena) < n {
		b.arena = make([]tree, 0, max(256, 2*n))
	}
	begin := len(b.arena)
	b.arena = append(b.arena, b.stack[from:]...)
	b.stack = b.stack[:from]
	return b.arena[begin : begin+n : begin+n]
}

func (b *block) enter() {
	if b.depth++; b.depth > blockDepth {
		panic(giveUp{})
	}
}

// node parses the mapping or sequence that begins at an offset of this line. Its
// lines are indented deeper than parent.
func (b *block) node(at, parent int) tree {
	column := at - b.start
	if column <= parent {
		panic(giveUp{})
	}
	if b.dash(at) {
		return b.sequence(at)
	}
	if _, _, ok := b.key(at); ok {
		return b.mapping(at)
	}
	panic(giveUp{})
}

func (b *block) sequence(at int) tree {
	b.enter()
	column, from := at-b.start, len(b.stack)
	t := b.place(at)
	t.kind = unit.Sequence
	for {
		b.stack = append(b.stack, b.entry(at, column))
		if b.over || b.indent() < column {
			break
		}
		if b.indent() > column {
			panic(giveUp{})
		}
		if at = b.from; !b.dash(at) {
			break // the key after a sequence that is indented like its own key
		}
	}
	t.children = b.collect(from)
	b.depth--
	return t
}

// entry parses what stands behind a dash.
func (b *block) entry(dash, column int) tree {
	at := b.spaces(dash + 1)
	if at == b.end || b.text[at] == '#' {
		t := b.place(dash + 1)
		b.next()
		if !b.over && b.indent() > column {
			return b.node(b.from, column)
		}
		t.plainScalar()
		return t
	}
	if b.dash(at) {
		return b.node(at, column)
	}
	if _, _, ok := b.key(at); ok {
		return b.mapping(at)
	}
	return b.inline(at, column)
}

func (b *block) mapping(at int) tree {
	b.enter()
	column, from := at-b.start, len(b.stack)
	t := b.place(at)
	t.kind = unit.Mapping
	for {
		key, after, ok := b.key(at)
		if !ok {
			panic(giveUp{})
		}
		key.line, key.column = b.line, int32(at-b.start+1)
		b.stack = append(b.stack, key)
		b.stack = append(b.stack, b.valueOf(after, column))
		if b.over || b.indent() < column {
			break
		}
		if b.indent() > column {
			panic(giveUp{})
		}
		at = b.from
	}
	t.children = b.collect(from)
	b.depth--
	return t
}

// valueOf parses the value of a key; after is behind the colon.
func (b *block) valueOf(after, column int) tree {
	at := b.spaces(after)
	if at < b.end && b.text[at] != '#' {
		return b.inline(at, column)
	}
	t := b.place(after)
	b.next()
	if !b.over && (b.indent() > column || b.indent() == column && b.dash(b.from)) {
		return b.node(b.from, column-1)
	}
	t.plainScalar()
	return t
}

// spaces skips them.
func (b *block) spaces(at int) int {
	for at < b.end && b.text[at] == ' ' {
		at++
	}
	return at
}

// key reads a key and its colon, if that is what stands at an offset.
func (b *block) key(at int) (t tree, after int, ok bool) {
	t.kind = unit.Scalar
	if c := b.text[at]; c == '"' || c == '\'' {
		word, end := b.quoted(at)
		if word == "" || strings.Contains(word, "${") {
			panic(giveUp{})
		}
		t.text, after = word, end
	} else {
		for after = at; after < b.end && keyByte(b.text[after]); after++ {
		}
		t.text = b.text[at:after]
	}
	if after == at || after-at > 200 || after >= b.end || b.text[after] != ':' {
		return t, 0, false
	}
	after++
	return t, after, after == b.end || b.text[after] == ' '
}

// keyByte says whether a byte may stand in a key without quotes, here.
func keyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '/' || c == '-'
}

// inline parses a value on the rest of the line, and goes to the next line.
func (b *block) inline(at, column int) tree {
	var t tree
	var after int
	switch c := b.text[at]; {
	case c == '[' || c == '{':
		t, after = b.flow(at)
	case c == '"' || c == '\'':
		t, after = b.quotedScalar(at)
	default:
		t, after = b.plain(at)
	}
	rest := b.spaces(after)
	if rest < b.end && (b.text[rest] != '#' || rest == after) {
		panic(giveUp{})
	}
	b.next()
	if !b.over && b.indent() > column {
		panic(giveUp{}) // the value may go on there
	}
	return t
}

// finished is called with a scalar that is complete, while the parser stands at
// its line.
func (b *block) finished(t tree, plain bool) tree {
	if message := b.finish(&t, plain); message != "" {
		b.report(int(t.line), int(t.column), message)
	}
	return t
}

// plainStart says whether a scalar without quotes may begin with a byte, here.
func plainStart(c byte) bool {
	return keyByte(c) && c != '-' || c == '$' || c == '^' || c == '(' || c == '+' || c == '~'
}

// plain reads a scalar without quotes to the end of the line or to a comment.
func (b *block) plain(at int) (tree, int) {
	if c := b.text[at]; !plainStart(c) && (c != '-' || at+1 >= b.end || !plainStart(b.text[at+1])) {
		panic(giveUp{})
	}
	end := at
	for ; end < b.end; end++ {
		switch b.text[end] {
		case ':':
			if end+1 == b.end || b.text[end+1] == ' ' {
				panic(giveUp{})
			}
		case '#':
			if b.text[end-1] == ' ' {
				return b.plainUntil(at, end)
			}
		}
	}
	return b.plainUntil(at, end)
}

func (b *block) plainUntil(at, end int) (tree, int) {
	for b.text[end-1] == ' ' {
		end--
	}
	t := b.place(at)
	t.kind, t.text = unit.Scalar, b.text[at:end]
	return b.finished(t, true), end
}

func (b *block) quotedScalar(at int) (tree, int) {
	t := b.place(at)
	word, after := b.quoted(at)
	t.kind, t.text = unit.Scalar, word
	return b.finished(t, false), after
}

// quoted reads a scalar in quotes that ends on this line.
func (b *block) quoted(at int) (string, int) {
	quote := b.text[at]
	special := quote
	if quote == '"' {
		special = '\\'
	}
	for end := at + 1; end < b.end; end++ {
		c := b.text[end]
		if c != quote && c != special {
			continue
		}
		if c == '\\' || quote == '\'' && end+1 < b.end && b.text[end+1] == '\'' {
			return b.escaped(at, end)
		}
		return b.text[at+1 : end], end + 1
	}
	panic(giveUp{})
}

// escaped reads a scalar in quotes that has an escape at first.
func (b *block) escaped(at, first int) (string, int) {
	quote := b.text[at]
	var word strings.Builder
	word.WriteString(b.text[at+1 : first])
	for end := first; end < b.end; end++ {
		c := b.text[end]
		last := end+1 >= b.end
		switch {
		case c == '\\' && quote == '"':
			if last {
				panic(giveUp{})
			}
			end++
			word.WriteByte(unescape(b.text[end]))
		case c == quote && quote == '\'' && !last && b.text[end+1] == '\'':
			end++
			word.WriteByte('\'')
		case c == quote:
			return word.String(), end + 1
		default:
			word.WriteByte(c)
		}
	}
	panic(giveUp{})
}

func unescape(c byte) byte {
	switch c {
	case '\\', '"', '/':
		return c
	case 'n':
		return '\n'
	case 't':
		return '\t'
	}
	panic(giveUp{})
}

// flow parses a value within brackets or braces, on this line.
func (b *block) flow(at int) (tree, int) {
	if at >= b.end {
		panic(giveUp{})
	}
	switch c := b.text[at]; {
	case c == '[':
		return b.flowSequence(at)
	case c == '{':
		return b.flowMapping(at)
	case c == '"' || c == '\'':
		return b.quotedScalar(at)
	}
	end := at
	if c := b.text[at]; !plainStart(c) && (c != '-' || at+1 >= b.end || !plainStart(b.text[at+1])) {
		panic(giveUp{})
	}
scan:
	for ; end < b.end; end++ {
		switch c := b.text[end]; c {
		case ',', ']', '}':
			break scan
		case ':':
			if end+1 == b.end || strings.IndexByte(" ,[]{}", b.text[end+1]) >= 0 {
				panic(giveUp{})
			}
		case '[', '{', '"', '\'', '#', '&', '*', '!', '|', '>', '%', '@', '`', '?':
			panic(giveUp{})
		}
	}
	return b.plainUntil(at, end)
}

func (b *block) flowSequence(at int) (tree, int) {
	b.enter()
	from := len(b.stack)
	t := b.place(at)
	t.kind = unit.Sequence
	at = b.spaces(at + 1)
	closed := at < b.end && b.text[at] == ']'
	if closed {
		at++
	}
	for !closed {
		item, after := b.flow(at)
		b.stack = append(b.stack, item)
		at, closed = b.separator(after, ']')
	}
	t.children = b.collect(from)
	b.depth--
	return t, at
}

// separator skips the comma behind a value, or the end of its collection.
func (b *block) separator(at int, end byte) (after int, closed bool) {
	at = b.spaces(at)
	if at < b.end && b.text[at] == end {
		return at + 1, true
	}
	if at < b.end && b.text[at] == ',' {
		if at = b.spaces(at + 1); at < b.end && b.text[at] != end {
			return at, false
		}
	}
	panic(giveUp{})
}

func (b *block) flowMapping(at int) (tree, int) {
	b.enter()
	from := len(b.stack)
	t := b.place(at)
	t.kind = unit.Mapping
	at = b.spaces(at + 1)
	if at >= b.end {
		panic(giveUp{})
	}
	closed := b.text[at] == '}'
	if closed {
		at++
	}
	for !closed {
		key, after, ok := b.key(at)
		if !ok {
			panic(giveUp{})
		}
		key.line, key.column = b.line, int32(at-b.start+1)
		b.stack = append(b.stack, key)
		value, after := b.flow(b.spaces(after))
		b.stack = append(b.stack, value)
		at, closed = b.separator(after, '}')
	}
	t.children = b.collect(from)
	b.depth--
	return t, at
}
