package targets

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/internal/keep"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/target"
)

// sections are what the README of a target has, in this order.
var sections = []string{"Name", "When to use it", "Examples", "Settings", "Problems", "Metrics", "Limits"}

// TestContract holds every target to what all of them promise.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, kind := range All() {
		folder := strings.ReplaceAll(kind.Name, "_", "")
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			checkSections(t, string(readme), kind.Name)
			checkFiles(t, folder, &kind)
			checkUnknown(t, &kind)
			checkExamples(t, folder, string(readme), &kind)
		})
	}
}

func checkSections(t *testing.T, readme, name string) {
	t.Helper()
	var have []string
	for line := range strings.Lines(readme) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			have = append(have, strings.TrimSpace(title))
		}
	}
	if !slices.Equal(have, sections) {
		t.Errorf("README.md has the sections %q, want %q", have, sections)
	}
	if !strings.HasPrefix(readme, "# "+name+"\n") || !strings.Contains(readme, "## Name\n\n`"+name+"` ") {
		t.Errorf("README.md does not begin with the name %s and a sentence about it", name)
	}
}

// checkFiles compares what is embedded with what stands there, and that with the
// Go types.
func checkFiles(t *testing.T, folder string, kind *target.Kind) {
	t.Helper()
	page := policytest.Page{Name: kind.Name, Settings: kind.NewSettings(), Problems: kind.Problems()}
	for name, generate := range map[string]func([]byte) ([]byte, error){"schema.json": page.Schema, "README.md": page.Readme} {
		there, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if inside, err := kind.Files.ReadFile(name); err != nil || !bytes.Equal(inside, there) {
			t.Errorf("%s is not embedded: //go:embed README.md schema.json (%v)", name, err)
		}
		if want, err := generate(there); err != nil || !bytes.Equal(want, there) {
			t.Errorf("%s is not what the Go types say: generate it anew (%v)", name, err)
		}
	}
}

func checkUnknown(t *testing.T, kind *target.Kind) {
	t.Helper()
	node, err := config.ParseNode("config.yaml", []byte("no_such_setting: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kind.Build(node, env()); err == nil || !strings.Contains(err.Error(), "config.yaml:1:1") {
		t.Errorf("a setting that does not exist: %v", err)
	}
}

// written is the part of a configuration that the examples have.
type written struct {
	Admin     *config.Admin     `yaml:"admin"`
	Listeners []config.Listener `yaml:"listeners"`
	Upstreams []config.Upstream `yaml:"upstreams"`
	Routes    []config.Route    `yaml:"routes"`
}

// checkExamples builds every route of the examples and asks it once.
func checkExamples(t *testing.T, folder, readme string, kind *target.Kind) {
	t.Helper()
	used := 0
	blocks := strings.Split(readme, "```yaml\n")[1:]
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		node, err := config.ParseNode(folder+"/README.md", []byte(text))
		if err != nil {
			t.Error(err)
			continue
		}
		var w written
		if err := node.Decode(&w); err != nil {
			t.Error(err)
			continue
		}
		for _, route := range w.Routes {
			for i := range route.Targets {
				if route.Targets[i].Kind != kind.Name {
					t.Errorf("the example of %s uses %s", kind.Name, route.Targets[i].Kind)
					continue
				}
				used++
				ask(t, kind, &route.Targets[i].Settings)
			}
		}
	}
	if used == 0 {
		t.Error("README.md has no example")
	}
}

func ask(t *testing.T, kind *target.Kind, settings *config.Node) {
	t.Helper()
	for _, dry := range []bool{true, false} {
		e := env()
		e.Dry, e.Folder, e.Lease = dry, t.TempDir(), keep.New().Lease()
		h, err := kind.Build(settings, e)
		if err != nil {
			t.Error(err)
			return
		}
		x := &message.Exchange{}
		x.Request.Method, x.Request.Scheme, x.Request.Authority, x.Request.Path = "GET", "http", "api.example.com", "/a/b"
		if err := h.Serve(x); err != nil {
			t.Errorf("an example answers with %v", err)
		}
		if x.Response.Status < 200 {
			t.Errorf("an example answers with status %d", x.Response.Status)
		}
		if h.Close != nil {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := e.Lease.Close(); err != nil {
			t.Error(err)
		}
	}
}

// origin is an upstream of the examples.
type origin string

func (o origin) Name() string { return string(o) }

func (o origin) RoundTrip(_ *message.Exchange, _ *message.Request, resp *message.Response) error {
	resp.Status = 200
	return nil
}

func env() *target.Env {
	e := &target.Env{Route: "example", Logger: slog.New(slog.DiscardHandler), Upstream: func(name string) (target.RoundTripper, error) {
		if name == "" {
			return nil, errors.New("no name")
		}
		return origin(name), nil
	}}
	e.Build = func(nested *target.Nested) (target.Handler, error) {
		within := &nested.Kinds[0]
		for _, kind := range All() {
			if kind.Name == within.Name {
				return kind.Build(within.Value, e)
			}
		}
		return target.Handler{}, within.Key.(*config.Node).Locate(errors.New("no such target"))
	}
	return e
}

// A kind that stands within another target stands beside that one's settings: what has the
// name of one could never be meant.
func TestNoKindIsCalledLikeASettingBesideIt(t *testing.T) {
	t.Parallel()
	around := 0
	for _, kind := range All() {
		if !strings.Contains(config.SettingsTable(kind.NewSettings()), "| `KIND` |") {
			continue
		}
		around++
		var schema struct{ Properties map[string]any }
		if err := json.Unmarshal(config.SchemaOf(kind.NewSettings()), &schema); err != nil || len(schema.Properties) == 0 {
			t.Fatalf("%s: %v", kind.Name, err)
		}
		for _, inner := range All() {
			if schema.Properties[inner.Name] != nil {
				t.Errorf("%s has a setting that is called like the target %s", kind.Name, inner.Name)
			}
		}
	}
	if around < 2 {
		t.Errorf("%d kinds stand around others", around)
	}
}

func TestNamesAndCodesAreUnique(t *testing.T) {
	t.Parallel()
	names, codes := map[string]bool{}, map[string]bool{}
	for _, p := range message.Problems() {
		codes[p.Code] = true
	}
	for _, kind := range All() {
		if names[kind.Name] {
			t.Errorf("two targets are called %s", kind.Name)
		}
		names[kind.Name] = true
		for _, p := range kind.Problems() {
			if codes[p.Code] {
				t.Errorf("%s: the code %s is taken", kind.Name, p.Code)
			}
			codes[p.Code] = true
		}
	}
}
