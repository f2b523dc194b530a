//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// streams is how many requests each connection of h2load usually has open at a time.
const streams = 16

// runH2load runs h2load on the side core and reads its report.
func runH2load(ctx context.Context, cores cores, l load) (loadResult, error) {
	seconds := max(int(l.duration/time.Second), 1)
	ctx, cancel := context.WithTimeout(ctx, l.duration+30*time.Second)
	defer cancel()
	command := []string{
		"h2load", "-t1", "-c" + strconv.Itoa(l.connections), "-m" + strconv.Itoa(l.streams),
		"-D", strconv.Itoa(seconds), "--connection-active-timeout=" + strconv.Itoa(seconds+20),
	}
	for _, header := range l.headers {
		command = append(command, "-H", header)
	}
	if l.body != "" {
		command = append(command, "-d", l.body)
	}
	args := cores.pin(cores.side, append(command, l.url))
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return loadResult{}, fmt.Errorf("h2load: %w: %s", err, out)
	}
	return parseH2load(string(out))
}

var (
	h2loadProtocol = regexp.MustCompile(`(?m)^Application protocol: (\S+)$`)
	h2loadFinished = regexp.MustCompile(`(?m)^finished in ([0-9.]+[a-z]+), `)
	h2loadRequests = regexp.MustCompile(`(?m)^requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, \d+ timeout$`)
	h2loadTraffic  = regexp.MustCompile(`(?m)^traffic: \S+ \((\d+)\) total, `)
	h2loadTimes    = regexp.MustCompile(`(?m)^time for request: +\S+ +([0-9.]+[a-z]+) +([0-9.]+[a-z]+) `)
)

// parseH2load reads the report that h2load 1 prints after a run of a given duration.
// It is an error when another protocol than HTTP/2 was agreed upon: h2load itself would go
// on with HTTP/1.1.
func parseH2load(text string) (loadResult, error) {
	protocol := h2loadProtocol.FindStringSubmatch(text)
	if protocol == nil {
		return loadResult{}, fmt.Errorf("h2load: no protocol in %q", text)
	}
	if protocol[1] != "h2" && protocol[1] != "h2c" {
		return loadResult{}, fmt.Errorf("h2load: the protocol is %s, not h2", protocol[1])
	}
	finished, requests := h2loadFinished.FindStringSubmatch(text), h2loadRequests.FindStringSubmatch(text)
	traffic, latency := h2loadTraffic.FindStringSubmatch(text), h2loadTimes.FindStringSubmatch(text)
	if finished == nil || requests == nil || traffic == nil || latency == nil {
		return loadResult{}, fmt.Errorf("h2load: no summary in %q", text)
	}
	var r loadResult
	var problems [7]error
	r.took, problems[0] = time.ParseDuration(finished[1])
	r.requests, problems[1] = strconv.Atoi(requests[1])
	r.errors, problems[2] = strconv.Atoi(requests[2])
	// Those which got no answer at all are done and failed, too.
	unanswered, err := strconv.Atoi(requests[3])
	r.requests, problems[3] = r.requests-unanswered, err
	r.bytes, problems[4] = strconv.ParseInt(traffic[1], 10, 64)
	r.longest, problems[5] = time.ParseDuration(latency[1])
	r.mean, problems[6] = time.ParseDuration(latency[2])
	if err := errors.Join(problems[:]...); err != nil {
		return loadResult{}, fmt.Errorf("h2load: %w", err)
	}
	return r, nil
}
