package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

func TestEveryKindIsListed(t *testing.T) {
	t.Parallel()
	out, _, err := command("policies")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range policies.All() {
		names = append(names, k.Name)
	}
	for _, k := range targets.All() {
		names = append(names, k.Name)
	}
	for _, name := range names {
		i := strings.Index(out, "\n"+name+" ")
		if i < 0 {
			t.Errorf("%s is not listed", name)
			continue
		}
		line, _, _ := strings.Cut(out[i+1:], "\n")
		if len(strings.Fields(line)) < 6 {
			t.Errorf("%s has no summary: %q", name, line)
		}
		page, _, err := command("policies", name)
		if err != nil || !strings.HasPrefix(page, "# "+name+"\n") {
			t.Errorf("%s has no page: %v", name, err)
		}
	}
}

func TestPoliciesJSON(t *testing.T) {
	t.Parallel()
	out, _, err := command("policies", "--output", "json")
	var got struct{ Policies, Targets []about }
	if err != nil || json.Unmarshal([]byte(out), &got) != nil {
		t.Fatalf("got %v\n%s", err, out)
	}
	if len(got.Policies) != len(policies.All()) || len(got.Targets) != len(targets.All()) {
		t.Errorf("got %d policies and %d targets", len(got.Policies), len(got.Targets))
	}
	out, _, err = command("policies", "-o", "json", "rate_limit")
	var one about
	if err != nil || json.Unmarshal([]byte(out), &one) != nil || one.OnFault != "allow" || one.Stage != "limit" || one.Readme == "" {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestAnUnknownPolicyIsNamedWithTheNearest(t *testing.T) {
	t.Parallel()
	_, _, err := command("policies", "ratelimit")
	if err == nil || !strings.Contains(err.Error(), `did you mean "rate_limit"?`) {
		t.Errorf("got %v", err)
	}
}

func TestSchemaHasEveryKind(t *testing.T) {
	t.Parallel()
	out, _, err := command("schema")
	if err != nil || !json.Valid([]byte(out)) {
		t.Fatalf("got %v, valid: %t", err, json.Valid([]byte(out)))
	}
	for _, k := range policies.All() {
		if !strings.Contains(out, `"`+k.Name+`"`) {
			t.Errorf("the schema does not have %s", k.Name)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, _, err := command("version")
	if err != nil || !strings.HasPrefix(out, "sluice "+version+", built with go1.") {
		t.Errorf("got %v, %q", err, out)
	}
	out, _, err = command("version", "-o", "json")
	var got map[string]string
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got["version"] != version || got["arch"] == "" {
		t.Errorf("got %v, %q", err, out)
	}
}
