package policytest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// Page is what the Go types say of a policy or a target: the generated parts of its
// folder. tools/gen writes them, the contract compares them.
type Page struct {
	Name       string
	Settings   any // a pointer to an empty value
	Credential any // the same, or nil
	Problems   []*message.Problem
}

// PageOf is the page of a kind of policy.
func PageOf(kind *policy.Kind) *Page {
	return &Page{kind.Name, kind.NewSettings(), kind.NewCredential(), kind.Problems()}
}

// Schema is schema.json; what there was before does not matter.
func (p *Page) Schema([]byte) ([]byte, error) { return config.SchemaOf(p.Settings), nil }

// Readme is a README with its parts between <!-- settings --> and <!-- /settings -->, and
// between <!-- problems --> and <!-- /problems -->, written anew.
func (p *Page) Readme(have []byte) ([]byte, error) {
	settings := config.SettingsTable(p.Settings)
	if p.Credential != nil {
		settings += fmt.Sprintf("\nA credential of a consumer, `%s`:\n\n%s", p.Name, config.SettingsTable(p.Credential))
	}
	text, err := Between(have, "settings", settings)
	if err != nil {
		return nil, err
	}
	return Between(text, "problems", ProblemTable(p.Problems))
}

// Between replaces what stands between two markers.
func Between(text []byte, marker, with string) ([]byte, error) {
	begin, end := []byte("<!-- "+marker+" -->\n"), []byte("<!-- /"+marker+" -->")
	before, rest, ok := bytes.Cut(text, begin)
	_, after, closed := bytes.Cut(rest, end)
	if !ok || !closed {
		return nil, fmt.Errorf("the lines %q and %q are missing", strings.TrimSpace(string(begin)), end)
	}
	return bytes.Join([][]byte{before, begin, []byte(with), end, after}, nil), nil
}

// ProblemTable is a table of problems in Markdown.
func ProblemTable(problems []*message.Problem) string {
	if len(problems) == 0 {
		return "None of its own.\n"
	}
	var b strings.Builder
	b.WriteString("| Code | Status | Meaning | Fault of | Try again |\n|---|---|---|---|---|\n")
	for _, p := range problems {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s |\n", p.Code, p.Status, p.Title, p.Source, again(p.Retry))
	}
	return b.String()
}

func again(r message.Retry) string {
	switch r {
	case message.RetryYes:
		return "yes"
	case message.RetryNewConnection:
		return "on a new connection"
	}
	return "no"
}
