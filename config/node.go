package config

import (
	"errors"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/sluice-gateway/sluice/unit"
)

// Node is a value in a configuration, with its place. It is what a policy or a
// target decodes its settings from. It is immutable.
type Node struct {
	t  *tree
	at place
}

// place says which lines a tree was made from.
type place struct {
	src  *source
	base int // lines before the chunk that the tree was made from
}

// source is the text of one file, for quoting its lines, and what was found out
// about the types that are decoded from it.
type source struct {
	name  string
	text  string
	plans *plans
	// parts are the text of a file that was read in parts, in order.
	parts []entry

	once  sync.Once
	lines []int // where the lines of text begin
}

// quote returns a line, without its end.
func (s *source) quote(line int) string {
	if i := sort.Search(len(s.parts), func(i int) bool { return s.parts[i].base >= line }); i > 0 {
		text := s.parts[i-1].text
		for skip := line - s.parts[i-1].base; skip > 1; skip-- {
			_, text, _ = strings.Cut(text, "\n")
		}
		text, _, _ = strings.Cut(text, "\n")
		return text
	}
	s.once.Do(s.index)
	if line < 1 || line > len(s.lines) {
		return ""
	}
	text, _, _ := strings.Cut(s.text[s.lines[line-1]:], "\n")
	return strings.TrimSuffix(text, "\r")
}

// index finds the lines once, for a file that has many problems.
func (s *source) index() {
	s.lines = append(s.lines, 0)
	for at := range len(s.text) {
		if s.text[at] == '\n' {
			s.lines = append(s.lines, at+1)
		}
	}
}

// position is where a value stands; one without a place of its own is at the
// beginning of its entry.
func (p place) position(line, column int) Position {
	return Position{p.src.name, p.base + max(1, line), max(1, column)}
}

func (p place) problem(line, column int, message string) *Problem {
	at := p.position(line, column)
	return &Problem{Position: at, Message: message, Quote: p.src.quote(at.Line)}
}

// ParseNode parses a text as a value; file is its name in problems. References are
// resolved, relative to the folder of file. Tests and the examples in READMEs use
// it.
func ParseNode(file string, text []byte) (*Node, error) {
	clean := strings.TrimPrefix(string(text), "\ufeff")
	at := place{src: &source{name: file, text: clean, plans: newPlans()}}
	var problems Problems
	report := func(line, column int, message string) {
		problems = append(problems, at.problem(line, column, message))
	}
	p := &parser{refs: newReferences(filepath.Dir(file), nil), report: report}
	fault := checkText(clean)
	var t *tree
	if fault == nil {
		t, fault = p.parse(clean, 1)
	}
	if fault != nil {
		report(fault.line, fault.column, fault.message)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return &Node{t, at}, nil
}

// Kind is the shape of the value.
func (n *Node) Kind() unit.NodeKind {
	if n.t == nil {
		return unit.Null
	}
	return n.t.kind
}

// Has says whether the value is a mapping with this key.
func (n *Node) Has(key string) bool { return n.t != nil && n.t.child(key) != nil }

// Position is where the value stands. A node that is not bound to a document has
// the line within its chunk.
func (n *Node) Position() Position {
	return n.place().position(int(n.tree().line), int(n.tree().column))
}

func (n *Node) place() place {
	if n.at.src == nil {
		return place{src: &source{plans: newPlans()}}
	}
	return n.at
}

func (n *Node) tree() *tree {
	if n.t == nil {
		return &tree{line: 1, column: 1}
	}
	return n.t
}

// Decode fills into, a pointer. The error is of the type Problems and holds
// everything that is wrong.
func (n *Node) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errors.New("config: Decode needs a pointer")
	}
	w := walker{at: n.place()}
	w.value(n.tree(), v.Elem(), w.at.src.plans.plan(v.Type().Elem()))
	return w.all().Err()
}

// Locate turns an error about this value into problems with places: at the sub-key
// that unit.At named, or at the value itself. A nil error stays nil.
func (n *Node) Locate(err error) error {
	if err == nil {
		return nil
	}
	w := walker{at: n.place()}
	w.fault(n.tree(), err)
	return w.problems.Err()
}

// clone copies a tree, so that it does not keep the rest of its chunk.
func (t *tree) clone() *tree {
	c := *t
	c.children = cloneAll(t.children)
	return &c
}

func cloneAll(children []tree) []tree {
	if len(children) == 0 {
		return nil
	}
	all := make([]tree, len(children))
	for i := range children {
		all[i] = children[i]
		all[i].children = cloneAll(children[i].children)
	}
	return all
}

// find follows a path such as "windows[1].per" or `set["x.y"]`. What cannot be
// followed is returned beside the last value that was found.
func (t *tree) find(path string) (*tree, string) {
	for path != "" {
		key, index, rest, ok := firstStep(path)
		if !ok {
			return t, path
		}
		var next *tree
		if index < 0 {
			next = t.child(key)
		} else if t.kind == unit.Sequence && index < len(t.children) {
			next = &t.children[index]
		} else if index == 0 && t.kind != unit.Sequence {
			next = t // one value that stands for a list
		}
		if next == nil {
			if t.kind == unit.Scalar {
				return t, "" // the short form of what has this key
			}
			return t, path
		}
		t, path = next, rest
	}
	return t, ""
}

// firstStep cuts the first key or index off a path; index is -1 for a key.
func firstStep(path string) (key string, index int, rest string, ok bool) {
	if quoted, is := strings.CutPrefix(path, `["`); is {
		key, rest, ok = strings.Cut(quoted, `"]`)
		return key, -1, strings.TrimPrefix(rest, "."), ok
	}
	if number, is := strings.CutPrefix(path, "["); is {
		number, rest, ok = strings.Cut(number, "]")
		index, err := strconv.Atoi(number)
		return "", index, strings.TrimPrefix(rest, "."), ok && err == nil && index >= 0
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		return path, -1, "", true
	}
	if end == 0 {
		return "", 0, "", false
	}
	return path[:end], -1, strings.TrimPrefix(path[end:], "."), true
}
