// Command newpolicy begins a policy: a folder under policies/ that compiles and
// keeps the contract of all policies, and its lines in policies/all.go.
//
//	go run ./tools/newpolicy my_policy
//
// The folder is a copy of samplepolicy with another name: a real policy with tests
// of its own, so what is copied works.
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed samplepolicy
var sample embed.FS

// The names that the sample has.
const (
	sampleKind   = "sample_policy"
	sampleFolder = "samplepolicy"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: make new-policy NAME=my_policy")
		os.Exit(2)
	}
	folder, err := create(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "newpolicy:", err)
		os.Exit(1)
	}
	fmt.Printf(`%[1]s is there, and in policies/all.go; move its line to its stage.
Now: %[1]s/config.go, then make gen, then go test ./policies/...
`, folder)
}

// create makes the policy below the root of the repository and returns its folder.
// If it fails, nothing is left behind.
func create(root, kind string) (string, error) {
	if !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(kind) {
		return "", fmt.Errorf("%q is no name of a policy: it is a noun in lower_snake_case, such as rate_limit", kind)
	}
	name := strings.ReplaceAll(kind, "_", "")
	list := filepath.Join(root, "policies", "all.go")
	old, err := os.ReadFile(list)
	if err != nil {
		return "", fmt.Errorf("%w; run this in the root of the repository", err)
	}
	changed, err := enlist(old, name)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, "policies", name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", err
	}
	if err := copySample(folder, kind, name); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	if err := os.WriteFile(list, changed, 0o644); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	return folder, nil
}

// copySample writes all files of the sample, with the new names in them.
func copySample(folder, kind, name string) error {
	rename := strings.NewReplacer(sampleKind, kind, sampleFolder, name)
	return fs.WalkDir(sample, sampleFolder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside := rename.Replace(strings.TrimPrefix(path, sampleFolder))
		to := filepath.Join(folder, inside)
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		text, err := sample.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(rename.Replace(string(text))), 0o644)
	})
}

// enlist adds the policy to the source of policies/all.go.
func enlist(source []byte, name string) ([]byte, error) {
	const imports, module = "import (\n", "github.com/sluice-gateway/sluice/policies/"
	end := []byte("\t}\n}\n")
	if bytes.Contains(source, []byte(module+name+`"`)) {
		return nil, fmt.Errorf("policies/all.go has %s already", name)
	}
	if bytes.Count(source, []byte(imports)) != 1 || bytes.Count(source, end) != 1 {
		return nil, errors.New("policies/all.go does not look as expected: add the policy by hand")
	}
	source = bytes.Replace(source, []byte(imports), []byte(imports+"\t\""+module+name+"\"\n"), 1)
	source = bytes.Replace(source, end, []byte("\n\t\t"+name+".Kind,\n"+string(end)), 1)
	return format.Source(source)
}
