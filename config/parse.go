package config

import (
	"errors"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/sluice-gateway/sluice/unit"
)

// Limits of a document.
const (
	maxFile    = 64 << 20 // bytes of one file
	maxDepth   = 64       // mappings and lists within one another
	maxAliased = 100_000  // values that aliases repeat, in one file
)

// parser turns text into trees with the YAML library. What it refuses, beyond what
// the library does: tags, merge keys, keys that are no words, and whatever is too deep.
type parser struct {
	refs    *references
	report  func(line, column int, message string)
	aliased int
	// anchors says that the text has anchors or aliases: a part of it cannot be
	// understood alone.
	anchors bool
	failed  bool
}

// syntax is a fault in the YAML itself: nothing behind it can be believed.
type syntax struct {
	line, column int
	message      string
}

// checkText finds what no YAML text may hold, so that every such fault has a place.
func checkText(text string) *syntax {
	if len(text) > maxFile {
		return &syntax{1, 1, "the file is larger than 64MiB"}
	}
	for i, r := range text {
		valid := r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= '~' || r == 0x85 || r >= 0xa0 && r <= 0xfffd || r >= 0x10000
		if r == utf8.RuneError {
			_, size := utf8.DecodeRuneInString(text[i:])
			valid = size > 1
		}
		if valid && r != 0xfeff {
			continue
		}
		line, column := placeOf(text, i)
		message := "a control character cannot stand here"
		if r == utf8.RuneError {
			message = "this is not UTF-8"
		}
		return &syntax{line, column, message}
	}
	return nil
}

// placeOf finds the line and column of a byte.
func placeOf(text string, at int) (line, column int) {
	start := strings.LastIndexByte(text[:at], '\n') + 1
	return strings.Count(text[:at], "\n") + 1, utf8.RuneCountInString(text[start:at]) + 1
}

// parse returns the tree of a text whose root lies at a depth of the document,
// from 1.
func (p *parser) parse(text string, depth int) (*tree, *syntax) {
	var document yaml.Node
	err := yaml.Load([]byte(text), &document)
	if err != nil {
		return p.loadFault(text, err)
	}
	root := &document
	if root.Kind == yaml.DocumentNode {
		root = root.Content[0]
	}
	t := p.convert(root, depth)
	return &t, nil
}

// loadFault makes a place and a message from an error of the library.
func (p *parser) loadFault(text string, err error) (*tree, *syntax) {
	if strings.Contains(err.Error(), "no documents in stream") {
		return &tree{kind: unit.Null, plain: true, look: looksNull, line: 1, column: 1}, nil
	}
	var fault *yaml.LoadError
	if !errors.As(err, &fault) {
		return nil, &syntax{1, 1, "this is not YAML: " + err.Error()}
	}
	if strings.Contains(fault.Message, "found multiple") {
		line, column := secondDocument(text)
		return nil, &syntax{line, column, "a second document begins here: a file holds one; put the other into a file of its own and include it"}
	}
	message := "this is not YAML: " + fault.Message
	if fault.ContextMsg != "" {
		message += ", " + fault.ContextMsg
	}
	mark := fault.Mark
	end := strings.Count(strings.TrimRight(text, " \n"), "\n") + 1
	if mark.Line == 0 || mark.Line > end && fault.ContextMark.Line > 0 {
		mark = fault.ContextMark // what is not closed is more use than the end of the file
	}
	if tabAt(text, mark.Line, mark.Column) {
		message = "a tab cannot indent: use spaces"
	}
	return nil, &syntax{max(1, mark.Line), max(1, mark.Column), message}
}

// tabAt says whether a tab stands at a place, before anything else on its line.
func tabAt(text string, line, column int) bool {
	for ; line > 1; line-- {
		_, text, _ = strings.Cut(text, "\n")
	}
	text, _, _ = strings.Cut(text, "\n")
	before := len(text) - len(strings.TrimLeft(text, " \t"))
	return column >= 1 && column <= before && strings.Contains(text[:before], "\t")
}

// secondDocument finds the marker behind which a second document begins.
func secondDocument(text string) (line, column int) {
	content, number := false, 0
	for l := range strings.SplitSeq(text, "\n") {
		number++
		marker := strings.HasPrefix(l, "---") || strings.HasPrefix(l, "...")
		if marker && content {
			return number, 1
		}
		trimmed := strings.TrimSpace(l)
		content = content || !marker && trimmed != "" && trimmed[0] != '#' && trimmed[0] != '%' || marker && len(trimmed) > 3
	}
	return number, 1
}

