package contract

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

// documentKeys are the keys at the top of a document. A block of YAML with other
// keys is somebody else's: a deployment, a scrape configuration.
var documentKeys = []string{"version", "include", "admin", "listeners", "upstreams", "consumers", "policies", "routes", "telemetry", "drain"}

var (
	yamlBlock   = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")
	topKey      = regexp.MustCompile(`(?m)^([A-Za-z_]+):`)
	upstreamUse = regexp.MustCompile(`\bupstream: *([A-Za-z0-9][A-Za-z0-9._-]*)`)
)

// sample is one block of one page.
type sample struct {
	where string
	text  string
}

// samples collects every document and every part of one in the documentation.
func samples(t *testing.T) []sample {
	t.Helper()
	var all []sample
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != root && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata" || base == "bench" || base == "newpolicy") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".md") {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text := string(data)
		for _, at := range yamlBlock.FindAllStringSubmatchIndex(text, -1) {
			line := 1 + strings.Count(text[:at[0]], "\n")
			if block := text[at[2]:at[3]]; ours(block) {
				all = append(all, sample{filepath.ToSlash(name) + ":" + strconv.Itoa(line), block})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func ours(block string) bool {
	keys := topKey.FindAllStringSubmatch(block, -1)
	for _, m := range keys {
		if !slices.Contains(documentKeys, m[1]) {
			return false
		}
	}
	return len(keys) > 0
}

// complete puts what an excerpt leaves out behind it, so that its own lines keep
// their numbers: a listener, a route, the upstreams that it names.
func complete(text string) string {
	has := func(key string) bool {
		return slices.ContainsFunc(topKey.FindAllStringSubmatch(text, -1), func(m []string) bool { return m[1] == key })
	}
	text = strings.TrimRight(text, "\n") + "\n"
	if !has("listeners") {
		text += "listeners: [{ name: web, address: \":8080\" }]\n"
	}
	if !has("routes") && !has("include") {
		text += "routes: [{ name: all, match: { path: /** }, respond: { status: 204 } }]\n"
	}
	if has("upstreams") {
		return text
	}
	names := map[string]bool{}
	for _, m := range upstreamUse.FindAllStringSubmatch(text, -1) {
		names[m[1]] = true
	}
	if len(names) > 0 {
		text += "upstreams:\n"
	}
	for name := range names {
		text += "  - { name: " + name + ", endpoints: [\"http://127.0.0.1:8081\"] }\n"
	}
	return text
}

// check says what sluice check would say.
func check(path string) error {
	doc, err := config.Load(path, nil)
	if err != nil {
		return err
	}
	_, err = compile.Check(doc, policies.All(), targets.All())
	return err
}

// Docs run: every example in every page is a configuration that works.
func TestExamplesInPagesCompile(t *testing.T) {
	all := samples(t)
	if len(all) < 10 {
		t.Fatalf("only %d examples were found", len(all))
	}
	for _, name := range []string{"ORDERS_KEY", "DISCOVERY_TOKEN", "CONSUL_TOKEN", "STICKY_SECRET"} {
		t.Setenv(name, "a secret for examples")
	}
	for _, s := range all {
		t.Run(strings.TrimPrefix(s.where, root+"/"), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(complete(s.text)), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := check(path); err != nil {
				t.Errorf("%s: %v", s.where, err)
			}
		})
	}
}

// Whole documents under examples/ are started from as they are.
func TestExamplesAsFilesCompile(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(root, "examples", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	flat, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	paths = append(paths, flat...)
	if len(paths) == 0 {
		t.Fatal("examples/ has no document")
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), "listeners:") {
			continue // Included by another.
		}
		if err := check(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
