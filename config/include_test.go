package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func names(d *Document) string {
	var all []string
	for _, item := range d.Routes {
		all = append(all, item.Value.Name.Value)
	}
	return strings.Join(all, " ")
}

func TestIncludesJoinLists(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := write(t, folder,
		"main.yaml", "version: 1\nlisteners: [{ name: web, address: \":1\" }]\ninclude: [more/*.yaml, extra.yaml, more/a.yaml]\nroutes:\n  - name: first\n    upstream: x\n",
		"more/b.yaml", "version: 1\nroutes:\n  - name: b\n    upstream: \"${file:secret}\"\n",
		"more/a.yaml", "routes: [{ name: a, upstream: x }]\ninclude: ../deep.yaml\n",
		"more/secret", "from more\n",
		"secret", "from the top\n",
		"extra.yaml", "admin: { address: \":2\" }\nroutes:\n  - name: extra\n    upstream: \"${file:secret}\"\n",
		"deep.yaml", "# nothing\n")
	doc, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(doc); got != "first a b extra" {
		t.Errorf("got %s", got)
	}
	for i, want := range map[int]string{2: "from more", 3: "from the top"} {
		item := doc.Routes[i]
		var got string
		if err := item.Node(item.Value.Targets[0].Settings).Decode(&got); err != nil || got != want {
			t.Errorf("route %d: got %q, %v, want %q", i, got, err, want)
		}
	}
	var files []string
	for _, file := range doc.Files {
		relative, err := filepath.Rel(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, relative)
	}
	if got := strings.Join(files, " "); got != "deep.yaml extra.yaml main.yaml more/a.yaml more/b.yaml more/secret secret" {
		t.Errorf("got %s", got)
	}
	if item := doc.Routes[2]; item.Position(item.Value.Name.Mark).String() != filepath.Join(folder, "more/b.yaml")+":3:11" {
		t.Errorf("got %s", item.Position(item.Value.Name.Mark))
	}
}

func TestIncludesThatAreWrong(t *testing.T) {
	t.Parallel()
	const main = "listeners: [{ name: web, address: \":1\" }]\n"
	for _, c := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"a name in two files", []string{"main.yaml", main + "include: b.yaml\nroutes:\n  - name: a\n    upstream: x\n", "b.yaml", "routes:\n  - name: a\n    upstream: x\n"},
			[]string{"b.yaml:2:11: the name \"a\" is given twice (", "main.yaml:4:11)"}},
		{"a key in two files", []string{"main.yaml", main + "admin: { address: \":2\" }\ninclude: b.yaml\n", "b.yaml", "admin: { address: \":3\" }\n"},
			[]string{"b.yaml:1:1: \"admin\" is given in two files (", "main.yaml:2:1)"}},
		{"a circle", []string{"main.yaml", main + "include: b.yaml\n", "b.yaml", "include: c.yaml\n", "c.yaml", "version: 1\ninclude: [b.yaml]\n"},
			[]string{"c.yaml:2:11: includes go in a circle"}},
		{"a fault in an included file", []string{"main.yaml", main + "include: b.yaml\nroutes:\n  - match: { path: x }\n    upstream: x\n", "b.yaml", "routes:\n  - match: { pth: /x }\n    upstream: x\n"},
			[]string{"b.yaml:2:14: unknown key \"pth\"", "main.yaml:4:20: a path begins"}},
		{"a folder", []string{"main.yaml", main + "include: b\n", "b/c.yaml", ""}, []string{"main.yaml:2:10: ", "this is a directory, not a file"}},
		{"a number", []string{"main.yaml", main + "include: 5\n"}, []string{"main.yaml:2:10: this must be a text"}},
	} {
		path := write(t, t.TempDir(), c.files...)
		_, err := Load(path, nil)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", c.name, err, want)
			}
		}
	}
}

func TestIncludesAreNestedOnlySoDeep(t *testing.T) {
	t.Parallel()
	files := []string{"0.yaml", "include: 1.yaml\n"}
	for i := 1; i < 20; i++ {
		files = append(files, fmt.Sprintf("%d.yaml", i), fmt.Sprintf("include: %d.yaml\n", i+1))
	}
	_, err := Load(write(t, t.TempDir(), files...), nil)
	if err == nil || !strings.Contains(err.Error(), "15.yaml:1:10: includes are nested too deeply") {
		t.Errorf("got %v", err)
	}
}

func TestReferencesMakeEntriesStale(t *testing.T) {
	t.Parallel()
	values := map[string]string{"A": "x", "B": "y"}
	cache := &Cache{Env: func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}}
	const text = "listeners: [{ name: web, address: \":1\" }]\nroutes:\n  - name: a\n    upstream: ${env:A}\n  - name: b\n    upstream: ${env:B}\n  - name: c\n    upstream: z\n"
	path := write(t, t.TempDir(), "main.yaml", text)
	load := func() *Document {
		t.Helper()
		doc, err := Load(path, cache)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	first := load()
	values["B"] = "yy"
	second := load()
	for i, same := range []bool{true, false, true} {
		if got := first.Routes[i].Value == second.Routes[i].Value; got != same {
			t.Errorf("route %d is the same: %v", i, got)
		}
	}
	var upstream string
	item := second.Routes[1]
	if err := item.Node(item.Value.Targets[0].Settings).Decode(&upstream); err != nil || upstream != "yy" {
		t.Errorf("got %q, %v", upstream, err)
	}
	if first.Hash != second.Hash {
		t.Error("what references stand for is part of the hash")
	}
	delete(values, "A")
	if _, err := Load(path, cache); err == nil || !strings.Contains(err.Error(), `main.yaml:4:15: the environment has no variable "A"`) {
		t.Errorf("got %v", err)
	}
	values["A"] = "x"
	load()
}

func TestPaceIsCalledOften(t *testing.T) {
	t.Parallel()
	paces := 0
	cache := &Cache{Pace: func() { paces++ }}
	path := write(t, t.TempDir(), "main.yaml", manyRoutes(1000))
	for range 2 {
		paces = 0
		if _, err := Load(path, cache); err != nil {
			t.Fatal(err)
		}
		if paces < 1000/paceEvery {
			t.Errorf("it was called %d times", paces)
		}
	}
}

// TestFaultInALargeFile reads to the fault only, and keeps what was read before.
func TestFaultInALargeFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := manyRoutes(300)
	path := write(t, folder, "main.yaml", text)
	cache := &Cache{}
	first, err := Load(path, cache)
	if err != nil {
		t.Fatal(err)
	}
	write(t, folder, "main.yaml", strings.Replace(text, "name: route-200\n    match", "name: route-200\n   match", 1))
	if _, err = Load(path, cache); err == nil || !strings.Contains(err.Error(), "main.yaml:1610:4: this is not YAML") {
		t.Errorf("got %v", err)
	}
	write(t, folder, "main.yaml", text)
	again, err := Load(path, cache)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first.Routes {
		if first.Routes[i].Value != again.Routes[i].Value {
			t.Errorf("route %d was decoded again", i)
		}
	}
}
