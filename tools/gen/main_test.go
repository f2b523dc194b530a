package main

import (
	"testing"

	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

// TestNothingIsStale fails where somebody forgot `go run ./tools/gen`.
func TestNothingIsStale(t *testing.T) {
	t.Parallel()
	g := &generator{root: "../..", check: true}
	if err := g.run(policies.All(), targets.All()); err != nil {
		t.Fatal(err)
	}
	for _, path := range g.changed {
		t.Errorf("%s is stale: run `go run ./tools/gen`", path)
	}
}
