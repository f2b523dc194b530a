package template

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestReadmeListsEveryVariable(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, row := range All() {
		note := ""
		if row.Answered {
			note = " (1)"
		}
		fmt.Fprintf(&want, "| `{%s}` | %s%s |\n", row.Name, row.About, note)
	}
	if !strings.Contains(string(readme), want.String()) {
		t.Errorf("README.md should hold this table:\n%s", want.String())
	}
}
