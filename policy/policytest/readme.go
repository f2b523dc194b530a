package policytest

import (
	"fmt"
	"strings"
)

// sectionNames are the headings that every README of a policy has, in this order, below
// a first heading that is the name of the kind.
var sectionNames = [...]string{"Name", "When to use it", "Examples", "Settings", "Problems", "Metrics", "Limits"}

// example is one yaml block of a README with the calls that follow it, if any.
type example struct {
	line      int // at which the configuration begins
	config    string
	calls     string
	callsLine int
}

// headings returns the headings of a level, "#" or "##", outside code blocks.
func headings(readme, level string) []string {
	var list []string
	code := false
	for _, line := range strings.Split(readme, "\n") {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if name, ok := strings.CutPrefix(line, level+" "); ok && !code {
			list = append(list, strings.TrimSpace(name))
		}
	}
	return list
}

// checkSections compares the headings of a README with those that it has to have.
func checkSections(readme, kind string) error {
	if h := headings(readme, "#"); len(h) != 1 || h[0] != kind {
		return fmt.Errorf("README.md: there is one first heading, \"# %s\", not %q", kind, h)
	}
	have := headings(readme, "##")
	next := 0
	for _, h := range have {
		if next < len(sectionNames) && h == sectionNames[next] {
			next++
		}
	}
	if next < len(sectionNames) {
		return fmt.Errorf("README.md: the section \"## %s\" is missing or not in its place; the order is %s", sectionNames[next], strings.Join(sectionNames[:], ", "))
	}
	return nil
}

// sectionOf returns the text below a second heading.
func sectionOf(readme, name string) string {
	_, rest, _ := strings.Cut(readme, "\n## "+name+"\n")
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// examples finds the yaml blocks of the section "Examples", and the text blocks that
// follow them.
func examples(readme string) []example {
	var list []example
	inside, language := false, ""
	var block strings.Builder
	begin := 0
	for n, line := range strings.Split(readme, "\n") {
		n++
		fence, ok := strings.CutPrefix(line, "```")
		switch {
		case ok && language == "" && inside:
			language, begin = strings.TrimSpace(fence)+" ", n+1
			block.Reset()
		case ok && inside:
			list = addBlock(list, strings.TrimSpace(language), block.String(), begin)
			language = ""
		case language != "":
			block.WriteString(line + "\n")
		case strings.HasPrefix(line, "## "):
			inside = line == "## Examples"
		}
	}
	return list
}

func addBlock(list []example, language, block string, begin int) []example {
	switch language {
	case "yaml":
		return append(list, example{line: begin, config: block})
	case "text":
		if n := len(list); n > 0 && list[n-1].calls == "" {
			list[n-1].calls, list[n-1].callsLine = block, begin
		}
	}
	return list
}
