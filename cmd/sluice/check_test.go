package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, golden string
		want         error
		arguments    []string
	}{
		{"problems", "testdata/check/bad.txt", errProblems, []string{"check", "testdata/check/bad.yaml"}},
		{"problems as JSON", "testdata/check/bad.json", errProblems, []string{"check", "-o", "json", "testdata/check/bad.yaml"}},
		{"problems of reading and of compiling", "testdata/check/mixed.txt", errProblems, []string{"check", "testdata/check/mixed.yaml"}},
		{"a warning", "testdata/check/shadow.txt", nil, []string{"check", "--config", "testdata/check/shadow.yaml"}},
		{"a warning as JSON", "testdata/check/shadow.json", nil, []string{"check", "--output=json", "testdata/check/shadow.yaml"}},
		{"no file", "testdata/check/missing.txt", errProblems, []string{"check", "testdata/check/missing.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, errOut, err := command(c.arguments...)
			if !errors.Is(err, c.want) || errOut != "" {
				t.Errorf("got %v, %q", err, errOut)
			}
			golden(t, c.golden, out)
		})
	}
}

func TestCheckJSONListsAreNeverNull(t *testing.T) {
	t.Parallel()
	out, _, err := command("check", "-o", "json", "testdata/explain/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got["ok"] != true || got["problems"] == nil || got["warnings"] == nil {
		t.Errorf("got %v", got)
	}
}

func TestCheckUsage(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{
		{"check", "a", "b"}, {"check", "-c", "a", "b"}, {"check", "-o", "xml", "a"}, {"check", "--nonsense"},
	} {
		if _, _, err := command(arguments...); !errors.As(err, new(usageError)) {
			t.Errorf("%s: got %v", strings.Join(arguments, " "), err)
		}
	}
}
