// Command gen writes what follows from the Go types: each policy's and target's
// schema.json and the generated parts of its README, docs/problems.md,
// docs/policies.md and the tables of docs/configuration.md. With -check it writes
// nothing and fails if something is stale.
//
//	go run ./tools/gen [-check]
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/examples/newpolicy/fairshare"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/targets"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if something is stale")
	root := flag.String("root", ".", "the root of the repository")
	flag.Parse()
	g := &generator{root: *root, check: *check}
	if err := g.run(policies.All(), targets.All()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, path := range g.changed {
		fmt.Println(path)
	}
	if *check && len(g.changed) > 0 {
		fmt.Fprintln(os.Stderr, "these files are stale: run `go run ./tools/gen`")
		os.Exit(1)
	}
}

// generator writes files below root.
type generator struct {
	root    string
	check   bool
	changed []string
}

// member is a policy or a target with its folder.
type member struct {
	folder string
	page   *policytest.Page
}

func members(kinds []policy.Kind, targets []target.Kind) []member {
	var all []member
	add := func(family string, page *policytest.Page) {
		all = append(all, member{family + "/" + folderOf(page.Name), page})
	}
	for i := range kinds {
		add("policies", policytest.PageOf(&kinds[i]))
	}
	for i := range targets {
		t := &targets[i]
		add("targets", &policytest.Page{Name: t.Name, Settings: t.NewSettings(), Problems: t.Problems()})
	}
	return all
}

func folderOf(name string) string { return strings.ReplaceAll(name, "_", "") }

func (g *generator) run(kinds []policy.Kind, targets []target.Kind) error {
	var errs []error
	all := members(kinds, targets)
	tutorial := member{"examples/newpolicy/fairshare", policytest.PageOf(&fairshare.Kind)}
	for _, m := range append(all[:len(all):len(all)], tutorial) {
		errs = append(errs, g.edit(filepath.Join(m.folder, "schema.json"), m.page.Schema))
		errs = append(errs, g.edit(filepath.Join(m.folder, "README.md"), m.page.Readme))
	}
	errs = append(errs, g.write("docs/problems.md", problemsPage(all)))
	errs = append(errs, g.edit("docs/configuration.md", configurationPage))
	page, err := g.policiesPage(kinds)
	if err == nil {
		err = g.write("docs/policies.md", page)
	}
	return errors.Join(append(errs, err)...)
}

// edit writes a file anew from what it was.
func (g *generator) edit(path string, change func([]byte) ([]byte, error)) error {
	have, err := os.ReadFile(filepath.Join(g.root, path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	want, err := change(have)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return g.write(path, want)
}

func (g *generator) write(path string, want []byte) error {
	full := filepath.Join(g.root, path)
	have, err := os.ReadFile(full)
	if err == nil && bytes.Equal(have, want) {
		return nil
	}
	g.changed = append(g.changed, path)
	if g.check {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return os.WriteFile(full, want, 0o644)
}

// problemRow is one line of docs/problems.md.
type problemRow struct {
	*message.Problem
	where string
}

func problemsPage(all []member) []byte {
	var rows []problemRow
	for _, p := range message.Problems() {
		rows = append(rows, problemRow{p, "the gateway"})
	}
	for _, m := range all {
		link := "[`" + m.page.Name + "`](../" + m.folder + "/README.md)"
		for _, p := range m.page.Problems {
			at := slices.IndexFunc(rows, func(r problemRow) bool { return r.Code == p.Code })
			if at < 0 {
				rows = append(rows, problemRow{p, link})
				continue
			}
			rows[at].where += ", " + link
		}
	}
	slices.SortFunc(rows, func(a, b problemRow) int { return cmp.Compare(a.Code, b.Code) })
	var b bytes.Buffer
	b.WriteString(`# Problems

Every answer that the gateway makes up itself because something went wrong is a problem document (RFC 9457) with a
` + "`code`" + ` from this table; a [call of gRPC](grpc.md#refusals) gets the same code in a status of gRPC. Codes are stable:
programs may rely on them. The status 499 is never sent; it stands in logs and metrics where the client did not get an
answer.

"Fault of" says who has to change something; "Try again" whether the same request may succeed later.

| Code | Status | Meaning | Fault of | Try again | Comes from |
|---|---|---|---|---|---|
`)
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s | %s |\n", r.Code, r.Status, r.Title, r.Source, r.Retry, r.where)
	}
	return b.Bytes()
}

// configurationPage puts the table of each section between its markers.
func configurationPage(page []byte) ([]byte, error) {
	for _, s := range config.Sections() {
		begin, end := "<!-- settings of "+s.Key+" -->\n", "<!-- /settings of "+s.Key+" -->\n"
		before, rest, found := bytes.Cut(page, []byte(begin))
		_, after, closed := bytes.Cut(rest, []byte(end))
		if !found || !closed {
			return nil, fmt.Errorf("the markers %s and %s are missing", strings.TrimSpace(begin), strings.TrimSpace(end))
		}
		page = slices.Concat(before, []byte(begin+s.Table+end), after)
	}
	return page, nil
}

func (g *generator) policiesPage(kinds []policy.Kind) ([]byte, error) {
	sorted := slices.Clone(kinds)
	slices.SortStableFunc(sorted, func(a, b policy.Kind) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Name, b.Name))
	})
	var b bytes.Buffer
	b.WriteString(`# Policies

The policies of a route run in the order of their stages, and within a stage in the order in which they are written.
"On fault" is what happens when a policy cannot decide, unless ` + "`on_fault`" + ` beside it says otherwise.

| Policy | Stage | On fault | What it does |
|---|---|---|---|
`)
	for _, k := range sorted {
		folder := folderOf(k.Name)
		about, err := g.about(folder)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "| [`%s`](../policies/%s/README.md) | %s | %s | %s |\n", k.Name, folder, k.Stage, k.Stage.DefaultOnFault(), about)
	}
	return b.Bytes(), nil
}

// about is the first sentence of a policy's package comment without "Package x".
func (g *generator) about(folder string) (string, error) {
	path := filepath.Join(g.root, "policies", folder, folder+".go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		return "", err
	}
	sentence, ok := strings.CutPrefix(new(doc.Package).Synopsis(file.Doc.Text()), "Package "+folder+" ")
	if !ok || sentence == "" {
		return "", fmt.Errorf("%s: the package comment does not begin with \"Package %s\" and a sentence", path, folder)
	}
	return strings.ToUpper(sentence[:1]) + sentence[1:], nil
}
