package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// command runs a command in this process.
func command(arguments ...string) (out, errOut string, err error) {
	var o, e bytes.Buffer
	root := rootCommand()
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(arguments)
	err = root.Execute()
	return o.String(), e.String(), err
}

// golden compares with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestColumnsStandBelowEachOther(t *testing.T) {
	t.Parallel()
	got := strings.Join(columns([][]string{{"a", "longer", "x"}, {"äöü", "b", ""}}), "\n")
	if want := "a    longer  x\näöü  b"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCounted(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0 routes": counted(0, "route"), "1 route": counted(1, "route"), "2 entries": counted(2, "entry"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNoColoursInFiles(t *testing.T) {
	t.Parallel()
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if p := newPaint(f); p.red("x") != "x" {
		t.Error("a file gets colours")
	}
	if p := (&paint{colours: true}); p.red("x") != "\x1b[31mx\x1b[0m" || p.red("") != "" {
		t.Error("no colours where they are wanted")
	}
}

func TestControlCharactersDoNotReachATerminal(t *testing.T) {
	t.Parallel()
	if got := printableText("a\x00b\u009bc\nd"); got != "a?b?c?d" {
		t.Errorf("got %q", got)
	}
}
