package repo

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// markdown lists every page of the repository.
func markdown(t *testing.T) []string {
	t.Helper()
	dir := root(t)
	var pages []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != dir && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			rel, err := filepath.Rel(dir, name)
			if err != nil {
				return err
			}
			pages = append(pages, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) == 0 {
		t.Fatal("the repository has no markdown page")
	}
	return pages
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\]\(([^)\s]+)(?: "[^"]*")?\)`)
	heading   = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

func TestMarkdownLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, page := range markdown(t) {
		text := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(read(t, page), ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to := m[1]
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(to, "#")
			target := page
			if file != "" {
				target = path.Join(path.Dir(page), file)
			}
			if _, err := os.Stat(filepath.Join(root(t), target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, to)
				continue
			}
			if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(read(t, target))[anchor] {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	}
}

// anchors are the names that a page's headings get on the web.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
				return r
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.ToLower(m[1]))
		found[name] = true
	}
	return found
}

func TestGeneratedFilesAreFresh(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "run", "./tools/gen", "-check")
	cmd.Dir = root(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("go run ./tools/gen -check: %v (run make gen)\n%s", err, out)
	}
}

func TestGoFilesAreFormatted(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("gofmt", "-l", ".")
	cmd.Dir = root(t)
	out, err := cmd.CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("gofmt -l: %v\n%s", err, out)
	}
}

func TestGlossary(t *testing.T) {
	t.Parallel()
	text := read(t, "GLOSSARY.md")
	for _, word := range GlossaryWords {
		entry := regexp.MustCompile(`(?m)^(#+ +|[-*|] *)?(\*\*)?` + word + `\b`)
		if !entry.MatchString(text) {
			t.Errorf("GLOSSARY.md has no entry for %s", word)
		}
	}
}

func TestArchitecturePage(t *testing.T) {
	t.Parallel()
	text := read(t, "ARCHITECTURE.md")
	if n := strings.Count(text, "\n"); n > ArchitectureLines {
		t.Errorf("ARCHITECTURE.md has %d lines, %d is the most", n, ArchitectureLines)
	}
	seen := map[string]bool{}
	for _, p := range load(t).Packages {
		top, _, _ := strings.Cut(p.Path, "/")
		if !seen[top] && top != "." && !strings.Contains(text, top+"/") {
			t.Errorf("ARCHITECTURE.md does not mention %s/", top)
		}
		seen[top] = true
	}
}

func TestEveryPolicyHasItsFiles(t *testing.T) {
	t.Parallel()
	n := folders(t, "policies", PolicyFiles)
	if n == 0 {
		t.Error("policies/ has no folder")
	}
}

func TestEveryTargetHasItsFiles(t *testing.T) {
	t.Parallel()
	if folders(t, "targets", TargetFiles) == 0 {
		t.Error("targets/ has no folder")
	}
}

// folders checks that every folder below dir has the files, and counts them.
func folders(t *testing.T, dir string, files []string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root(t), dir))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		n++
		for _, file := range files {
			name := path.Join(dir, e.Name(), strings.ReplaceAll(file, "$", e.Name()))
			found, err := filepath.Glob(filepath.Join(root(t), name))
			if err != nil || len(found) == 0 {
				t.Errorf("there is no %s", name)
			}
		}
	}
	return n
}

// Every policy and target is in its list, and nothing else is.
func TestListsAreComplete(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"policies", "targets"} {
		text := read(t, family+"/all.go")
		entries, err := os.ReadDir(filepath.Join(root(t), family))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && !strings.Contains(text, `"`+Module+"/"+family+"/"+e.Name()+`"`) {
				t.Errorf("%s/all.go does not list %s", family, e.Name())
			}
		}
	}
}

// A fuzz target that nobody runs finds nothing.
func TestFuzzTargetsAreRun(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	_, recipe, ok := strings.Cut(makefile, "\nfuzz:")
	if !ok {
		t.Fatal("the Makefile has no target fuzz")
	}
	recipe, _, _ = strings.Cut(recipe, "\n\n")
	// A recipe that looks the targets up by itself runs them all.
	if strings.Contains(recipe, "func Fuzz") || strings.Contains(recipe, "tools/fuzz") {
		return
	}
	name := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	for _, p := range load(t).Packages {
		for _, f := range p.Files {
			if !f.Test {
				continue
			}
			for _, m := range name.FindAllStringSubmatch(read(t, f.Path), -1) {
				if !strings.Contains(recipe, m[1]) {
					t.Errorf("make fuzz does not run %s of %s", m[1], p.Path)
				}
			}
		}
	}
}

// Names of machines and people of our workshop do not belong into the repository.
func TestPagesNameNoPlaces(t *testing.T) {
	t.Parallel()
	place := regexp.MustCompile(`(/home/|/root/|/work/|/tmp/bash)[a-z]`)
	for _, page := range markdown(t) {
		if m := place.FindString(read(t, page)); m != "" {
			t.Errorf("%s names a place on somebody's machine: %q", page, m)
		}
	}
}
