package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
)

// loaded writes a configuration and loads it; what did not change is shared with the
// document before.
type loaded struct {
	path  string
	cache config.Cache
}

func (l *loaded) load(t testing.TB, text string) *config.Document {
	t.Helper()
	if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(l.path, &l.cache)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func routesText(n int, body func(i int) string) string {
	var b strings.Builder
	b.WriteString("listeners:\n  - { name: web, address: \":8080\" }\nroutes:\n")
	for i := range n {
		if text := body(i); text != "" {
			fmt.Fprintf(&b, "  - name: r%d\n    match: { path: /r%d }\n    respond: { body: %s }\n", i, i, text)
		}
	}
	return b.String()
}

func TestChangedNames(t *testing.T) {
	t.Parallel()
	const head = "listeners: [{ name: web, address: \":8080\" }]\n"
	for _, c := range []struct{ name, before, after, want string }{
		{"nothing", "routes: [{ name: a, respond: {} }]", "routes:\n  - name: a # the same\n    respond: {}", ""},
		{"a route", "routes: [{ name: a, respond: {} }]", "routes: [{ name: a, respond: { body: x } }, { name: b, match: { path: /b }, respond: {} }]", "route a changed, route b added"},
		{"a name", "routes: [{ name: a, respond: {} }]", "routes: [{ name: b, respond: {} }]", "route b added, route a removed"},
		{"upstreams", "upstreams: [{ name: x, endpoints: [\"http://a:1\"] }]", "upstreams: [{ name: x, endpoints: [\"http://b:1\"] }]", "upstream x changed"},
		{"top policies", "policies: [{ request_id: {} }, { cors: { origins: \"*\" } }]", "policies: [{ cors: { origins: \"*\" } }, { request_id: {} }]", "policies of all routes changed"},
		{"sections", "", "drain: { shutdown: 1s }\nadmin: { address: \":0\" }", "admin added, drain changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := &loaded{path: t.TempDir() + "/sluice.yaml"}
			before := l.load(t, head+c.before)
			after := l.load(t, head+c.after)
			if got := strings.Join(changedNames(before, after), ", "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestChangedNamesAreCapped(t *testing.T) {
	t.Parallel()
	l := &loaded{path: t.TempDir() + "/sluice.yaml"}
	before := l.load(t, routesText(1000, func(int) string { return "one" }))
	after := l.load(t, routesText(1000, func(int) string { return "two" }))
	got := changedNames(before, after)
	if len(got) != namesLimit+1 || got[0] != "route r0 changed" || got[namesLimit] != "and 980 more" {
		t.Errorf("got %q", got)
	}
}

// unshared is compared with a slow twin on random edits.
func TestUnsharedIsTheDifferenceOfSets(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]int, 300)
	for range 500 {
		before, after := make([]config.Item[int], 0, 300), make([]config.Item[int], 0, 300)
		for i := range values {
			if random.IntN(20) > 0 {
				before = append(before, config.Item[int]{Value: &values[i]})
			}
			if random.IntN(20) > 0 {
				after = append(after, config.Item[int]{Value: &values[i]})
			}
		}
		switch random.IntN(3) {
		case 0:
			random.Shuffle(len(after), func(i, j int) { after[i], after[j] = after[j], after[i] })
		case 1:
			after = slices.Concat(after[len(after)/2:], after[:len(after)/2])
		}
		gone, come := unshared(before, after)
		if want := missing(before, after); !slices.Equal(gone, want) {
			t.Fatalf("gone: got %v, want %v", gone, want)
		}
		if want := missing(after, before); !slices.Equal(come, want) {
			t.Fatalf("come: got %v, want %v", come, want)
		}
	}
}

// missing are the indexes of the entries that the other list does not have.
func missing(list, other []config.Item[int]) (at []int) {
	for i, item := range list {
		if !slices.ContainsFunc(other, func(o config.Item[int]) bool { return o.Value == item.Value }) {
			at = append(at, i)
		}
	}
	return at
}

func BenchmarkChangedNames(b *testing.B) {
	l := &loaded{path: b.TempDir() + "/sluice.yaml"}
	before := l.load(b, routesText(100_000, func(int) string { return "one" }))
	after := l.load(b, routesText(100_000, func(i int) string {
		if i == 50_000 {
			return "two"
		}
		return "one"
	}))
	for b.Loop() {
		if got := changedNames(before, after); len(got) != 1 {
			b.Fatalf("got %q", got)
		}
	}
}
