//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// cores says where processes run. The proxy under test has one core for itself;
// the origin and the load generator share the other.
type cores struct {
	proxy, side string // for taskset; "" on a machine with one core
}

// pin prefixes a command so that it runs on one core. taskset replaces itself with
// the command, so the process keeps its id.
func (c cores) pin(core string, command []string) []string {
	if core == "" {
		return command
	}
	return append([]string{"taskset", "-c", core}, command...)
}

// pinSelf moves all threads of this process to the side core; threads and
// processes that are started later inherit it.
func (c cores) pinSelf() error {
	if c.side == "" {
		return nil
	}
	out, err := exec.Command("taskset", "-acp", c.side, strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, out)
	}
	return nil
}

// machine is what the report says about where it was measured.
type machine struct {
	cores    cores
	cpu      string
	count    int
	kernel   string
	versions []string // "nginx 1.22.1"
}

func lookAround(ctx context.Context, sluice string) (machine, error) {
	m := machine{count: runtime.NumCPU(), cpu: "unknown CPU"}
	if m.count > 1 {
		m.cores = cores{proxy: "0", side: "1"}
	}
	if err := m.cores.pinSelf(); err != nil {
		return machine{}, err
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.cpu = cpuModel(string(text))
	}
	var name syscall.Utsname
	if err := syscall.Uname(&name); err == nil {
		for _, c := range name.Release {
			if c == 0 {
				break
			}
			m.kernel += string(rune(c))
		}
	}
	for _, tool := range []struct {
		name string
		args []string
	}{
		{sluice, []string{"version"}},
		{"nginx", []string{"-v"}},
		{"haproxy", []string{"-v"}},
		{"caddy", []string{"version"}},
		{"wrk", []string{"-v"}},
		{"h2load", []string{"--version"}},
	} {
		// wrk -v exits with 1 after it has printed its version.
		out, _ := exec.CommandContext(ctx, tool.name, tool.args...).CombinedOutput()
		m.versions = append(m.versions, versionIn(tool.name, string(out)))
	}
	m.versions = append(m.versions, strings.Replace(runtime.Version(), "go", "Go ", 1))
	return m, nil
}

// cpuModel finds the model in /proc/cpuinfo.
func cpuModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// versionIn finds the first word with a digit in what a program says of itself.
func versionIn(program, text string) string {
	name := program[strings.LastIndexByte(program, '/')+1:]
	first, _, _ := strings.Cut(text, "\n")
	for _, word := range strings.FieldsFunc(first, func(r rune) bool { return r == ' ' || r == '/' }) {
		// Names that have digits themselves.
		if word == name || word == "nghttp2" {
			continue
		}
		if strings.ContainsAny(word, "0123456789") {
			return name + " " + strings.TrimRight(word, ",")
		}
	}
	return name + " (no version)"
}

func (m machine) describe() string {
	return fmt.Sprintf("%s, %d cores, Linux %s; %s", m.cpu, m.count, m.kernel, strings.Join(m.versions, ", "))
}
