package main

import (
	"slices"
	"testing"

	"github.com/sluice-gateway/sluice/config"
)

// TestOrderOfConditions: another order of entries is another setting only where they are
// tried in turn.
func TestOrderOfConditions(t *testing.T) {
	t.Parallel()
	of := func(text string) []setting {
		node, err := config.ParseNode("a.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return settingsOf(config.NewViewer(nil).View(node, nil))
	}
	tests := []struct {
		one, other string
		same       bool
	}{
		{"[{ upstream: a, weight: 1 }, { upstream: b, weight: 2 }]", "[{ upstream: b, weight: 2 }, { upstream: a, weight: 1 }]", true},
		{"[{ upstream: a, when: { group: g } }, { upstream: b, weight: 2 }]", "[{ upstream: b, weight: 2 }, { upstream: a, when: { group: g } }]", true},
		{"[{ upstream: a, when: { group: g } }, { upstream: b, when: { group: h } }]", "[{ upstream: b, when: { group: h } }, { upstream: a, when: { group: g } }]", false},
	}
	for _, test := range tests {
		if same := slices.Equal(of(test.one), of(test.other)); same != test.same {
			t.Errorf("%s and %s: the same is %t", test.one, test.other, same)
		}
	}
}
