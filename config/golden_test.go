package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluice-gateway/sluice/unit"
)

// Kinds that stand for those of policies/ and targets/ here.
type (
	headersSettings struct {
		Set unit.Map[string] `doc:"Fields to set."`
	}
	respondSettings struct {
		Status int    `min:"100" max:"599" default:"200" doc:"The status."`
		Body   string `doc:"The body."`
	}
	apiKeySettings   struct{}
	apiKeyCredential struct {
		Key unit.Secret `required:"true" doc:"The key."`
	}
)

func testKinds() (policies, targets []KindSchema) {
	return []KindSchema{
			{Name: "headers", Doc: "Changes header fields.", Settings: headersSettings{}},
			{Name: "api_key", Doc: "Asks for a key.", Settings: apiKeySettings{}, Credential: apiKeyCredential{}},
		}, []KindSchema{
			{Name: "upstream", Doc: "Sends the request to an upstream.", Settings: ""},
			{Name: "respond", Doc: "Answers by itself.", Settings: respondSettings{}},
		}
}

// judge does what the compiler will do with the kinds.
func judge(d *Document) error {
	policyKinds, targetKinds := testKinds()
	var credentials []KindSchema
	for _, k := range policyKinds {
		if k.Credential != nil {
			credentials = append(credentials, KindSchema{Name: k.Name, Settings: k.Credential})
		}
	}
	var problems Problems
	for _, i := range d.Policies {
		problems = judgeKinds(problems, i, i.Value.Kinds, policyKinds)
	}
	for _, i := range d.Consumers {
		for _, c := range i.Value.Credentials {
			problems = judgeKinds(problems, i, c.Kinds, credentials)
		}
	}
	for _, i := range d.Routes {
		for _, p := range i.Value.Policies {
			problems = judgeKinds(problems, i, p.Kinds, policyKinds)
		}
		problems = judgeKinds(problems, i, i.Value.Targets, targetKinds)
	}
	return problems.Err()
}

func judgeKinds[T any](problems Problems, item Item[T], given []Keyed, kinds []KindSchema) Problems {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	if len(given) > 1 {
		problems = append(problems, item.Problem(given[1].Mark, "more than one kind"))
	}
	for _, g := range given {
		known := false
		for _, k := range kinds {
			if k.Name != g.Kind {
				continue
			}
			known = true
			n := item.Node(g.Settings)
			w := walker{at: n.place()}
			plan := w.at.src.plans.plan(settingsType(k.Settings))
			w.value(n.tree(), newValue(plan), plan)
			problems = append(problems, w.problems...)
		}
		if !known {
			problems = append(problems, item.Problem(g.Mark, "unknown kind"+Meant(g.Kind, names, "kinds")))
		}
	}
	return problems
}

func testEnv(name string) (string, bool) { return "hunter2", name == "KEY" }

// loadFile loads a file of the corpus under its path from testdata.
func loadFile(t *testing.T, path string) string {
	t.Helper()
	doc, err := Load(path, &Cache{Env: testEnv})
	if err == nil {
		err = judge(doc)
	}
	got := outcome(doc, err)
	if strings.Contains(got, "hunter2") && strings.HasPrefix(got, "problems") {
		t.Errorf("%s: a message shows what a reference stands for:\n%s", path, got)
	}
	if strings.HasPrefix(got, "problems") && strings.Contains(got, ":0:") {
		t.Errorf("%s: a problem without a place:\n%s", path, got)
	}
	return got
}

func corpus(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return files
}

func TestGolden(t *testing.T) {
	for _, path := range corpus(t, "testdata/*/*.yaml") {
		got := loadFile(t, path)
		if bad := strings.HasPrefix(got, "problems"); bad != !strings.HasPrefix(path, "testdata/good/") {
			t.Errorf("%s: it is bad: %v\n%s", path, bad, got)
		}
		golden(t, strings.TrimPrefix(strings.TrimSuffix(path, ".yaml")+".txt", "testdata/"), []byte(got))
	}
}

func TestProblemsAsJSON(t *testing.T) {
	t.Parallel()
	_, err := Load("testdata/bad/duplicate_key.yaml", nil)
	text, fault := json.Marshal(err)
	want := `[{"file":"testdata/bad/duplicate_key.yaml","line":3,"column":1,"message":"\"admin\" is given twice","quote":"admin: {address: \":2\"}","other":{"file":"testdata/bad/duplicate_key.yaml","line":2,"column":1}}]`
	if fault != nil || string(text) != want {
		t.Errorf("got %s, %v", text, fault)
	}
}

func compileSchema(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", value); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return compiled
}

// TestSchemaIsTheDecoder checks the corpus by both. What lies under testdata/beyond
// is wrong in a way that a schema cannot say.
func TestSchemaIsTheDecoder(t *testing.T) {
	t.Parallel()
	text := Schema(testKinds())
	golden(t, "document.schema.json", text)
	compiled := compileSchema(t, text)
	for _, path := range corpus(t, "testdata/*/*.yaml") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := ParseNode(path, content)
		if err != nil {
			continue // it is not what we call YAML, or a reference does not resolve
		}
		var value unit.Any
		if n.Decode(&value) != nil {
			continue // a key is given twice
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
		if err != nil {
			t.Fatal(err)
		}
		err = compiled.Validate(instance)
		wantValid := !strings.HasPrefix(path, "testdata/bad/")
		if strings.HasPrefix(path, "testdata/beyond/empty.") {
			wantValid = false // null is no object
		}
		if (err == nil) != wantValid {
			t.Errorf("%s: the schema says %v", path, err)
		}
	}
}
