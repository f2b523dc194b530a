package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// Run holds a kind to the contract of all policies. It is called by the test of
// the policy's folder, and reads README.md, schema.json and testdata/*.txtar there.
func Run(t *testing.T, kind policy.Kind) {
	t.Helper()
	RunIn(t, ".", kind, kind)
}

// RunIn is Run for a policy in another folder, where the kinds may appear in its
// examples and scenarios.
func RunIn(t *testing.T, folder string, kind policy.Kind, kinds ...policy.Kind) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(readme)
	t.Run("sections", func(t *testing.T) {
		if err := checkSections(text, kind.Name); err != nil {
			t.Error(err)
		}
	})
	t.Run("embedded", func(t *testing.T) { checkEmbedded(t, folder, kind) })
	t.Run("generated", func(t *testing.T) { checkGenerated(t, kind) })
	t.Run("unknown setting", func(t *testing.T) { checkUnknownSetting(t, kind) })
	list := examples(text)
	t.Run("examples", func(t *testing.T) { playExamples(t, list, kinds) })
	t.Run("scenarios", func(t *testing.T) { Play(t, filepath.Join(folder, "testdata", "*.txtar"), kinds...) })
	t.Run("close", func(t *testing.T) { checkClose(t, list, kinds) })
	t.Run("odd requests", func(t *testing.T) { checkOdd(t, text, list, kind, kinds) })
}

// checkEmbedded compares what the binary carries with what stands in the folder.
func checkEmbedded(t *testing.T, folder string, kind policy.Kind) {
	for _, name := range []string{"README.md", "schema.json"} {
		there, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Error(err)
			continue
		}
		inside, err := kind.Files.ReadFile(name)
		if err != nil || !bytes.Equal(there, inside) {
			t.Errorf("%s is not embedded: //go:embed README.md schema.json (%v)", name, err)
		}
	}
}

// checkGenerated compares schema.json and the generated parts of the README with what
// the Go types say.
func checkGenerated(t *testing.T, kind policy.Kind) {
	page := PageOf(&kind)
	for name, generate := range map[string]func([]byte) ([]byte, error){"schema.json": page.Schema, "README.md": page.Readme} {
		have, err := kind.Files.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := generate(have)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(have, want) {
			t.Errorf("%s is not what the Go types say: run `go run ./tools/gen`", name)
		}
	}
}

func checkUnknownSetting(t *testing.T, kind policy.Kind) {
	g, err := Build("policies:\n  - "+kind.Name+": { no_such_setting: 1 }\n", kind)
	if err == nil {
		_ = g.Close()
		t.Fatal("a setting that does not exist was accepted")
	}
	if !strings.Contains(err.Error(), "config.yaml:2:") {
		t.Errorf("the error does not say where: %v", err)
	}
}

func playExamples(t *testing.T, list []example, kinds []policy.Kind) {
	if len(list) == 0 {
		t.Error("README.md has no example")
	}
	for _, e := range list {
		where := fmt.Sprintf("README.md:%d", e.line)
		if e.calls != "" {
			report(t, where, playCalls(map[string]string{"config.yaml": e.config}, e.calls, e.callsLine, kinds))
			continue
		}
		g, err := Build(e.config, kinds...)
		if err == nil {
			err = g.Close()
		}
		report(t, where, err)
	}
}

// checkClose builds every example twice, as a reload does, and dry, as a check does. The
// bubble ends only when no goroutine is left.
func checkClose(t *testing.T, list []example, kinds []policy.Kind) {
	for _, e := range list {
		for _, dry := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				g := Idle(kinds...)
				g.Dry = dry
				err := g.Reload("config.yaml", e.config)
				if err == nil {
					err = g.Reload("config.yaml", e.config)
				}
				if err == nil && !dry {
					g.Serve(g.Exchange("GET", "/"))
				}
				report(t, fmt.Sprintf("README.md:%d (dry: %v)", e.line, dry), errors.Join(err, g.Close()))
				if n := g.Keeper.Len(); n != 0 {
					t.Errorf("README.md:%d (dry: %v): %d things are still kept after Close", e.line, dry, n)
				}
			})
		}
	}
}

// checkOdd sends every example what no good client sends.
func checkOdd(t *testing.T, readme string, list []example, kind policy.Kind, kinds []policy.Kind) {
	metrics := sectionOf(readme, "Metrics")
	for _, e := range list {
		g, err := Build(e.config, kinds...)
		if err != nil {
			continue // reported by the examples
		}
		answers := oddAnswers(g)
		for _, a := range answers {
			if a.err != nil {
				t.Errorf("README.md:%d: %s: %v", e.line, a.name, a.err)
			}
			if a.answer != nil && a.answer.Problem != nil && !declared(a.answer.Problem, kinds) {
				t.Errorf("README.md:%d: %s: the problem %s is not declared with policy.Problems", e.line, a.name, a.answer.Problem.Code)
			}
		}
		for _, name := range g.Metrics.Names() {
			if len(kinds) == 1 && !strings.Contains(metrics, "`"+name+"`") {
				t.Errorf("README.md: the section Metrics does not name `%s`", name)
			}
		}
		if err := g.Close(); err != nil {
			t.Errorf("README.md:%d: %v", e.line, err)
		}
	}
}

func declared(p *message.Problem, kinds []policy.Kind) bool {
	is := func(q *message.Problem) bool { return q.Code == p.Code }
	if slices.ContainsFunc(message.Problems(), is) {
		return true
	}
	return slices.ContainsFunc(kinds, func(k policy.Kind) bool { return slices.ContainsFunc(k.Problems(), is) })
}