func (p *parser) problem(n *yaml.Node, message string) {
	p.failed = true
	p.report(max(1, n.Line), max(1, n.Column), message)
}

// convert makes a tree of a node of the library. Faults are reported, and null
// stands in their place.
func (p *parser) convert(n *yaml.Node, depth int) tree {
	t := tree{line: int32(n.Line), column: int32(n.Column), broken: true}
	if n.Anchor != "" {
		p.anchors = true
	}
	if depth > maxDepth {
		p.problem(n, "this is nested too deeply: the limit is 64 levels")
		return t
	}
	if n.Style&yaml.TaggedStyle != 0 {
		p.problem(n, "tags are not used here: leave out "+n.Tag+", and put a text that looks like something else into quotes")
		return t
	}
	t.broken = false
	switch n.Kind {
	case yaml.AliasNode:
		return p.alias(n, depth)
	case yaml.ScalarNode:
		p.scalar(&t, n)
	case yaml.SequenceNode:
		t.kind = unit.Sequence
		t.children = make([]tree, 0, len(n.Content))
		for _, c := range n.Content {
			t.children = append(t.children, p.convert(c, depth+1))
		}
	case yaml.MappingNode:
		t.kind = unit.Mapping
		p.mapping(&t, n, depth)
	}
	return t
}

// alias copies what the anchor stands at. The places stay those of the anchor.
func (p *parser) alias(n *yaml.Node, depth int) tree {
	before := p.aliased
	p.anchors = true
	p.aliased += count(n.Alias, maxAliased-p.aliased)
	if p.aliased > maxAliased {
		if before <= maxAliased {
			p.problem(n, "aliases repeat too much: no more than 100000 values in one file")
		}
		return tree{line: int32(n.Line), column: int32(n.Column), broken: true}
	}
	return p.convert(n.Alias, depth+1)
}

// count counts the nodes below n, but not much further than limit. Aliases count
// as one: they are counted when they are met.
func count(n *yaml.Node, limit int) int {
	sum := 1
	for _, c := range n.Content {
		if sum > limit {
			break
		}
		sum += count(c, limit-sum)
	}
	return sum
}

func (p *parser) scalar(t *tree, n *yaml.Node) {
	t.kind, t.text = unit.Scalar, n.Value
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	if message := p.finish(t, plain); message != "" {
		p.problem(n, message)
	}
}

// finish puts references into a scalar, or finds out what it looks like.
func (p *parser) finish(t *tree, plain bool) string {
	if !strings.Contains(t.text, "${") {
		if plain {
			t.plainScalar()
		}
		return ""
	}
	value, err := p.refs.expand(t.text)
	if err != nil {
		t.broken = true
		return err.Error()
	}
	t.children = []tree{{text: t.text}}
	t.text, t.expanded = value, true
	return ""
}

func (p *parser) mapping(t *tree, n *yaml.Node, depth int) {
	t.children = make([]tree, 0, len(n.Content))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		k := tree{kind: unit.Scalar, line: int32(key.Line), column: int32(key.Column), text: key.Value}
		if message := p.keyFault(key); message != "" {
			p.problem(key, message)
			k.text, k.broken = "", true
		}
		t.children = append(t.children, k, p.convert(n.Content[i+1], depth+1))
	}
}

// keyFault says what is wrong with a key, or "".
func (p *parser) keyFault(key *yaml.Node) string {
	switch {
	case key.Anchor != "" || key.Kind == yaml.AliasNode:
		p.anchors = true
		return "a key cannot have an anchor or be an alias"
	case key.Kind != yaml.ScalarNode:
		return "a key is a single word, not " + kindOf(key)
	case key.Style&(yaml.TaggedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return "a key is a single word"
	case key.Value == "":
		return "a key is missing here"
	case key.Value == "<<" && key.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0:
		return "merge keys are not used here: write the keys out, or put an alias in place of the whole value"
	case strings.Contains(key.Value, "${"):
		return "a reference cannot stand in a key"
	}
	return ""
}

func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	return "a mapping"
}
