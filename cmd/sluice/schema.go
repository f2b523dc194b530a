package main

import (
	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration",
		Long: `Print the JSON Schema of the configuration, with the settings of every policy,
credential and target that this binary has.

An editor that knows YAML completes and checks a configuration that begins with

  # yaml-language-server: $schema=sluice.schema.json`,
		Example: "  sluice schema > sluice.schema.json",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(documentSchema())
			return err
		},
	}
}

// documentSchema is the schema of the whole document.
func documentSchema() []byte {
	var policyKinds, targetKinds []config.KindSchema
	for _, k := range policies.All() {
		policyKinds = append(policyKinds, config.KindSchema{
			Name: k.Name, Doc: sentenceOf(k.Files, k.Name), Settings: k.NewSettings(), Credential: k.NewCredential(),
		})
	}
	for _, k := range targets.All() {
		targetKinds = append(targetKinds, config.KindSchema{Name: k.Name, Doc: sentenceOf(k.Files, k.Name), Settings: k.NewSettings()})
	}
	return config.Schema(policyKinds, targetKinds)
}
