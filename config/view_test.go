package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-gateway/sluice/unit"
)

type viewed struct {
	After  unit.Duration     `default:"1m"`
	Words  unit.List[string] `default:"[a]"`
	Fields unit.Map[string]
	Key    unit.Secret
	Inner  struct {
		Size unit.Size `default:"1KiB"`
	}
}

// words are the leaves of a view on one line each.
func words(v View, path string) (all []string) {
	if fields, ok := v.Fields(); ok {
		for _, f := range fields {
			all = append(all, words(f.Value, path+"."+f.Name)...)
		}
		return all
	}
	if items, ok := v.Items(); ok {
		for _, item := range items {
			all = append(all, words(item, path+"[]")...)
		}
		return all
	}
	_, shown := v.Word()
	return append(all, path+"="+shown)
}

func TestViewIsTheSameForWhatMeansTheSame(t *testing.T) {
	t.Parallel()
	view := func(text string, into any) []string {
		n, err := ParseNode("view.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return words(NewViewer(nil).View(n, into), "")
	}
	for _, c := range []struct {
		a, b  string
		typed bool
		same  bool
	}{
		{"{}", "{after: 60s, words: a, inner: {}}", true, true},
		{"{inner: {size: 1024B}}", "{words: [a]}", true, true},
		{"{fields: {a: x, b: y}}", "{fields: {b: y, a: x}}", true, true},
		{"{after: 1m}", "{after: 61s}", true, false},
		{"{words: [a, b]}", "{words: [b, a]}", true, false},
		{"{a: 1, b: [2]}", "{b: [2], a: 1}", false, true},
		{"{a: 1}", "{a: '1'}", false, false},
		{"[a]", "a", false, false},
	} {
		var into any
		if c.typed {
			into = &viewed{}
		}
		a, b := view(c.a, into), view(c.b, into)
		if same := equalLines(a, b); same != c.same {
			t.Errorf("%s and %s: the same: %t\n%v\n%v", c.a, c.b, same, a, b)
		}
	}
}

func equalLines(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestViewShowsNoSecret(t *testing.T) {
	t.Setenv("VIEW_TEST", "hunter2")
	n, err := ParseNode("view.yaml", []byte("{key: hunter2, words: '${env:VIEW_TEST}'}"))
	if err != nil {
		t.Fatal(err)
	}
	got := words(NewViewer(nil).View(n, &viewed{}), "")
	want := []string{".after=1m", ".words[]=${env:VIEW_TEST}", ".key=***", ".inner.size=1KiB"}
	if !equalLines(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatIsSoundStandsBesideTheProblems(t *testing.T) {
	t.Parallel()
	const head = "listeners: [{ name: web, address: \":80\" }]\nroutes:\n  - { name: a, respond: {} }\n"
	for _, c := range []struct {
		text   string
		routes int
	}{
		{head + "  - { name: b, [ }\n", 0}, // not YAML as a whole
		{head + "  - { name: b, match: { path: b }, respond: {} }\n", 1},
		{head + "  - { name: b, match: { path: b }, respond: {} }\nnonsense: {}\n", 0},
		{"listeners: [{ name: web }]\n" + head[45:] + "  - { name: b, match: 7, respond: {} }\n", 0},
	} {
		path := filepath.Join(t.TempDir(), "sluice.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		doc, err := Load(path, nil)
		if !errors.As(err, new(Problems)) || doc == nil || len(doc.Routes) != c.routes {
			t.Errorf("got %v, %+v for\n%s", err, doc, c.text)
		}
	}
}
