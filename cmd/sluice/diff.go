package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/config"
)

func diffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell what changes between two configurations",
		Long: `Tell what changes between two configurations, by what they mean.

Comments, formatting, the order of keys and of entries, includes, and defaults
that are written out make no difference. The order of policies does within one
stage, and the order of routes where it decides which of two wins. Credentials
and secrets are compared and never shown.

The exit code is 0 where nothing changes, 1 where something does, and 2 where the
two cannot be compared.`,
		Example: "  sluice diff sluice.yaml new.yaml",
		Args:    exactly(2),
	}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, arguments []string) error {
		return diff(c, arguments[0], arguments[1], *output)
	}
	return c
}

func diff(c *cobra.Command, oldPath, newPath string, output format) error {
	before, err := config.Load(oldPath, nil)
	if err != nil {
		return incomparable(c, err)
	}
	after, err := config.Load(newPath, nil)
	if err != nil {
		return incomparable(c, err)
	}
	changes := append([]change{}, compare(before, after)...) // Never null in JSON.
	if output == asJSON {
		if err := printJSON(c.OutOrStdout(), map[string]any{"equal": len(changes) == 0, "changes": changes}); err != nil {
			return err
		}
	} else {
		printChanges(newPaint(c.OutOrStdout()), changes)
	}
	if len(changes) > 0 {
		return errProblems
	}
	return nil
}

// unreadable tells the problems of a configuration that cannot be worked with.
func unreadable(c *cobra.Command, err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	_, _ = fmt.Fprintln(c.ErrOrStderr(), problems.Error())
	return errProblems
}

// incomparable is unreadable with the exit code that means neither equal nor different.
func incomparable(c *cobra.Command, err error) error {
	if err = unreadable(c, err); errors.Is(err, errProblems) {
		err = errors.New("nothing was compared")
	}
	return usageError{err}
}

func printChanges(p *paint, changes []change) {
	if len(changes) == 0 {
		p.printf("%s\n", p.green("no change"))
		return
	}
	for i, change := range changes {
		if i > 0 {
			p.printf("\n")
		}
		line := change.title()
		switch change.What {
		case added:
			line = p.green("+ " + line)
		case removed:
			line = p.red("- " + line)
		default:
			line = p.yellow("~ " + line)
		}
		if change.At != nil {
			line += "  " + p.faint(change.At.String())
		}
		p.printf("%s\n", line)
		for _, d := range change.Details {
			p.printf("    %s\n", printableText(d.words(p)))
		}
	}
}

func (d *detail) words(p *paint) string {
	switch {
	case d.Note != "":
		return d.Path + ": " + d.Note
	case d.Old == nil:
		return p.green("+ " + d.Path + ": " + *d.New)
	case d.New == nil:
		return p.red("- " + d.Path + ": " + *d.Old)
	}
	return d.Path + ": " + p.red(*d.Old) + " → " + p.green(*d.New)
}
