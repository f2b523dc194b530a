package main

import (
	"embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

func policiesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policies [NAME]",
		Short: "List the policies and targets, or explain one",
		Long: `List the policies, in the order in which their stages run, and the targets.

With a name, print the page of that policy or target: when to use it, examples,
settings, the problems that it answers with.`,
		Example: "  sluice policies\n  sluice policies rate_limit",
		Args:    atMost(1),
	}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, arguments []string) error {
		if len(arguments) == 1 {
			return printPage(c, arguments[0], *output)
		}
		return listKinds(c, *output)
	}
	return c
}

// about describes a policy or a target to programs.
type about struct {
	Name    string `json:"name"`
	Stage   string `json:"stage,omitempty"`
	OnFault string `json:"on_fault,omitempty"`
	Summary string `json:"summary"`
	Readme  string `json:"readme,omitempty"`

	files embed.FS
}

func allPolicies() []about {
	var all []about
	for _, k := range policies.All() {
		all = append(all, about{
			Name: k.Name, Stage: k.Stage.String(), OnFault: k.Stage.DefaultOnFault().String(),
			Summary: summaryOf(k.Files, k.Name), files: k.Files,
		})
	}
	return all
}

func allTargets() []about {
	var all []about
	for _, k := range targets.All() {
		all = append(all, about{Name: k.Name, Summary: summaryOf(k.Files, k.Name), files: k.Files})
	}
	return all
}

// summaryOf is the first sentence of a README's first section, without the name
// with which it begins.
func summaryOf(files embed.FS, name string) string {
	text, err := files.ReadFile("README.md")
	if err != nil {
		return ""
	}
	_, section, _ := strings.Cut(string(text), "## Name\n")
	paragraph, _, _ := strings.Cut(strings.TrimSpace(section), "\n\n")
	sentence, _, _ := strings.Cut(strings.Join(strings.Fields(paragraph), " ")+" ", ". ")
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(sentence), "`"+name+"` "), ".")
}

func listKinds(c *cobra.Command, output format) error {
	if output == asJSON {
		return printJSON(c.OutOrStdout(), map[string]any{"policies": allPolicies(), "targets": allTargets()})
	}
	p := newPaint(c.OutOrStdout())
	rows := [][]string{{"POLICY", "STAGE", "ON FAULT", ""}}
	for _, k := range allPolicies() {
		rows = append(rows, []string{k.Name, k.Stage, k.OnFault, k.Summary})
	}
	printTable(p, rows)
	rows = [][]string{{"TARGET", ""}}
	for _, k := range allTargets() {
		rows = append(rows, []string{k.Name, k.Summary})
	}
	p.printf("\n")
	printTable(p, rows)
	p.printf("\nsluice policies NAME prints the page of one.\n")
	return nil
}

func printTable(p *paint, rows [][]string) {
	for i, line := range columns(rows) {
		if i == 0 {
			line = p.bold(line)
		}
		p.printf("%s\n", line)
	}
}

func printPage(c *cobra.Command, name string, output format) error {
	var names []string
	for _, k := range append(allPolicies(), allTargets()...) {
		names = append(names, k.Name)
		if k.Name != name {
			continue
		}
		page, err := k.files.ReadFile("README.md")
		if err != nil {
			return fmt.Errorf("policies: reading the page of %s: %w", name, err)
		}
		if output == asJSON {
			k.Readme = string(page)
			return printJSON(c.OutOrStdout(), k)
		}
		_, err = c.OutOrStdout().Write(page)
		return err
	}
	return fmt.Errorf("there is no policy or target %q%s", name, config.Meant(name, names, "names"))
}

// sentenceOf is the summary as a sentence: "Lets each caller make so many …".
func sentenceOf(files embed.FS, name string) string {
	summary := summaryOf(files, name)
	if summary == "" {
		return ""
	}
	return strings.ToUpper(summary[:1]) + summary[1:] + "."
}
