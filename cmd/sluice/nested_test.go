package main

import (
	"errors"
	"testing"
)

// Targets that stand within others are explained and compared like a route's own: settings
// with their defaults, lists of targets in their order.
func TestNestedTargets(t *testing.T) {
	t.Parallel()
	out, errOut, err := command("explain", "-c", "testdata/explain/nested.yaml", "GET", "/orders/7")
	if err != nil || errOut != "" {
		t.Errorf("%v, %q", err, errOut)
	}
	golden(t, "testdata/explain/nested.txt", out)
	out, errOut, err = command("diff", "testdata/diff/nested.old.yaml", "testdata/diff/nested.new.yaml")
	if !errors.Is(err, errProblems) || errOut != "" {
		t.Errorf("%v, %q", err, errOut)
	}
	golden(t, "testdata/diff/nested.txt", out)
}
