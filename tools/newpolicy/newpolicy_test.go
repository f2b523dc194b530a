package main

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/tools/newpolicy/samplepolicy"
)

var update = flag.Bool("update", false, "write the generated parts of the sample anew")

// TestSampleIsFresh keeps what tools/gen writes for the policies up to date in the
// sample; make golden does.
func TestSampleIsFresh(t *testing.T) {
	page := policytest.PageOf(&samplepolicy.Kind)
	for name, generate := range map[string]func([]byte) ([]byte, error){"schema.json": page.Schema, "README.md": page.Readme} {
		path := filepath.Join(sampleFolder, name)
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := generate(have)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) == string(want) {
			continue
		}
		if !*update {
			t.Errorf("%s is stale: run make golden", path)
		} else if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tree is a repository with nothing but the list of policies.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	list, err := os.ReadFile("../../policies/all.go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "policies", "all.go"), list, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestCreate(t *testing.T) {
	t.Parallel()
	root := tree(t)
	folder, err := create(root, "tea_time")
	if err != nil {
		t.Fatal(err)
	}
	if folder != filepath.Join(root, "policies", "teatime") {
		t.Errorf("the folder is %s", folder)
	}
	for _, name := range []string{"teatime.go", "config.go", "teatime_test.go", "README.md", "schema.json", "testdata/behaviour.txtar"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text)+path[len(root):], "sample") {
			t.Errorf("%s still speaks of the sample", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(root, "policies", "all.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\t\"github.com/sluice-gateway/sluice/policies/teatime\"\n", "\t\tteatime.Kind,\n\t}\n}\n"} {
		if strings.Count(string(list), want) != 1 {
			t.Errorf("%q is not once in\n%s", want, list)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Tea", "tea-time", "_tea", "tea_", "tea__time", "../tea", "7tea", "request_id"} {
		root := tree(t)
		before, err := os.ReadFile(filepath.Join(root, "policies", "all.go"))
		if err != nil {
			t.Fatal(err)
		}
		if folder, err := create(root, name); err == nil {
			t.Errorf("%q became %s", name, folder)
		}
		after, err := os.ReadFile(filepath.Join(root, "policies", "all.go"))
		if err != nil || string(after) != string(before) {
			t.Errorf("%q: the list has changed (%v)", name, err)
		}
		entries, err := os.ReadDir(filepath.Join(root, "policies"))
		if err != nil || len(entries) != 1 {
			t.Errorf("%q: something is left behind: %v, %v", name, entries, err)
		}
	}
}

func TestCreateTwice(t *testing.T) {
	t.Parallel()
	root := tree(t)
	if _, err := create(root, "tea"); err != nil {
		t.Fatal(err)
	}
	if folder, err := create(root, "tea"); err == nil {
		t.Fatalf("again: %s", folder)
	}
	if _, err := create(t.TempDir(), "tea"); err == nil || !strings.Contains(err.Error(), "root of the repository") {
		t.Fatalf("elsewhere: %v", err)
	}
}
