//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// load is one run of a load generator.
type load struct {
	generate    generator
	url         string
	connections int
	duration    time.Duration // whole seconds
	headers     []string      // "name: value"
	script      string        // path of a Lua script, or ""
	body        string        // path of what h2load sends with each request, or ""
	streams     int           // requests that each connection of h2load has open at a time
}

// generator makes a load: wrk, h2load or our own handshakes.
type generator func(context.Context, cores, load) (loadResult, error)

// loadResult is what a load generator says about a run.
type loadResult struct {
	requests int
	errors   int // answers that are not 2xx or 3xx, and socket errors
	bytes    int64
	took     time.Duration
	p50, p99 time.Duration // of wrk and the handshakes
	mean     time.Duration // of h2load, which tells no percentiles
	longest  time.Duration // the same
}

// runWrk runs wrk on the side core and reads its report.
func runWrk(ctx context.Context, cores cores, l load) (loadResult, error) {
	seconds := max(int(l.duration/time.Second), 1)
	args := []string{"wrk", "-t1", "-c" + strconv.Itoa(l.connections), "-d" + strconv.Itoa(seconds) + "s", "--timeout", "5s", "--latency"}
	for _, h := range l.headers {
		args = append(args, "-H", h)
	}
	if l.script != "" {
		args = append(args, "-s", l.script)
	}
	ctx, cancel := context.WithTimeout(ctx, l.duration+30*time.Second)
	defer cancel()
	args = cores.pin(cores.side, append(args, l.url))
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return loadResult{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return parseWrk(string(out))
}

// parseWrk reads the report that wrk 4 prints with --latency.
func parseWrk(text string) (loadResult, error) {
	summary := regexp.MustCompile(`(?m)^\s*(\d+) requests in ([0-9.]+[a-z]+), ([0-9.]+[KMGT]?B) read$`).FindStringSubmatch(text)
	if summary == nil {
		return loadResult{}, fmt.Errorf("wrk: no summary in %q", text)
	}
	var r loadResult
	var problems [5]error
	r.requests, problems[0] = strconv.Atoi(summary[1])
	r.took, problems[1] = parseWrkTime(summary[2])
	r.bytes, problems[2] = parseWrkBytes(summary[3])
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "50%":
			r.p50, problems[3] = parseWrkTime(fields[1])
		case len(fields) == 2 && fields[0] == "99%":
			r.p99, problems[4] = parseWrkTime(fields[1])
		}
	}
	if m := regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`).FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		r.errors += n
		problems[0] = errors.Join(problems[0], err)
	}
	if m := regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`).FindStringSubmatch(text); m != nil {
		for _, digits := range m[1:] {
			n, err := strconv.Atoi(digits)
			r.errors += n
			problems[0] = errors.Join(problems[0], err)
		}
	}
	return r, errors.Join(problems[:]...)
}

// parseWrkTime reads "831.00us", "1.02ms", "4.00s", "1.10m", "2.00h".
func parseWrkTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("wrk: time %q: %w", text, err)
	}
	return d, nil
}

// parseWrkBytes reads "512B", "3.20MB"; wrk's units are powers of 1024.
func parseWrkBytes(text string) (int64, error) {
	number := strings.TrimSuffix(text, "B")
	scale := 1.0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if rest, found := strings.CutSuffix(number, unit); found {
			number = rest
			scale = float64(int64(1) << (10 * (i + 1)))
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("wrk: size %q: %w", text, err)
	}
	return int64(n * scale), nil
}
