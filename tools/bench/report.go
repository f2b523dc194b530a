//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// section is one table of the report with what is said about it.
type section struct {
	title    string
	notes    []string
	head     []string
	rows     [][]string
	verdicts []verdict
	configs  []namedConfig
	took     time.Duration
}

// verdict is one promise and whether this run keeps it.
type verdict struct {
	bar, measured string
	met           bool
}

type namedConfig struct{ name, text string }

func (v verdict) word() string {
	if v.met {
		return "met"
	}
	return "MISSED"
}

func (s *section) add(cells ...string) { s.rows = append(s.rows, cells) }

func (s *section) judge(met bool, bar, format string, args ...any) {
	s.verdicts = append(s.verdicts, verdict{bar: bar, measured: fmt.Sprintf(format, args...), met: met})
}

// noErrors adds the verdict that all answers were good.
func (s *section) noErrors(contenders ...*contender) {
	sum, requests := 0, 0
	for _, c := range contenders {
		sum += c.errors()
		for _, t := range c.turns {
			requests += t.load.requests
		}
	}
	s.judge(sum == 0, "no failed request", "%d of %d", sum, requests)
}

// text is the section for a terminal.
func (s *section) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s)\n", s.title, s.took.Round(time.Second))
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{s.head}, s.rows...) {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	fmt.Fprintln(w)
	for _, v := range s.verdicts {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", v.word(), v.bar, v.measured)
	}
	w.Flush() //nolint:errcheck // A strings.Builder takes everything.
	for _, note := range s.notes {
		fmt.Fprintf(&out, "  %s\n", note)
	}
	return out.String()
}

// markdown is the section for the document.
func (s *section) markdown(m machine, at time.Time) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %s. Absolute figures mean something within this run only.\n\n", at.UTC().Format("2006-01-02 15:04 UTC"), m.describe())
	line := func(cells []string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	line(s.head)
	line(append([]string{"---"}, repeat("---:", len(s.head)-1)...))
	for _, row := range s.rows {
		line(row)
	}
	if len(s.verdicts) > 0 {
		out.WriteString("\n| Bar | Measured | |\n| --- | --- | --- |\n")
		for _, v := range s.verdicts {
			line([]string{v.bar, v.measured, v.word()})
		}
	}
	for _, note := range s.notes {
		fmt.Fprintf(&out, "\n%s\n", note)
	}
	for _, c := range s.configs {
		if c.text == "" {
			continue
		}
		fmt.Fprintf(&out, "\n<details><summary>Configuration of %s</summary>\n\n```\n%s\n```\n\n</details>\n", c.name, strings.TrimSpace(c.text))
	}
	return out.String()
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// writeSection replaces what stands between the markers of a group.
func writeSection(path, name, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed, err := replaceSection(string(old), name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(changed), 0o644)
}

func replaceSection(document, name, text string) (string, error) {
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- /bench:"+name+" -->"
	before, rest, found := strings.Cut(document, begin)
	if !found {
		return "", fmt.Errorf("there is no line %q", strings.TrimSpace(begin))
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("there is no %q after its beginning", end)
	}
	return before + begin + text + end + after, nil
}

// Figures as they stand in tables.

func microseconds(values []float64) string { return fmt.Sprintf("%.1f", median(values)) }

func times(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}

func kibibytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/1024) }

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }
