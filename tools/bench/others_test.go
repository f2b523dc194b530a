//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestBusyOf(t *testing.T) {
	t.Parallel()
	got, err := busyOf("cpu  100 1 200 5000 300 2 3 4 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
	if err != nil || got != 3100*time.Millisecond {
		t.Errorf("%v, %v; want 3.1s", got, err)
	}
	for _, text := range []string{"", "cpu 1 2 3\n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu a 2 3 4 5 6 7 8\n"} {
		if got, err := busyOf(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	b := &bench{machine: machine{count: 2}}
	if got := b.noise(500*time.Millisecond, 10*time.Second); got != "" {
		t.Errorf("a quiet machine: %q", got)
	}
	if got := b.noise(5*time.Second, 10*time.Second); !strings.Contains(got, "25 %") {
		t.Errorf("%q, want 25 %%", got)
	}
}
