package compile

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		l := &ledger{}
		got := ""
		r, err := compileFile(t, newCompiler(l), path, nil)
		if err != nil {
			got = err.Error() + "\n"
		} else {
			got = dump(r)
			if err := r.Snapshot.Close(); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if l.opened.Load() != l.closed.Load() || l.built.Load() != l.ended.Load() {
			t.Errorf("%s: %d were opened and %d closed, %d built and %d ended", path, l.opened.Load(), l.closed.Load(), l.built.Load(), l.ended.Load())
		}
		golden := strings.TrimSuffix(path, ".in.yaml") + ".out.txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal([]byte(got), want) {
			t.Errorf("%s differs (go test -update rewrites it):\n%s", golden, got)
		}
	}
}

// edited is a file that tests change and compile again.
type edited struct {
	t        testing.TB
	path     string
	ledger   ledger
	compiler *Compiler
	cache    config.Cache
}

func newEdited(t testing.TB) *edited {
	t.Helper()
	e := &edited{t: t, path: filepath.Join(t.TempDir(), "sluice.yaml")}
	e.compiler = newCompiler(&e.ledger)
	return e
}

func (e *edited) compile(text string) (*Result, error) {
	e.t.Helper()
	if err := os.WriteFile(e.path, []byte(text), 0o644); err != nil {
		e.t.Fatal(err)
	}
	return compileFile(e.t, e.compiler, e.path, &e.cache)
}

func (e *edited) must(text string) *Result {
	e.t.Helper()
	r, err := e.compile(text)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

const before = `listeners:
  - { name: web, address: ":8080" }
upstreams:
  - name: a
    endpoints: [http://10.0.0.1]
  - name: b
    endpoints: [http://10.0.0.2]
policies:
  - edge: {}
routes:
  - name: one
    match: { path: /one }
    policies:
      - limit: { requests: 5 }
    upstream: a
  - name: two
    match: { path: /two }
    policies:
      - limit: { requests: 5 }
    upstream: b
  - name: three
    match: { path: /three }
    answer: {}
`

func routeNamed(t testing.TB, r *Result, name string) *engine.Route {
	t.Helper()
	for _, route := range r.Snapshot.Routes {
		if route.Name == name {
			return route
		}
	}
	t.Fatalf("there is no route %s", name)
	return nil
}

func TestWhatDidNotChangeIsReused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, old, new string
		same           string // routes that stay
		upstreams      string // that stay
		opened         int64  // things to keep, after both
	}{
		{"nothing", "x", "x", "one two three", "a b", 2},
		{"a comment", "routes:", "# a comment\nroutes:", "one two three", "a b", 2},
		{"a route", "path: /two", "path: /2", "one three", "a b", 2},
		{"settings of a policy", "/one }\n    policies:\n      - limit: { requests: 5 }", "/one }\n    policies:\n      - limit: { requests: 6 }", "two three", "a b", 2},
		{"an upstream", "10.0.0.2", "10.0.0.3", "one three", "a", 2},
		{"how an upstream is written", "endpoints: [http://10.0.0.2]", "endpoints: http://10.0.0.2:80/", "one two three", "a b", 2},
		{"a policy of all routes", "edge: {}", "change: {}", "", "a b", 2},
		{"a consumer", "routes:", "consumers: [{ name: c }]\nroutes:", "", "a b", 2},
		{"another place", "policies:\n  - edge: {}\n", "", "", "a b", 2},
	} {
		e := newEdited(t)
		old := e.must(before)
		now := e.must(strings.Replace(before, c.old, c.new, 1))
		for _, name := range []string{"one", "two", "three"} {
			same := routeNamed(t, old, name) == routeNamed(t, now, name)
			if want := strings.Contains(c.same, name); same != want {
				t.Errorf("%s: route %s is the same: %v", c.name, name, same)
			}
		}
		for i := range old.Upstreams {
			same := old.Upstreams[i] == now.Upstreams[i]
			if want := strings.Contains(c.upstreams, old.Upstreams[i].Name()); same != want {
				t.Errorf("%s: upstream %s is the same: %v", c.name, old.Upstreams[i].Name(), same)
			}
		}
		if now.Reused != len(strings.Fields(c.same)) || now.Reused+now.Built != 3 {
			t.Errorf("%s: %d are reused and %d built", c.name, now.Reused, now.Built)
		}
		if e.ledger.opened.Load() != c.opened || e.compiler.Kept() != 2 {
			t.Errorf("%s: %d were opened, %d are kept", c.name, e.ledger.opened.Load(), e.compiler.Kept())
		}
		e.end(old, now)
	}
}

// end closes results and looks whether anything stays.
func (e *edited) end(results ...*Result) {
	e.t.Helper()
	for _, r := range results {
		if err := r.Snapshot.Close(); err != nil {
			e.t.Error(err)
		}
	}
	l := &e.ledger
	if e.compiler.Kept() != 0 || l.opened.Load() != l.closed.Load() || l.built.Load() != l.ended.Load() {
		e.t.Errorf("%d are kept, %d were opened and %d closed, %d built and %d ended",
			e.compiler.Kept(), l.opened.Load(), l.closed.Load(), l.built.Load(), l.ended.Load())
	}
}

