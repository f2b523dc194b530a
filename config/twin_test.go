package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The slow twins: what is fast must say what the library and the whole say.

// seeds are texts that the fuzzers begin with.
func seeds(t testing.TB) []string {
	t.Helper()
	texts := []string{
		"a: b\n", "- a\n- b: c\n  d: e\n-\n- - x\n", "a:\n- b\n- c\nd:\n", "a: \"x\\n\" # y\nb: 'it''s'\nc: {d: [e, 1, -2], f: {}}\n",
		"a: b # c\n# d\n\n  # e\nf:\n    g: h\n", "a: - b\n", "a: b: c\n", "a:b\n", "a: x\n  y\n", "\"a b\": c\n'd': e\n", "a: ${env:X} b\n", "- !x y\n", "a: &b c\n", "a: |\n  b\n c\n",
		"routes:\n  - name: a\n    upstream: b\n  - name: \"c\n  - name: d\"\n    upstream: e\n",
		"routes:\n  - {name: a,\n  - b}\n", "routes:\n- name: a\n  upstream: b\nroutes:\n- x: y\n", "routes: []\nlisteners:\n", "routes:\n  # x\n\n  - upstream: a\n# y\n  - upstream: b\n",
		"routes:\n  - a: |\n      - b\n   - c\n  - d: e\n", "policies:\n  - headers: {}\n    on_fault: alow\n", "routes:\n  x\n", "routes:\n -\n - a\n", "a:\n  - b\n - c\n",
		"listeners: [{name: a, address: \":1\"}]\nroutes:\n    - upstream: a\n      match: {path: /x}\n",
		"# x\n\nversion: 1\n---\n", "routes: [{upstream: a}]\nroutes:\n  - upstream: b\nroutes: [{upstream: c}]\n", "policies: [{headers: {}}]\nversion: 1\n", "routes:\n  - upstream: ${env:HOME}\n", "routes:\n  - upstream: a\n    upgrades: *x\n", "routes:\n  - upstream: a   \n  -   upstream: b\n",
	}
	for _, pattern := range []string{"testdata/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
	}
	return texts
}

func blockAgainstLibrary(t *testing.T, text string) (accepted bool) {
	t.Helper()
	env := func(name string) (string, bool) { return "v", name == "X" }
	var fast, slow []string
	p := &parser{refs: newReferences("", env), report: func(line, column int, message string) {
		slow = append(slow, fmt.Sprintf("%d:%d: %s", line, column, message))
	}}
	b := &block{finish: p.finish, report: func(line, column int, message string) {
		fast = append(fast, fmt.Sprintf("%d:%d: %s", line, column, message))
	}}
	got, ok := b.parse(text)
	if !ok {
		return false
	}
	want, fault := p.parse(text, 1)
	if fault != nil || p.anchors {
		t.Fatalf("%q: the block parser accepts what the library refuses: %v", text, fault)
	}
	var gotText, wantText strings.Builder
	dumpTree(&gotText, &got, 0)
	dumpTree(&wantText, want, 0)
	if gotText.String() != wantText.String() || !reflect.DeepEqual(fast, slow) {
		t.Fatalf("%q:\nblock   %s %v\nlibrary %s %v", text, &gotText, fast, &wantText, slow)
	}
	return true
}

func TestBlockIsTheLibrary(t *testing.T) {
	t.Parallel()
	accepted := 0
	for _, seed := range seeds(t) {
		if blockAgainstLibrary(t, seed) {
			accepted++
		}
	}
	if accepted < 10 {
		t.Errorf("the block parser accepts %d texts only", accepted)
	}
	if !blockAgainstLibrary(t, manyRoutes(3)) {
		t.Error("the block parser gives up at a plain configuration")
	}
}

func FuzzBlockIsTheLibrary(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { blockAgainstLibrary(t, text) })
}

// outcome is all that a load says.
func outcome(d *Document, err error) string {
	if err != nil {
		return "problems:\n" + err.Error()
	}
	return dump(d)
}

