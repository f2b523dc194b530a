package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/unit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file under testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it): %s", path, firstDifference(got, want))
	}
}

func firstDifference(got, want []byte) string {
	have, need := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range have {
		if i >= len(need) || have[i] != need[i] {
			return fmt.Sprintf("line %d is\n%s", i+1, have[i])
		}
	}
	return "lines are missing at the end"
}

func TestSchemaOfEveryKindOfField(t *testing.T) {
	t.Parallel()
	s := SchemaOf(new(settings))
	if !json.Valid(s) {
		t.Fatalf("no JSON: %s", s)
	}
	golden(t, "settings.schema.json", s)
}

func TestSettingsTable(t *testing.T) {
	t.Parallel()
	golden(t, "settings.table.md", []byte(SettingsTable(settings{})))
	if got := SettingsTable(struct{}{}); !strings.Contains(got, "no settings") {
		t.Errorf("got %s", got)
	}
	if got := SettingsTable(unit.Size(0)); !strings.Contains(got, "| (the value itself) | size |") {
		t.Errorf("got %s", got)
	}
}

// nested contains itself.
type nested struct {
	Name string
	All  []nested
	Any  *nested
}

func TestTypesThatContainThemselves(t *testing.T) {
	t.Parallel()
	s := string(SchemaOf(nested{}))
	if !strings.Contains(s, `"$ref": "#/$defs/config_nested"`) || !strings.Contains(s, `"config_nested": {`) {
		t.Errorf("got %s", s)
	}
	var n nested
	if err := decode(t, "name: a\nall: [{name: b, any: {name: c}}]", &n); err != nil || n.All[0].Any.Name != "c" {
		t.Errorf("got %+v, %v", n, err)
	}
	if table := SettingsTable(nested{}); strings.Count(table, "`name`") != 1 {
		t.Errorf("got %s", table)
	}
}

func newValue(p *typePlan) reflect.Value { return reflect.New(p.typ).Elem() }
