package repo

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// loadOnce parses the repository once for all tests, which only read it.
var loadOnce = sync.OnceValues(func() (*Tree, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return Load(root)
})

func load(t *testing.T) *Tree {
	t.Helper()
	tree, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 10 {
		t.Fatalf("only %d packages found below %s: this test looks at the wrong tree", len(tree.Packages), tree.Root)
	}
	return tree
}

// layerOf finds the first layer that covers a package.
func layerOf(p string) *Layer {
	for i := range Layers {
		if Match(Layers[i].Package, p) {
			return &Layers[i]
		}
	}
	return nil
}

// may covers the "..." that stands for everything.
func may(l *Layer, imported string) bool {
	return MatchAny(l.May, imported) || len(l.May) == 1 && l.May[0] == "..."
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, p := range load(t).Packages {
		layer := layerOf(p.Path)
		if layer == nil {
			t.Errorf("%s: no row of Layers covers this folder; add one, and the folder to the tree in ARCHITECTURE.md", p.Path)
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, imported := range f.Imports {
				rel, ours := Inside(imported)
				if ours && !may(layer, rel) {
					t.Errorf("%s imports %s: %q may import only %v (%s)", f.Path, rel, layer.Package, layer.May, layer.Why)
				}
			}
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	for _, p := range load(t).Packages {
		for _, f := range p.Files {
			for _, imported := range f.Imports {
				rel, ours := Inside(imported)
				if !ours || rel == p.Path {
					continue
				}
				for _, rule := range ForbiddenImports {
					if f.Test && !rule.Tests || !Match(rule.Import, rel) || MatchAny(rule.Except, p.Path) {
						continue
					}
					t.Errorf("%s imports %s: %s", f.Path, rel, rule.Why)
				}
			}
		}
	}
}

// Neither code nor tests of one policy may need another: delete any folder and the rest builds.
func TestSiblingsDoNotKnowEachOther(t *testing.T) {
	t.Parallel()
	for _, p := range load(t).Packages {
		for _, family := range []string{"policies/", "targets/", "wire/"} {
			own, ok := strings.CutPrefix(p.Path, family)
			if !ok {
				continue
			}
			own, _, _ = strings.Cut(own, "/")
			for _, f := range p.Files {
				for _, imported := range f.Imports {
					rel, _ := Inside(imported)
					other, ok := strings.CutPrefix(rel, family)
					if !ok {
						continue
					}
					other, _, _ = strings.Cut(other, "/")
					if other != own {
						t.Errorf("%s imports %s: siblings never import each other", f.Path, rel)
					}
				}
			}
		}
	}
}

func TestEveryDependencyHasOneHome(t *testing.T) {
	t.Parallel()
	for _, p := range load(t).Packages {
		for _, f := range p.Files {
			for _, imported := range f.Imports {
				if !ThirdParty(imported) {
					continue
				}
				homes := append([]string(nil), lookup(Homes, imported)...)
				if f.Test || Match("test/...", p.Path) || Match("tools/...", p.Path) {
					homes = append(homes, lookup(TestHomes, imported)...)
				}
				if len(homes) == 0 {
					t.Errorf("%s imports %s, which has no home in test/repo/rules.go: a new dependency needs a line there and a reason in docs/adr", f.Path, imported)
				} else if !MatchAny(homes, p.Path) {
					t.Errorf("%s imports %s, whose home is %v: let its home do the work", f.Path, imported, homes)
				}
			}
		}
	}
}

// lookup finds the homes of a module from one of its packages.
func lookup(table map[string][]string, imported string) []string {
	for {
		if homes, ok := table[imported]; ok {
			return homes
		}
		cut := strings.LastIndexByte(imported, '/')
		if cut < 0 {
			return nil
		}
		imported = imported[:cut]
	}
}

// What go.mod requires directly must be used; a line that nobody needs is deleted.
func TestDirectDependenciesAreUsed(t *testing.T) {
	t.Parallel()
	tree := load(t)
	mod, err := os.ReadFile(filepath.Join(tree.Root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, p := range tree.Packages {
		for _, f := range p.Files {
			for _, imported := range f.Imports {
				used[imported] = true
			}
		}
	}
	direct := 0
	line := regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9.-]+\.[a-z]+/\S+) v\S+( // indirect)?$`)
	for _, m := range line.FindAllStringSubmatch(string(mod), -1) {
		if m[2] != "" {
			continue
		}
		direct++
		found := false
		for imported := range used {
			found = found || imported == m[1] || strings.HasPrefix(imported, m[1]+"/")
		}
		if !found {
			t.Errorf("go.mod requires %s directly, and nothing imports it", m[1])
		}
	}
	if direct > 25 {
		t.Errorf("%d direct dependencies, 25 is the limit: what is heavy lives in a module of its own", direct)
	}
}

func TestNetHTTPStaysOutside(t *testing.T) {
	t.Parallel()
	for _, p := range load(t).Packages {
		if MatchAny(NetHTTP, p.Path) {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, imported := range f.Imports {
				if imported == "net/http" || strings.HasPrefix(imported, "net/http/") {
					t.Errorf("%s imports %s: only %v may", f.Path, imported, NetHTTP)
				}
			}
		}
	}
}

func TestMatchUnderstandsPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"wire/*", "wire/http1", true},
		{"wire/*", "wire", false},
		{"wire/*", "wire/http1/inner", false},
		{"wire/...", "wire/http1/inner", true},
		{"wire/...", "wire", true},
		{"wire/...", "wireless", false},
		{"message", "message", true},
		{"message", "message/x", false},
	} {
		if got := Match(c.pattern, c.path); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}
