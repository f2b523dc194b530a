//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestReplaceSection(t *testing.T) {
	t.Parallel()
	document := "# Title\n<!-- bench:bare -->\nold\n<!-- /bench:bare -->\ntail\n"
	got, err := replaceSection(document, "bare", "new\n")
	want := "# Title\n<!-- bench:bare -->\nnew\n<!-- /bench:bare -->\ntail\n"
	if err != nil || got != want {
		t.Fatalf("%q, %v", got, err)
	}
	for _, broken := range []string{"", "<!-- bench:bare -->\nold\n", "<!-- /bench:bare -->\n<!-- bench:bare -->\n"} {
		if got, err := replaceSection(broken, "bare", "new\n"); err == nil {
			t.Errorf("%q became %q", broken, got)
		}
	}
}

func TestSection(t *testing.T) {
	t.Parallel()
	s := section{title: "Bare", head: []string{"", "µs"}, configs: []namedConfig{{"nginx", "worker_processes 1;\n"}, {"none", ""}}}
	s.add("sluice", "12.9")
	s.judge(true, "at most 1.05", "%.2f", 1.02)
	s.judge(false, "no failed request", "%d of %d", 3, 100)
	markdown := s.markdown(machine{cpu: "A", count: 2, kernel: "6.1"}, time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC))
	for _, want := range []string{
		"2026-11-23 01:02 UTC, A, 2 cores, Linux 6.1",
		"|  | µs |\n| --- | ---: |\n| sluice | 12.9 |\n",
		"| at most 1.05 | 1.02 | met |\n| no failed request | 3 of 100 | MISSED |\n",
		"Configuration of nginx</summary>\n\n```\nworker_processes 1;\n```\n",
	} {
		if !strings.Contains(markdown, want) {
			t.Errorf("%q is not in\n%s", want, markdown)
		}
	}
	if strings.Contains(markdown, "Configuration of none") {
		t.Error("an empty configuration is shown")
	}
	text := s.text()
	for _, want := range []string{"  sluice  12.9\n", "  MISSED  no failed request  3 of 100\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestVersionIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ program, text, want string }{
		{"nginx", "nginx version: nginx/1.22.1\n", "nginx 1.22.1"},
		{"/tmp/bin/sluice", "sluice v0.1.0-3-gabc, Go 1.26\n", "sluice v0.1.0-3-gabc"},
		{"wrk", "wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012\n", "wrk 4.1.0-3+b2"},
		{"h2load", "h2load nghttp2/1.52.0\n", "h2load 1.52.0"},
		{"none", "", "none (no version)"},
	} {
		if got := versionIn(test.program, test.text); got != test.want {
			t.Errorf("%s: %q, want %q", test.program, got, test.want)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	if len(payload) != 70 {
		t.Errorf("the origin's answer has %d bytes, not 70", len(payload))
	}
}
