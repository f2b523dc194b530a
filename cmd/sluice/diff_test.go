package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDiffOfEqualMeaning(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"testdata/diff/equal.old.yaml", "testdata/diff/equal.new.yaml"},
		{"testdata/diff/equal.new.yaml", "testdata/diff/equal.old.yaml"},
		{"testdata/explain/gateway.yaml", "testdata/explain/gateway.yaml"},
	} {
		out, _, err := command("diff", pair[0], pair[1])
		if err != nil || out != "no change\n" {
			t.Errorf("%v: got %v\n%s", pair, err, out)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ golden, arguments string }{
		{"testdata/diff/changes.txt", "testdata/diff/changes.old.yaml testdata/diff/changes.new.yaml"},
		{"testdata/diff/back.txt", "testdata/diff/changes.new.yaml testdata/diff/changes.old.yaml"},
		{"testdata/diff/changes.json", "-o json testdata/diff/changes.old.yaml testdata/diff/changes.new.yaml"},
	} {
		out, errOut, err := command(append([]string{"diff"}, strings.Fields(c.arguments)...)...)
		if !errors.Is(err, errProblems) || errOut != "" {
			t.Errorf("%s: got %v, %q", c.golden, err, errOut)
		}
		golden(t, c.golden, out)
		for _, secret := range []string{"hidden-", "1111", "2222", "3333"} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows a secret: %s", c.golden, secret)
			}
		}
	}
}

func TestDiffJSONOfEqualDocuments(t *testing.T) {
	t.Parallel()
	out, _, err := command("diff", "-o", "json", "testdata/diff/equal.old.yaml", "testdata/diff/equal.new.yaml")
	var got struct {
		Equal   bool
		Changes []change
	}
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || !got.Equal || got.Changes == nil {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestDiffUsage(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{
		{"diff"}, {"diff", "testdata/diff/equal.old.yaml"}, {"diff", "testdata/diff/equal.old.yaml", "testdata/check/missing.yaml"},
	} {
		if _, _, err := command(arguments...); !errors.As(err, new(usageError)) {
			t.Errorf("%v: got %v", arguments, err)
		}
	}
}

// TestDiffOfDiscovery: what changed in a source is shown, but not the secrets.
func TestDiffOfDiscovery(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, discovery string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		text := "listeners: [{ name: web, address: \":8080\" }]\nroutes: [{ name: all, upstream: orders }]\nupstreams: [{ name: orders, discovery: { " + discovery + " } }]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ old, new, want string }{
		{"consul: { service: orders, token: one }", "consul: { service: orders, token: two }", "the value behind *** changed"},
		{`http: { url: "http://a.internal", headers: { X-Key: one } }`, `http: { url: "http://b.internal", headers: { X-Key: one } }`, "http://b.internal"},
		{"dns: { name: a, port: 80, servers: 10.0.0.1 }", "dns: { name: a, port: 80, servers: 10.0.0.2 }", "10.0.0.2"},
		{"consul: { service: orders }", "consul: { service: orders, token: two }", "token"},
	} {
		out, _, _ := command("diff", file("old.yaml", test.old), file("new.yaml", test.new))
		if !strings.Contains(out, test.want) || strings.Contains(out, "two") {
			t.Errorf("%s to %s: %s", test.old, test.new, out)
		}
	}
}
