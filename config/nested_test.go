package config

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluice-gateway/sluice/unit"
)

// within is what package target has as Nested.
type within struct {
	Kinds []unit.Keyed `yaml:",rest" doc:"The target."`
}

// Embedded is exported, as package target's is.
type Embedded struct {
	Kinds []unit.Keyed `yaml:",rest" doc:"The target beside the other keys."`
}

type aroundEmbedded struct {
	Embedded
	Share unit.Share        `default:"10%" doc:"How many."`
	To    unit.List[within] `doc:"Where else."`
}

func TestNestedTargets(t *testing.T) {
	t.Parallel()
	var a aroundEmbedded
	if err := decode(t, "{ b: c, share: 5%, to: [{ d: { e: f } }, { g: [] }] }", &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Kinds) != 1 || a.Kinds[0].Name != "b" || len(a.To) != 2 || a.To[1].Kinds[0].Name != "g" {
		t.Errorf("got %+v", a)
	}
	var d struct{ E string }
	if err := a.To[0].Kinds[0].Value.Decode(&d); err != nil || d.E != "f" {
		t.Errorf("got %+v, %v", d, err)
	}
	if at := a.To[1].Kinds[0].Key.(*Node).Position(); at.Column != 44 {
		t.Errorf("the key stands at %v", at)
	}
	if beside := strings.Join(a.Kinds[0].Beside, " "); beside != "share to" {
		t.Errorf("beside it may stand %s", beside)
	}
	for text, want := range map[string]string{
		"{ to: orders }":         `1:7: this must be a target such as { upstream: NAME }, not a text`,
		"{ b: c, b: d }":         `"b" is given twice`,
		"{ share: 5%, b: ":       "1:",
		"{ to: { b: 1, b: 2 } }": `"b" is given twice`,
	} {
		node, err := ParseNode("x.yaml", []byte(text))
		if err == nil {
			err = node.Decode(&aroundEmbedded{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestNestedTargetsInSchemas(t *testing.T) {
	t.Parallel()
	alone := string(SchemaOf(aroundEmbedded{}))
	if strings.Contains(alone, "additionalProperties") || strings.Contains(alone, "$ref") {
		t.Errorf("without kinds: %s", alone)
	}
	whole := string(Schema(nil, []KindSchema{{Name: "upstream", Settings: ""}, {Name: "around", Settings: aroundEmbedded{}}}))
	for _, want := range []string{
		`"target_upstream": {`, `"target_around": {`, `"$ref": "#/$defs/target_around"`,
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("the schema has no %s", want)
		}
	}
	// A route, what stands around and what it leads to may each be either kind.
	if n := strings.Count(whole, `"$ref": "#/$defs/target_upstream"`); n != 4 {
		t.Errorf("the upstream is referred to %d times: %s", n, whole)
	}
	compiled := compileSchema(t, []byte(whole))
	for text, valid := range map[string]bool{
		`{ "upstream": "a", "to": { "around": { "upstream": "b", "share": "5%", "to": [{ "upstream": "c" }] } } }`: true,
		`{ "to": { "upstream": "b" } }`:                                                 false,
		`{ "upstream": "a", "around": { "upstream": "b" } }`:                            false,
		`{ "upstream": "a", "to": { "upstraem": "b" } }`:                                false,
		`{ "upstream": "a", "to": { "around": { "upstream": "b", "to": [{}] } } }`:      false,
		`{ "upstream": "a", "too": { "upstream": "b" } }`:                               false,
		`{ "upstream": "a", "to": { "upstream": "b", "around": { "upstream": "c" } } }`: false,
	} {
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(`{ "routes": [{ "around": ` + text + ` }] }`))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(instance); (err == nil) != valid {
			t.Errorf("%s: the schema says %v", text, err)
		}
	}
	table := SettingsTable(aroundEmbedded{})
	for _, want := range []string{
		"| `KIND` | target | required | The target beside the other keys. |\n", "| `to` | target, or a list |  | Where else. |\n",
		"| `to[].KIND` | target | required | The target. |\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %s:\n%s", want, table)
		}
	}
}

func TestViewOfNestedTargets(t *testing.T) {
	t.Parallel()
	v := NewViewer(func(kind string) any {
		if kind == "around" {
			return &aroundEmbedded{}
		}
		return nil
	})
	n, err := ParseNode("x.yaml", []byte("{ around: { b: 5 }, to: { around: { c: 6, share: 5.0% } } }"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(words(v.View(n, &aroundEmbedded{}), ""), " ")
	want := ".around.b=5 .around.share=10% .share=10% .to[].around.c=6 .to[].around.share=5%"
	if got != want {
		t.Errorf("got %s", got)
	}
	items, _ := v.View(n, &aroundEmbedded{}).fieldNamed("to").Items()
	if len(items) != 1 || !items[0].Target() {
		t.Errorf("what stands in the list is no target: %v", items)
	}
}

func (v View) fieldNamed(name string) View {
	fields, _ := v.Fields()
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return View{}
}
