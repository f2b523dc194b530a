// Package config turns files into a Document: strict YAML with a place for every
// problem, includes, references to the environment and to files, and the JSON
// Schema. It knows nothing of how a document is run.
package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/internal/excerpt"
)

// Position is a place in a file. Line and Column count from 1, columns in
// characters.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is one thing that is wrong with a configuration. It is an error; its
// JSON form is for tools.
type Problem struct {
	Position
	Message string `json:"message"`
	// Quote is the line; "" where the file could not be read.
	Quote string `json:"quote,omitempty"`
	// Other is a second place that belongs to the problem: where a name was given first.
	Other *Position `json:"other,omitempty"`
}

// quoteWidth is how much of a line is shown, in characters.
const quoteWidth = 100

// Error is the message with its place, and below it the line with a caret.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", p.Position, p.Message)
	if p.Other != nil {
		fmt.Fprintf(&b, " (%s)", p.Other)
	}
	if p.Quote == "" {
		return b.String()
	}
	line, caret := excerpt.Around(p.Quote, p.Column-1, quoteWidth)
	number := fmt.Sprintf("%5d", p.Line)
	fmt.Fprintf(&b, "\n%s | %s\n%s | %s^", number, line, strings.Repeat(" ", len(number)), strings.Repeat(" ", caret))
	return b.String()
}

// Problems is everything that is wrong, sorted by place.
type Problems []*Problem

// Error is one problem after the other.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
	}
	return b.String()
}

// Unwrap makes each problem findable with errors.As.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Err is nil where there is no problem, and else the problems, sorted.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}
