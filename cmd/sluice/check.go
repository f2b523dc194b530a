package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Look for problems in a configuration",
		Long: `Look for problems in a configuration, as serve would, and open nothing.

Every problem is told with its place. Warnings are about what is allowed and
surely not meant: a route that can never win.`,
		Example: "  sluice check sluice.yaml",
		Args:    atMost(1),
	}
	path := configFlag(c)
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, arguments []string) error {
		if len(arguments) == 1 {
			if c.Flags().Changed("config") {
				return usageError{errors.New("the file is given twice: as an argument and with --config")}
			}
			*path = arguments[0]
		}
		return check(c, *path, *output)
	}
	return c
}

// report is what check says to programs.
type report struct {
	OK       bool            `json:"ok"`
	Problems config.Problems `json:"problems"`
	Warnings config.Problems `json:"warnings"`
}

func check(c *cobra.Command, path string, output format) error {
	result, err := checked(path)
	found := report{OK: err == nil, Problems: config.Problems{}, Warnings: config.Problems{}}
	if err != nil && !errors.As(err, &found.Problems) {
		return err
	}
	if result != nil && len(result.Warnings) > 0 {
		found.Warnings = result.Warnings
	}
	if output == asJSON {
		if err := printJSON(c.OutOrStdout(), found); err != nil {
			return err
		}
	} else {
		found.print(newPaint(c.OutOrStdout()), result)
	}
	if !found.OK {
		return errProblems
	}
	return nil
}

// checked loads a configuration and compiles it without opening anything. The error
// is config.Problems: of entries that cannot be read, and of the others that cannot be
// compiled, all at once.
func checked(path string) (*compile.Result, error) {
	doc, err := config.Load(path, nil)
	if err == nil {
		return compile.Check(doc, policies.All(), targets.All())
	}
	var unread, more config.Problems
	if !errors.As(err, &unread) || doc == nil {
		return nil, err
	}
	if _, err := compile.Check(doc, policies.All(), targets.All()); errors.As(err, &more) {
		unread = append(unread, more...)
	}
	return nil, unread.Err()
}

func (r *report) print(p *paint, result *compile.Result) {
	for _, problem := range r.Problems {
		p.printf("%s\n", problem.Error())
	}
	for _, warning := range r.Warnings {
		p.printf("%s %s\n", p.yellow("warning:"), warning.Error())
	}
	if !r.OK {
		p.printf("%s\n", p.red(counted(len(r.Problems), "problem")))
		return
	}
	d := result.Document
	upstreams, discovered := counted(len(d.Upstreams), "upstream"), 0
	for _, u := range d.Upstreams {
		if u.Value.Discovery != nil {
			discovered++
		}
	}
	if discovered > 0 {
		upstreams += fmt.Sprintf(" (%d with discovery)", discovered)
	}
	line := p.green("ok:") + " " + counted(len(d.Routes), "route") + ", " + upstreams + ", " + counted(len(d.Listeners), "listener")
	if len(r.Warnings) > 0 {
		line += ", " + counted(len(r.Warnings), "warning")
	}
	p.printf("%s\n", line)
}
