// Command sluice is the gateway and the tools around its configuration.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Exit codes, for scripts.
const (
	exitOK       = 0
	exitProblems = 1 // the configuration, or what was asked, is wrong
	exitUsage    = 2 // the command line is wrong
)

// version is set by the linker.
var version = "dev"

// problemsFound ends the command with exitProblems; everything was said already.
var errProblems = errors.New("problems were found")

func main() { os.Exit(run(os.Args[1:])) }

func run(arguments []string) int {
	root := rootCommand()
	root.SetArgs(arguments)
	err := root.Execute()
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errProblems):
		return exitProblems
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "sluice: %v\nSee 'sluice --help'.\n", err)
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "sluice: %v\n", err)
	return exitProblems
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "An API gateway in one binary",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return usageError{fmt.Errorf("there is no command %q", arguments[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		serveCommand(),
		checkCommand(),
		explainCommand(),
		diffCommand(),
		rolloutCommand(),
		schemaCommand(),
		policiesCommand(),
		demoCommand(),
		versionCommand(),
	)
	return root
}

// exactly and atMost are cobra's checks with our exit code.
func exactly(n int) cobra.PositionalArgs { return usage(cobra.ExactArgs(n)) }
func atMost(n int) cobra.PositionalArgs  { return usage(cobra.MaximumNArgs(n)) }

func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, arguments []string) error {
		if err := check(c, arguments); err != nil {
			return usageError{err}
		}
		return nil
	}
}
