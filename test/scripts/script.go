// Package scripts plays behaviour against the real binary: a configuration, what
// clients send, what origins answer, and what must come of it. README.md tells
// how to write one.
package scripts

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/sluice-gateway/sluice/test/rig"
)

// Script is one file.
type Script struct {
	Path  string
	Title string            // the first line of its comment
	Files map[string]string // everything but the steps
	Steps []Step
	// Wires are those over which its clients speak, Origins what its origins speak.
	Wires, Origins []rig.Wire
}

// Step is one line of a script with the block below it.
type Step struct {
	Line  int
	Text  string   // the line as written
	Only  []string // the wires over which it is played; none: all
	Words []string
	Block []string // the lines behind "|", without it
	Has   bool     // there is a block, maybe an empty one
}

func (s Step) String() string { return fmt.Sprintf("line %d: %s", s.Line, s.Text) }

// plain is the configuration of a script that has none: one listener, one
// origin, one route.
const plain = `listeners:
  - { name: web, address: "$WEB" }
upstreams:
  - { name: origin, endpoints: ["http://$ORIGIN"] }
routes:
  - { name: all, match: { path: /** }, upstream: origin }
`

// Find lists the scripts below a folder.
func Find(dir string) ([]string, error) {
	var found []string
	for _, depth := range []string{"*.txtar", "*/*.txtar"} {
		names, err := filepath.Glob(filepath.Join(dir, depth))
		if err != nil {
			return nil, err
		}
		found = append(found, names...)
	}
	sort.Strings(found)
	return found, nil
}

// Read reads one script.
func Read(path string) (*Script, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	comment, files, _ := rig.Archive(string(data))
	s := &Script{Path: path, Files: files}
	s.Title, _, _ = strings.Cut(comment, "\n")
	if s.Title == "" {
		return nil, fmt.Errorf("%s: the first line is its title, and it is empty", path)
	}
	if s.Wires, err = chosen(comment, "wires", rig.Wires); err == nil {
		s.Origins, err = chosen(comment, "origins", rig.Origins)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	steps, ok := files["steps"]
	if !ok {
		return nil, fmt.Errorf("%s: there is no -- steps --", path)
	}
	delete(files, "steps")
	if _, ok := files["config.yaml"]; !ok {
		files["config.yaml"] = plain
	}
	before, _, _ := strings.Cut(string(data), "-- steps --\n")
	s.Steps, err = parseSteps(steps, strings.Count(before, "\n")+1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func parseSteps(text string, line int) ([]Step, error) {
	var steps []Step
	for raw := range strings.Lines(text) {
		line++
		raw = strings.TrimSuffix(raw, "\n")
		trimmed := strings.TrimSpace(raw)
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case strings.HasPrefix(trimmed, "|"):
			if len(steps) == 0 {
				return nil, fmt.Errorf("line %d: a block without a step", line)
			}
			last := &steps[len(steps)-1]
			// One space behind the bar belongs to the notation.
			_, rest, _ := strings.Cut(raw, "|")
			last.Block = append(last.Block, strings.TrimPrefix(rest, " "))
			last.Has = true
		case raw != trimmed:
			return nil, fmt.Errorf("line %d: a step begins at the margin, a line of a block with |: %q", line, raw)
		default:
			only, rest := guard(trimmed)
			steps = append(steps, Step{Line: line, Text: trimmed, Only: only, Words: strings.Fields(rest)})
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("there are no steps")
	}
	return steps, nil
}

var placeholder = regexp.MustCompile(`\$(WEB|ADMIN|ORIGIN|DIR|SCHEME|VERSION)[A-Z0-9_]*`)

// Placeholders lists the names behind $ in the files and steps of a script.
func (s *Script) Placeholders() []string {
	seen := map[string]bool{}
	add := func(text string) {
		for _, name := range placeholder.FindAllString(text, -1) {
			seen[name[1:]] = true
		}
	}
	for _, text := range s.Files {
		add(text)
	}
	for _, step := range s.Steps {
		add(step.Text)
		add(strings.Join(step.Block, "\n"))
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
