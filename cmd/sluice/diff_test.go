package main

import (
	"encoding/json"
	"errors"
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
