package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// TestScripts plays every script in this folder and the ones below it.
func TestScripts(t *testing.T) {
	t.Parallel()
	paths, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("there are no scripts")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.ToSlash(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := Play(s, t.TempDir(), t.Logf); err != nil {
				t.Errorf("%s\n%v", s.Title, err)
			}
		})
	}
}

// Two scripts with one title are one behaviour told twice.
func TestTitlesAreUnique(t *testing.T) {
	t.Parallel()
	paths, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, path := range paths {
		s, err := Read(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if other, ok := seen[s.Title]; ok {
			t.Errorf("%s and %s have the same title", path, other)
		}
		seen[s.Title] = path
	}
}
