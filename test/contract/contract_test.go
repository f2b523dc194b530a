// Package contract holds what must be true over the whole lists of policies and
// targets, and over every example in the documentation. What one policy promises
// by itself is in policy/policytest.
package contract

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

const root = "../.."

// kind is what policies and targets have in common.
type kind struct {
	family   string // "policies", "targets"
	name     string
	files    fs.FS
	settings any
	problems []*message.Problem
}

func kinds(t *testing.T) []kind {
	t.Helper()
	var all []kind
	for _, k := range policies.All() {
		all = append(all, kind{"policies", k.Name, k.Files, k.NewSettings(), k.Problems()})
	}
	for _, k := range targets.All() {
		all = append(all, kind{"targets", k.Name, k.Files, k.NewSettings(), k.Problems()})
	}
	if len(all) < 5 {
		t.Fatalf("only %d policies and targets are listed", len(all))
	}
	return all
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range kinds(t) {
		if !snake.MatchString(k.name) {
			t.Errorf("%s: %q is not lower_snake_case", k.family, k.name)
		}
		if seen[k.family+k.name] {
			t.Errorf("%s: %q is given twice", k.family, k.name)
		}
		seen[k.family+k.name] = true
		folder := filepath.Join(root, k.family, strings.ReplaceAll(k.name, "_", ""))
		if _, err := os.Stat(folder); err != nil {
			t.Errorf("%s: %q does not live in %s", k.family, k.name, folder)
		}
	}
}

// Policies are listed in the order of their stages: so they are documented, and so
// they run.
func TestPoliciesAreListedByStage(t *testing.T) {
	t.Parallel()
	all := policies.All()
	for i := 1; i < len(all); i++ {
		if all[i].Stage < all[i-1].Stage {
			t.Errorf("%s (%s) is listed behind %s (%s)", all[i].Name, all[i].Stage, all[i-1].Name, all[i-1].Stage)
		}
	}
}

func TestReadmes(t *testing.T) {
	t.Parallel()
	for _, k := range kinds(t) {
		text, err := fs.ReadFile(k.files, "README.md")
		if err != nil {
			t.Errorf("%s/%s: %v", k.family, k.name, err)
			continue
		}
		if !bytes.HasPrefix(text, []byte("# "+k.name+"\n")) {
			t.Errorf("%s/%s: README.md does not begin with # %s", k.family, k.name, k.name)
		}
		sections := []string{"Name", "When to use it", "Examples", "Settings", "Problems", "Limits"}
		if k.family == "policies" {
			sections = append(sections, "Metrics")
		}
		for _, section := range sections {
			if !bytes.Contains(text, []byte("\n## "+section+"\n")) {
				t.Errorf("%s/%s: README.md has no section %s", k.family, k.name, section)
			}
		}
		if !bytes.Contains(text, []byte("```yaml\n")) {
			t.Errorf("%s/%s: README.md has no example", k.family, k.name)
		}
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, k := range kinds(t) {
		have, err := fs.ReadFile(k.files, "schema.json")
		if err != nil {
			t.Errorf("%s/%s: %v", k.family, k.name, err)
			continue
		}
		if !json.Valid(have) {
			t.Errorf("%s/%s: schema.json is no JSON", k.family, k.name)
		}
		if !bytes.Equal(bytes.TrimSpace(have), bytes.TrimSpace(config.SchemaOf(k.settings))) {
			t.Errorf("%s/%s: schema.json is not what the Go types say: run make gen", k.family, k.name)
		}
	}
}

// owner is a problem and who declares it.
type owner struct {
	who string
	p   *message.Problem
}

func problems(t *testing.T) []owner {
	t.Helper()
	var all []owner
	for _, p := range message.Problems() {
		all = append(all, owner{"message", p})
	}
	for _, k := range kinds(t) {
		for _, p := range k.problems {
			all = append(all, owner{k.family + "/" + k.name, p})
		}
	}
	return all
}

// A code is public API: it means one thing.
func TestCodesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]owner{}
	for _, o := range problems(t) {
		if before, ok := seen[o.p.Code]; ok && before.p != o.p {
			t.Errorf("%s and %s both declare %s", before.who, o.who, o.p.Code)
		}
		seen[o.p.Code] = o
	}
}

func TestProblemsAreWellFormed(t *testing.T) {
	t.Parallel()
	for _, o := range problems(t) {
		if !snake.MatchString(o.p.Code) {
			t.Errorf("%s: the code %q is not lower_snake_case", o.who, o.p.Code)
		}
		if o.p.Status < 400 || o.p.Status > 599 {
			t.Errorf("%s: %s has the status %d", o.who, o.p.Code, o.p.Status)
		}
		if o.p.Title == "" || o.p.Title[0] < 'A' || o.p.Title[0] > 'Z' || strings.HasSuffix(o.p.Title, ".") {
			t.Errorf("%s: %s has the title %q: a capital letter and no full stop", o.who, o.p.Code, o.p.Title)
		}
	}
}

func TestProblemsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs/problems.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range problems(t) {
		if !bytes.Contains(page, []byte("`"+o.p.Code+"`")) {
			t.Errorf("docs/problems.md does not list %s of %s", o.p.Code, o.who)
		}
	}
}

// message.Problems is a list by hand: what is declared and not in it is not
// documented.
func TestMessageListsAllItsProblems(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join(root, "message/problems.go"))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range message.Problems() {
		codes = append(codes, p.Code)
	}
	for _, m := range regexp.MustCompile(`Code: "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		if !slices.Contains(codes, m[1]) {
			t.Errorf("message.Problems() does not list %s", m[1])
		}
	}
}