// twinPlans are shared, because making them takes longer than a small load.
var twinPlans = newPlans()

// loadText loads a text as the file x.yaml, in parts or as a whole.
func loadText(text string, cache *Cache) string {
	cache.plans = twinPlans
	cache.read = func(path string) ([]byte, error) {
		if path != "x.yaml" {
			return nil, errors.New("there is no such file")
		}
		return []byte(text), nil
	}
	doc, err := Load("x.yaml", cache)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		panic(fmt.Sprintf("%q: an error that is no list of problems: %v", text, err))
	}
	for _, p := range problems {
		if p.File != "x.yaml" || p.Line < 1 || p.Column < 1 || p.Message == "" {
			panic(fmt.Sprintf("%q: a problem without a place: %+v", text, p))
		}
	}
	return outcome(doc, err)
}

func partsAgainstWhole(t *testing.T, before, text string) {
	t.Helper()
	env := func(name string) (string, bool) { return "v", name == "X" }
	warm := &Cache{Env: env}
	loadText(before, warm)
	got := loadText(text, warm)
	cold := loadText(text, &Cache{Env: env})
	whole := loadText(text, &Cache{Env: env, whole: true})
	if cold != whole {
		t.Fatalf("%q:\nin parts:\n%s\nas a whole:\n%s", text, cold, whole)
	}
	if got != whole {
		t.Fatalf("%q after %q:\nwith the cache:\n%s\nas a whole:\n%s", text, before, got, whole)
	}
}

func TestPartsAreTheWhole(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t) {
		partsAgainstWhole(t, "", seed)
		partsAgainstWhole(t, seed, seed)
		partsAgainstWhole(t, seed, "# one line more\n"+seed)
		partsAgainstWhole(t, seed, strings.ReplaceAll(seed, "\n", "\n# between\n\n"))
		partsAgainstWhole(t, strings.ReplaceAll(seed, "\n", "\n# between\n\n"), seed)
		partsAgainstWhole(t, manyRoutes(3), seed)
	}
}

func FuzzPartsAreTheWhole(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed, seed+"\n- x")
		f.Add(manyRoutes(2), seed)
	}
	f.Fuzz(func(t *testing.T, before, text string) { partsAgainstWhole(t, before, text) })
}

// TestEditsAreTheWhole plays an editor: lines are removed, doubled, moved, changed.
func TestEditsAreTheWhole(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	warm := &Cache{}
	lines := strings.SplitAfter(manyRoutes(12), "\n")
	original := strings.Join(lines, "")
	scraps := []string{"  - name: other\n", "    upstream: orders\n", "# x\n", "\n", "  -\n", "routes:\n", "    match: {path: [/a, /b]}\n", "    upgrades: [\"web\n", "  - name: |\n", "      x\n", " - a\n", "    x: \"\n"}
	for range 400 {
		at, length := random.IntN(len(lines)), 1+random.IntN(10)
		end := min(len(lines), at+length)
		block := append([]string(nil), lines[at:end]...)
		switch random.IntN(5) {
		case 0:
			lines = append(lines[:at:at], lines[end:]...)
		case 1:
			lines = append(lines[:at:at], append(block, lines[at:]...)...)
		case 2:
			lines = append(lines[:at:at], lines[end:]...)
			to := random.IntN(len(lines) + 1)
			lines = append(lines[:to:to], append(block, lines[to:]...)...)
		case 3:
			lines = append(lines[:at:at], append([]string{scraps[random.IntN(len(scraps))]}, lines[at:]...)...)
		case 4:
			lines = strings.SplitAfter(original, "\n")
		}
		if len(lines) == 0 {
			lines = []string{"\n"}
		}
		text := strings.Join(lines, "")
		got := loadText(text, warm)
		whole := loadText(text, &Cache{whole: true})
		if got != whole {
			t.Fatalf("%s\nin parts:\n%s\nas a whole:\n%s", text, got, whole)
		}
	}
}