func TestWhatIsWrongTakesNoEffect(t *testing.T) {
	t.Parallel()
	for _, change := range [][2]string{
		{"limit: { requests: 5 }", "limit: { requests: 0 }"},
		{"upstream: b", "upstream: c"},
		{"edge: {}", "edge: {}\n  - limit: {}"},
		{"answer: {}", "answer: { status: 9 }\n  - name: four\n    policies: [{ limit: { requests: 1 } }]\n    upstream: a"},
	} {
		e := newEdited(t)
		old := e.must(before)
		built, ended := e.ledger.built.Load(), e.ledger.ended.Load()
		_, err := e.compile(strings.Replace(before, change[0], change[1], 1))
		var problems config.Problems
		if !errors.As(err, &problems) || problems[0].Line == 0 || problems[0].Quote == "" {
			t.Errorf("%s: got %v", change[1], err)
		}
		if nowBuilt, nowEnded := e.ledger.built.Load()-built, e.ledger.ended.Load()-ended; nowBuilt != nowEnded {
			t.Errorf("%s: %d were built and %d ended", change[1], nowBuilt, nowEnded)
		}
		// What was wrong is read again; the rest is what it was.
		now := e.must(before)
		if routeNamed(t, old, "one") != routeNamed(t, now, "one") && !strings.HasPrefix(change[0], "limit") || now.Built > 1 {
			t.Errorf("%s: %d routes were built again", change[1], now.Built)
		}
		e.end(old, now)
	}
}

func TestAbandon(t *testing.T) {
	t.Parallel()
	e := newEdited(t)
	first := e.must(before)
	second := e.must(strings.Replace(before, "/two", "/2", 1))
	if err := e.compiler.Abandon(second, first); err != nil {
		t.Fatal(err)
	}
	third := e.must(before)
	if third.Built > 1 || routeNamed(t, first, "one") != routeNamed(t, third, "one") {
		t.Errorf("%d routes were built again", third.Built)
	}
	e.end(first, third)
}

func TestCheckOpensNothing(t *testing.T) {
	t.Parallel()
	e := newEdited(t)
	if err := os.WriteFile(e.path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	doc, err := config.Load(e.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	policies, targets := e.ledger.kinds()
	r, err := Check(doc, policies, targets)
	if err != nil {
		t.Fatal(err)
	}
	if e.ledger.opened.Load() != 0 || e.ledger.wet.Load() != 0 || e.ledger.dry.Load() == 0 {
		t.Errorf("%d were opened, %d builds were not dry", e.ledger.opened.Load(), e.ledger.wet.Load())
	}
	want := dump(e.must(before))
	if got := dump(r); got != want {
		t.Errorf("the check says\n%s\nthe compiler\n%s", got, want)
	}
}

// TestEditsAreTheSameAsColdStarts changes a document at random: reusing must come to
// what a new compiler makes of it.
func TestEditsAreTheSameAsColdStarts(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	e := newEdited(t)
	var last *Result
	routes := []string{}
	addresses := []int{1, 2}
	top := []string{"edge"}
	for step := range 60 {
		switch at := random.IntN(len(routes) + 1); random.IntN(7) {
		case 0, 1:
			route := fmt.Sprintf("  - name: r%d\n    match: { path: /r%d }\n    policies: [{ limit: { requests: %d } }, { change: {} }]\n    upstream: u%d\n", step, step, 1+random.IntN(3), random.IntN(2))
			routes = append(routes[:at:at], append([]string{route}, routes[at:]...)...)
		case 2:
			if at < len(routes) {
				routes = append(routes[:at:at], routes[at+1:]...)
			}
		case 3:
			if at < len(routes) {
				moved := routes[at]
				routes = append(routes[:at:at], routes[at+1:]...)
				routes = append([]string{moved}, routes...)
			}
		case 4:
			addresses[random.IntN(2)] = 1 + random.IntN(5)
		case 5:
			top = [][]string{{"edge"}, {"change", "edge"}, {}}[random.IntN(3)]
		case 6:
			if _, err := e.compile("listeners: [{ name: web, address: \":1\" }]\nroutes:\n" + strings.Join(routes, "") + "  - nonsense: 1\n"); err == nil {
				t.Fatal("nonsense compiles")
			}
		}
		var b strings.Builder
		b.WriteString("listeners: [{ name: web, address: \":1\" }]\nupstreams:\n")
		for i, address := range addresses {
			fmt.Fprintf(&b, "  - name: u%d\n    endpoints: [http://10.0.0.%d]\n", i, address)
		}
		b.WriteString("policies: [")
		for _, name := range top {
			fmt.Fprintf(&b, "{ %s: {} }, ", name)
		}
		text := strings.Replace(b.String()+"]\nroutes:\n"+strings.Join(routes, ""), ", ]", "]", 1)
		if len(routes) == 0 {
			text = strings.TrimSuffix(text, "routes:\n")
		}
		now := e.must(text)
		cold := newEdited(t)
		want := cold.must(text)
		if dump(now) != dump(want) {
			t.Fatalf("step %d:\n%s\ncold:\n%s", step, dump(now), dump(want))
		}
		if e.compiler.Kept() < cold.compiler.Kept() {
			t.Fatalf("step %d: %d are kept, %d are needed", step, e.compiler.Kept(), cold.compiler.Kept())
		}
		cold.end(want)
		if last != nil {
			if err := last.Snapshot.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if e.compiler.Kept() != len(routes) {
			t.Fatalf("step %d: %d are kept for %d routes", step, e.compiler.Kept(), len(routes))
		}
		last = now
	}
	e.end(last)
}
