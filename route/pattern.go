package route

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// MaxSegments is how many segments a path pattern may have.
const MaxSegments = 32

// MaxPatternLength is how many bytes a path pattern may have; a regular
// expression too.
const MaxPatternLength = 4096

// Pattern is a path that a rule asks for. ParsePattern and RegexPattern make it;
// the zero value is refused by Build. It is immutable.
type Pattern struct {
	text     string
	literals string // the literal segments, each with its slash, joined
	names    string // the names of the parameters, joined by commas
	regex    *regexp.Regexp
	params   uint32 // bit i: segment i is a parameter
	count    uint8  // segments, without the one that stands for the rest
	kind     kind
	rest     bool // the last name is that of the rest
}

// kind is how a pattern is compared. The order is the order of precedence; among
// the full ones those without parameters come first by their form.
type kind uint8

const (
	full   kind = iota // all segments
	prefix             // the first segments
	expression
	anyPath // a rule without paths
)

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// IsRegex says whether the pattern is a regular expression.
func (p Pattern) IsRegex() bool { return p.kind == expression }

// Names are the names of the pattern's parameters, in order.
func (p Pattern) Names() []string {
	if p.names == "" {
		return nil
	}
	return strings.Split(p.names, ",")
}

// ParsePattern reads a path pattern.
//
//	/orders           this path and no other: not /orders/
//	/users/{id}       a parameter stands for one whole segment that is not empty
//	/orders/**        /orders, /orders/ and everything below; not /orders2
//	/files/{rest...}  the same, with a name for what stands behind "/files/":
//	                  "a/b" for /files/a/b, "" for both /files and /files/
//
// A pattern is written in the normal form of its path (see Normalize), since it is
// compared with normalised paths. A parameter's value is the segment as it stands
// in the normalised path: what is still percent-encoded there stays encoded.
func ParsePattern(text string) (Pattern, error) {
	if !strings.HasPrefix(text, "/") {
		return Pattern{}, fmt.Errorf("path %q does not begin with a slash: write %q", text, "/"+text)
	}
	if len(text) > MaxPatternLength {
		return Pattern{}, fmt.Errorf("path %q… has %d bytes: at most %d are allowed", text[:32], len(text), MaxPatternLength)
	}
	if err := checkNormal(text); err != nil {
		return Pattern{}, err
	}
	p := Pattern{text: text, literals: text}
	segments := strings.Split(text[1:], "/")
	var names, literals []string
	for i, segment := range segments {
		last := i == len(segments)-1
		name, rest, err := parseSegment(text, segment)
		if err != nil {
			return Pattern{}, err
		}
		if rest && !last {
			return Pattern{}, fmt.Errorf("path %q goes on behind %q, which already takes everything below: put it at the end", text, segment)
		}
		if name != "" {
			names = append(names, name)
		}
		switch {
		case rest:
			p.kind, p.rest = prefix, name != ""
			p.literals = text[:len(text)-len(segment)-1]
			continue
		case i >= MaxSegments:
			return Pattern{}, fmt.Errorf("path %q has more than %d segments: shorten it, or end it with /**", text, MaxSegments)
		case name != "":
			p.params |= 1 << i
		default:
			literals = append(literals, "/", segment)
		}
		p.count++
	}
	if p.params != 0 {
		p.literals = strings.Join(literals, "")
	}
	if err := checkNames(text, names); err != nil {
		return Pattern{}, err
	}
	p.names = strings.Join(names, ",")
	return p, nil
}

// checkNormal refuses what no request's path can look like.
func checkNormal(text string) error {
	normal, err := Normalize(text, NormalizeOptions{KeepEncodedSlash: true})
	switch {
	case err == PathNotASCII || err == PathSpace || err == PathControl:
		return fmt.Errorf("path %q can never match: %w; write %q", text, err, encodeRaw(text))
	case err == PathDelimiter && strings.Contains(text, "?"):
		return fmt.Errorf("path %q has a query: write only the path here, and the query as query conditions", text)
	case err != nil:
		return fmt.Errorf("path %q can never match: %w", text, err)
	case normal != text:
		return fmt.Errorf("path %q is not in its normal form and would never match: write %q", text, normal)
	}
	return nil
}

func encodeRaw(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parseSegment returns the name of a parameter, or "" for a literal, and whether
// the segment stands for all that follows.
func parseSegment(text, segment string) (name string, rest bool, err error) {
	if segment == "**" {
		return "", true, nil
	}
	if strings.Contains(segment, "*") {
		return "", false, fmt.Errorf("path %q: in %q the star is no wildcard: write {name} for one segment, /** at the end for everything below, or a regex", text, segment)
	}
	if !strings.ContainsAny(segment, "{}") {
		return "", false, nil
	}
	if segment[0] != '{' || strings.IndexByte(segment, '}') != len(segment)-1 || strings.Count(segment, "{") != 1 {
		return "", false, fmt.Errorf("path %q: %q mixes a parameter with other text: a parameter is a whole segment, as in /{name}/; use a regex for parts of one", text, segment)
	}
	name, rest = strings.CutSuffix(segment[1:len(segment)-1], "...")
	if !validParam(name) {
		return "", false, fmt.Errorf("path %q: %q is not a parameter: its name takes letters, digits and underscores and does not begin with a digit", text, segment)
	}
	return name, rest, nil
}

func validParam(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func checkNames(text string, names []string) error {
	if len(names) > message.MaxParams {
		return fmt.Errorf("path %q has %d parameters: at most %d are allowed", text, len(names), message.MaxParams)
	}
	for i, name := range names {
		for _, earlier := range names[:i] {
			if name == earlier {
				return fmt.Errorf("path %q names two parameters %q: give each its own name", text, name)
			}
		}
	}
	return nil
}

// RegexPattern makes a pattern of a regular expression (Go's regexp, linear time).
// It is anchored as written: without ^ and $ it may match anywhere in the
// normalised path. It gives no parameters.
func RegexPattern(expr string) (Pattern, error) {
	regex, err := compileRegex(expr)
	if err != nil {
		return Pattern{}, fmt.Errorf("path regex %w", err)
	}
	return Pattern{text: expr, regex: regex, kind: expression}, nil
}

func compileRegex(expr string) (*regexp.Regexp, error) {
	if len(expr) > MaxPatternLength {
		return nil, fmt.Errorf("%q… has %d bytes: at most %d are allowed", expr[:32], len(expr), MaxPatternLength)
	}
	if expr == "" {
		return nil, fmt.Errorf("is empty, which would match everything: leave it out, or write \".*\"")
	}
	regex, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("%q is not valid: %w", expr, err)
	}
	return regex, nil
}
