package fairshare

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tutorial shows this code, and no other.
func TestTutorialShowsThisCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/writing-a-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 5 {
		t.Fatalf("only %d blocks of Go were found", len(blocks))
	}
	for _, m := range blocks {
		if !strings.Contains(code.String(), m[1]) {
			t.Errorf("no file here has this block of the tutorial:\n%s", m[1])
		}
	}
}
