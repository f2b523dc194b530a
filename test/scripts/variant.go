package scripts

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/test/rig"
)

// Variant is what clients and origins speak while a script is played.
type Variant struct{ Client, Origin rig.Wire }

func (v Variant) String() string {
	if v.Origin.Version == "1.1" {
		return v.Client.Name
	}
	return v.Client.Name + "-to-" + v.Origin.Name
}

// Variants are the ways in which a script is played: its clients over each of its
// wires, and where it has origins that may speak something else, over HTTP/1.1 and
// HTTP/2 to those. A script without clients is played once.
func (s *Script) Variants() []Variant {
	if !s.hasClients() {
		return []Variant{{s.Wires[0], s.Origins[0]}}
	}
	var all []Variant
	for _, client := range s.Wires {
		all = append(all, Variant{client, s.Origins[0]})
	}
	if !slices.ContainsFunc(s.Placeholders(), func(name string) bool { return strings.HasPrefix(name, "ORIGIN") }) {
		return all
	}
	for _, origin := range s.Origins[1:] {
		for _, client := range s.Wires {
			if client.Name == "h1" || client.Name == "h2" {
				all = append(all, Variant{client, origin})
			}
		}
	}
	return all
}

func (s *Script) hasClients() bool {
	return slices.ContainsFunc(s.Steps, func(step Step) bool {
		return strings.HasPrefix(step.Words[0], "client") || step.Words[0] == "traffic" || step.Words[0] == "crowd"
	})
}

// chosen reads a line such as "wires: http1 # why" of a script's comment.
func chosen(comment, key string, all []rig.Wire) ([]rig.Wire, error) {
	for line := range strings.Lines(comment) {
		rest, ok := strings.CutPrefix(line, key+":")
		if !ok {
			continue
		}
		words, why, _ := strings.Cut(rest, "#")
		if strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("%s: say behind # why not all", key)
		}
		var some []rig.Wire
		for _, w := range all {
			if slices.ContainsFunc(strings.Fields(words), w.Is) {
				some = append(some, w)
			}
		}
		if len(some) == 0 {
			return nil, fmt.Errorf("%s: nobody speaks %s", key, words)
		}
		return some, nil
	}
	return all, nil
}

var guarded = regexp.MustCompile(`^\[([a-z0-9! -]+)\] `)

// guard cuts "[http1 to-h2c] " off a line: over which wires it counts.
func guard(line string) (only []string, rest string) {
	m := guarded.FindStringSubmatch(line)
	if m == nil {
		return nil, line
	}
	words := strings.Fields(m[1])
	for _, word := range words {
		if !rig.Known(strings.TrimPrefix(strings.TrimPrefix(word, "!"), "to-")) {
			return nil, line // A value that happens to stand in brackets.
		}
	}
	return words, line[len(m[0]):]
}

// counts says whether a line with such a guard counts: one of its words is so.
func (v Variant) counts(only []string) bool {
	return len(only) == 0 || slices.ContainsFunc(only, func(word string) bool {
		word, not := strings.CutPrefix(word, "!")
		if name, to := strings.CutPrefix(word, "to-"); to {
			return v.Origin.Is(name) != not
		}
		return v.Client.Is(word) != not
	})
}

// block drops the lines of a block that do not count.
func (v Variant) block(lines []string) []string {
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if only, rest := guard(line); v.counts(only) {
			kept = append(kept, rest)
		}
	}
	return kept
}

var (
	webAddress = regexp.MustCompile(`(?m)^(.*)address: "\$WEB[A-Z0-9_]*"(.*)$`)
	endpoints  = regexp.MustCompile(`(?m)^(.*)endpoints: \[[^\]]*\$ORIGIN[^\]]*\](.*)$`)
)

// render makes the listeners at $WEB and the upstreams at $ORIGIN of a document
// speak what is to be spoken.
func (v Variant) render(document string) string {
	if v.Client.Version == "3" {
		document = beside(document, webAddress, "protocols: [h2, h3]")
	}
	if v.Client.TLS {
		document = beside(document, webAddress, "tls: { self_signed: true }")
	} else if v.Client.Version == "2" {
		document = beside(document, webAddress, "protocols: [http/1.1, h2]")
	}
	if v.Origin.Version == "2" {
		document = beside(document, endpoints, "protocol: h2")
	}
	return document
}

// beside adds a setting beside one that stands on a line of its own or within braces.
func beside(document string, setting *regexp.Regexp, added string) string {
	return setting.ReplaceAllStringFunc(document, func(line string) string {
		parts := setting.FindStringSubmatch(line)
		before, behind := parts[1], parts[2]
		found := strings.TrimSuffix(line[len(before):], behind)
		if strings.Contains(before, "{") {
			return before + found + ", " + added + behind
		}
		margin := strings.Repeat(" ", len(before)) // Below a dash, too.
		return before + found + behind + "\n" + margin + added
	})
}
