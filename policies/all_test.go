package policies

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

// TestContract holds every policy to the contract, with all others at hand, so that
// examples and scenarios which need several kinds are played too.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, kind := range All() {
		t.Run(kind.Name, func(t *testing.T) {
			policytest.RunIn(t, strings.ReplaceAll(kind.Name, "_", ""), kind, All()...)
		})
	}
}

// TestCodesMeanOneThing lets a policy answer with a problem of the gateway, but not
// use a code for something else than others do.
func TestCodesMeanOneThing(t *testing.T) {
	t.Parallel()
	seen := map[string]*message.Problem{}
	for _, p := range message.Problems() {
		seen[p.Code] = p
	}
	names := map[string]bool{}
	for _, kind := range All() {
		if names[kind.Name] {
			t.Errorf("two kinds are called %s", kind.Name)
		}
		names[kind.Name] = true
		for _, p := range kind.Problems() {
			if other, ok := seen[p.Code]; ok && (other.Status != p.Status || other.Title != p.Title) {
				t.Errorf("%s: the code %s means something else elsewhere", kind.Name, p.Code)
			}
			seen[p.Code] = p
		}
	}
}

func TestKindsAreNamedLikeTheirFolders(t *testing.T) {
	t.Parallel()
	for _, kind := range All() {
		if strings.Trim(kind.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Errorf("%q is no lower_snake_case name", kind.Name)
		}
		for _, p := range kind.Problems() {
			if p.Status < 400 || p.Title == "" || strings.Trim(p.Code, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				t.Errorf("%s: the problem %q has no proper code, title or status", kind.Name, p.Code)
			}
		}
	}
}
