package template

import (
	"fmt"
	"strings"
)

// unknown says what is wrong with a name that is no variable.
func unknown(name string, answered bool) string {
	if name == "" {
		return "a variable needs a name between its braces; write \"{{}}\" for literal braces"
	}
	for i := range catalogue {
		e := &catalogue[i]
		if e.takesName() && name+"." == e.name || name == e.name {
			return fmt.Sprintf("{%s} needs a name behind its dot: {%s}", name, e.shown())
		}
	}
	best, distance := "", len(name)/2+1
	for i := range catalogue {
		e := &catalogue[i]
		if e.answered && !answered {
			continue
		}
		if d := closeness(name, e); d < distance {
			best, distance = suggestion(name, e), d
		}
	}
	if best == "" {
		return fmt.Sprintf("unknown variable {%s}; known are %s; write {{ and }} for literal braces", name, known(answered))
	}
	return fmt.Sprintf("unknown variable {%s}; did you mean {%s}?", name, best)
}

// closeness is the edit distance to a variable; of one that takes a name only what stands
// before that name is compared.
func closeness(name string, e *entry) int {
	if !e.takesName() {
		return edits(name, e.name)
	}
	prefix, _ := splitLike(name, e.name)
	return edits(prefix, e.name)
}

func suggestion(name string, e *entry) string {
	if !e.takesName() {
		return e.name
	}
	if _, behind := splitLike(name, e.name); behind != "" {
		return e.name + behind
	}
	return e.shown()
}

// splitLike cuts name behind as many dots as pattern has.
func splitLike(name, pattern string) (prefix, behind string) {
	dots := strings.Count(pattern, ".")
	for i := 0; i < len(name); i++ {
		if name[i] != '.' {
			continue
		}
		if dots--; dots == 0 {
			return name[:i+1], name[i+1:]
		}
	}
	return name, ""
}

func known(answered bool) string {
	var names []string
	for i := range catalogue {
		if e := &catalogue[i]; answered || !e.answered {
			names = append(names, "{"+e.shown()+"}")
		}
	}
	return strings.Join(names, ", ")
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 0; i < len(a); i++ {
		diagonal := row[0]
		row[0] = i + 1
		for j := 0; j < len(b); j++ {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
