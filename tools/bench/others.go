//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// busyOf reads the first line of /proc/stat (proc(5)): the time that all cores were
// busy, by whomever, with what the hypervisor took away.
func busyOf(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var ticks int64
	for i, field := range fields[1:9] {
		if i == 3 || i == 4 {
			continue // idle, and idle while a disk is awaited
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// othersTime is the CPU time that was used by processes which are not ours since the
// machine has started, up to a constant.
func (b *bench) othersTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	others, err := busyOf(string(text))
	if err != nil {
		return 0, err
	}
	// Our own time, and that of processes which have ended.
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			return 0, err
		}
		others -= time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	for _, p := range b.fleet.alive {
		u, err := p.usage()
		if err != nil {
			return 0, err
		}
		others -= u.cpu
	}
	return others, nil
}

// noise says how much of the machine others used while a table was measured.
func (b *bench) noise(others, took time.Duration) string {
	share := max(0, 100*others.Seconds()/took.Seconds()/float64(b.machine.count))
	if share < 5 {
		return ""
	}
	return fmt.Sprintf("Others used %.0f %% of the machine meanwhile: do not believe these figures.", share)
}
