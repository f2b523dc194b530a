//go:build linux

package main

import (
	"os"
	"regexp"
	"testing"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	all, err := choose("")
	if err != nil || len(all) != len(groups()) {
		t.Fatalf("%d groups, %v", len(all), err)
	}
	two, err := choose("start,bare")
	if err != nil || len(two) != 2 || two[0].name != "start" || two[1].name != "bare" {
		t.Fatalf("%v, %v", two, err)
	}
	if chosen, err := choose("bare,nothing"); err == nil {
		t.Fatalf("%v", chosen)
	}
}

// TestDocumentHasRoom looks for the place of each table, and that each place has one.
func TestDocumentHasRoom(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups() {
		if _, err := replaceSection(string(text), g.name, ""); err != nil {
			t.Error(err)
		}
	}
	if places := regexp.MustCompile(`<!-- bench:`).FindAll(text, -1); len(places) != len(groups()) {
		t.Errorf("%d places for %d tables", len(places), len(groups()))
	}
}
