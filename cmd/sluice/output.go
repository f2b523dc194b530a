package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// format is the value of --output.
type format string

const (
	asText format = "text"
	asJSON format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

// Set is called by the flag's parser.
func (f *format) Set(word string) error {
	switch format(word) {
	case asText, asJSON:
		*f = format(word)
		return nil
	}
	return fmt.Errorf("%q is not a format: write text or json", word)
}

// outputFlag adds --output to a command.
func outputFlag(c *cobra.Command) *format {
	f := asText
	c.Flags().VarP(&f, "output", "o", "text, or json for programs")
	return &f
}

// configFlag adds --config to a command.
func configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", "sluice.yaml", "the configuration file")
}

// printJSON writes a value for programs.
func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}

// paint writes text for people: in colours where they can be seen.
type paint struct {
	io.Writer
	colours bool
}

// newPaint uses colours on a terminal, unless the user wants none (no-color.org).
func newPaint(w io.Writer) *paint {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return &paint{Writer: w}
	}
	info, err := f.Stat()
	return &paint{w, err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (p *paint) printf(format string, arguments ...any) { _, _ = fmt.Fprintf(p, format, arguments...) }

func (p *paint) in(code, text string) string {
	if !p.colours || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *paint) bold(text string) string   { return p.in("1", text) }
func (p *paint) faint(text string) string  { return p.in("2", text) }
func (p *paint) red(text string) string    { return p.in("31", text) }
func (p *paint) green(text string) string  { return p.in("32", text) }
func (p *paint) yellow(text string) string { return p.in("33", text) }

// labelWidth is the room for the words at the left margin.
const labelWidth = 12

// labelled writes lines behind a word at the left margin; nothing where there are
// no lines.
func (p *paint) labelled(label string, lines ...string) {
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		p.printf("%s%s%s\n", p.bold(label), strings.Repeat(" ", max(1, labelWidth-len(label))), printableText(line))
	}
}

// printableText keeps what comes from a request or a file from acting on a terminal.
// Escape stays where paint has put it.
func printableText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\x1b' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

// columns writes rows whose cells stand below each other.
func columns(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
			}
		}
		lines[n] = strings.TrimRight(line.String(), " ")
	}
	return lines
}

// counted is a number with its noun: "1 route", "3 routes".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		noun = strings.TrimSuffix(noun, "y") + "ie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
