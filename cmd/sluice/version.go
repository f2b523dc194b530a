package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(0),
	}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		about := struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
		if *output == asJSON {
			return printJSON(c.OutOrStdout(), about)
		}
		newPaint(c.OutOrStdout()).printf("sluice %s, built with %s for %s/%s\n", about.Version, about.Go, about.OS, about.Arch)
		return nil
	}
	return c
}
