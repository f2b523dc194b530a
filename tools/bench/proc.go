//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on
// every architecture that Go runs on (proc(5)).
const clockTick = 10 * time.Millisecond

// stat is what we read of /proc/PID/stat.
type stat struct {
	group int           // process group
	cpu   time.Duration // user and system time of all its threads, without its children
}

// parseStat reads one /proc/PID/stat (proc(5)). The second field is the command in
// parentheses and may itself hold spaces and parentheses.
func parseStat(text []byte) (stat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("no command in %q", text)
	}
	fields := strings.Fields(string(text[end+1:]))
	// fields[0] is field 3 of the manual page.
	if len(fields) < 13 {
		return stat{}, fmt.Errorf("%d fields in %q", len(fields), text)
	}
	var numbers [3]int
	for i, field := range []int{5 - 3, 14 - 3, 15 - 3} {
		n, err := strconv.Atoi(fields[field])
		if err != nil {
			return stat{}, fmt.Errorf("field %d of %q: %w", field+3, text, err)
		}
		numbers[i] = n
	}
	return stat{group: numbers[0], cpu: time.Duration(numbers[1]+numbers[2]) * clockTick}, nil
}

// parseStatus returns one "Name:   12 kB" value of /proc/PID/status, in bytes.
func parseStatus(text []byte, name string) (int64, error) {
	for line := range strings.Lines(string(text)) {
		value, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		if unit != "kB" {
			return 0, fmt.Errorf("%s has the unit %q", name, unit)
		}
		n, err := strconv.ParseInt(number, 10, 64)
		return n * 1024, err
	}
	return 0, fmt.Errorf("there is no %s", name)
}

// usage is what a process and those that it started have used, and use.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
}

// usageOf sums over all processes of a process group: nginx's master and its
// workers are one.
func usageOf(group int) (usage, error) {
	var sum usage
	found := false
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return usage{}, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended since.
		}
		s, err := parseStat(text)
		if err != nil {
			return usage{}, err
		}
		if s.group != group {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			continue
		}
		resident, err := parseStatus(status, "VmRSS")
		if err != nil {
			continue // A zombie has none.
		}
		sum.cpu += s.cpu
		sum.resident += resident
		found = true
	}
	if !found {
		return usage{}, fmt.Errorf("no process is left in group %d", group)
	}
	return sum, nil
}
