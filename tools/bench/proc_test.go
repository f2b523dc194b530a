//go:build linux

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	tail := " 4194560 120 0 0 0 345 67 89 10 20 0 3 0 4242 1 2 3\n"
	for _, test := range []struct {
		name, text string
		want       stat
		wrong      string
	}{
		{name: "plain", text: "812 (nginx) S 811 811 700 0 -1" + tail, want: stat{group: 811, cpu: 4120 * time.Millisecond}},
		{name: "a command like a line of it", text: "812 (a) S 1 (b c)) R 811 812 700 0 -1" + tail, want: stat{group: 812, cpu: 4120 * time.Millisecond}},
		{name: "empty", text: "", wrong: "no command"},
		{name: "cut off", text: "812 (nginx) S 811 811", wrong: "2 fields"},
		{name: "no number", text: strings.Replace("812 (nginx) S 811 811 700 0 -1"+tail, "345", "x", 1), wrong: "field 14"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat([]byte(test.text))
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong[1:]) {
					t.Fatalf("error %v, want %q", err, test.wrong)
				}
				return
			}
			if err != nil || got != test.want {
				t.Fatalf("%+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	text := "Name:\tnginx\nVmHWM:\t    9000 kB\nVmRSS:\t    8123 kB\nThreads:\t3\n"
	got, err := parseStatus([]byte(text), "VmRSS")
	if err != nil || got != 8123*1024 {
		t.Fatalf("%d, %v", got, err)
	}
	for _, name := range []string{"Rss", "Threads"} {
		if got, err := parseStatus([]byte(text), name); err == nil {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	t.Parallel()
	u, err := usageOf(syscall.Getpgrp())
	if err != nil || u.resident < 1<<20 {
		t.Fatalf("%+v, %v", u, err)
	}
	if u, err := usageOf(os.Getpid() + 1<<22); err == nil {
		t.Fatalf("a group that cannot be: %+v", u)
	}
}
