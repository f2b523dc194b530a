package observe

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables in docs/observability.md anew")

const page = "../docs/observability.md"

// TestDocs keeps the tables of the page as the code is.
func TestDocs(t *testing.T) {
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	for _, part := range []struct{ name, table string }{
		{"metrics", metricsTable()},
		{"fields", fieldsTable()},
		{"parameters", parametersList()},
	} {
		begin := "<!-- " + part.name + ": written by go test ./observe -update -->\n"
		before, rest, ok := strings.Cut(text, begin)
		if !ok {
			t.Fatalf("%s has no line %q", page, begin)
		}
		_, after, ok := strings.Cut(rest, "<!-- end -->\n")
		if !ok {
			t.Fatalf("%s: nothing ends the part %s", page, part.name)
		}
		text = before + begin + part.table + "<!-- end -->\n" + after
	}
	if text == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run go test ./observe -update", page)
	}
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func metricsTable() string {
	var out strings.Builder
	out.WriteString("| Metric | Type | Labels | Label sets | Meaning |\n|---|---|---|---|---|\n")
	for _, m := range Catalogue() {
		labels, limit := "", "1"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
			limit = fmt.Sprint(m.Limit)
			if m.Limit == 0 {
				limit = fmt.Sprint(DefaultLimit)
			}
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Kind, labels, limit, m.Help)
	}
	return out.String()
}

func fieldsTable() string {
	var out strings.Builder
	out.WriteString("| Field | Type | Always | Meaning |\n|---|---|---|---|\n")
	for _, f := range LogFields() {
		always := ""
		if f.Always {
			always = "yes"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, always, f.Help)
	}
	return out.String()
}

// parametersList wraps the names at the width of the page.
func parametersList() string {
	var out strings.Builder
	width := 0
	names := CredentialParameters()
	for i, name := range names {
		word := "`" + name + "`"
		if i < len(names)-1 {
			word += ","
		}
		switch {
		case i == 0:
		case width+1+len(word) > 120:
			out.WriteByte('\n')
			width = 0
		default:
			out.WriteByte(' ')
			width++
		}
		out.WriteString(word)
		width += len(word)
	}
	out.WriteByte('\n')
	return out.String()
}

// TestHelpTexts: each is a sentence and fits into a table.
func TestHelpTexts(t *testing.T) {
	t.Parallel()
	for _, m := range Catalogue() {
		if !strings.HasSuffix(m.Help, ".") || strings.Contains(m.Help, "|") {
			t.Errorf("%s: the help text %q is no sentence or breaks the table", m.Name, m.Help)
		}
	}
	for _, f := range LogFields() {
		if !strings.HasSuffix(f.Help, ".") || strings.Contains(f.Help, "|") {
			t.Errorf("%s: the help text %q is no sentence or breaks the table", f.Name, f.Help)
		}
	}
}
