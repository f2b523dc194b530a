package observe

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

// registerProcess registers what is known of the process. The names are those
// that dashboards for Prometheus expect, so they have no prefix. What the system
// does not tell (no /proc) is 0.
func registerProcess(r *Registry, started time.Time) {
	r.reader(&processCPU, cpuSeconds)
	r.reader(&processResident, residentBytes)
	r.reader(&processFDs, openDescriptors)
	r.reader(&processMaxFDs, maxDescriptors)
	r.reader(&processStart, func() float64 { return float64(started.UnixMilli()) / 1e3 })
	r.reader(&goGoroutines, func() float64 { return runtimeFigure("/sched/goroutines:goroutines") })
	r.reader(&goHeap, func() float64 { return runtimeFigure("/memory/classes/heap/objects:bytes") })
	r.reader(&goMemory, func() float64 { return runtimeFigure("/memory/classes/total:bytes") })
	r.reader(&goGCCycles, func() float64 { return runtimeFigure("/gc/cycles/total:gc-cycles") })
}

func runtimeFigure(name string) float64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return float64(sample[0].Value.Uint64())
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// residentBytes reads the second figure of /proc/self/statm, which is in pages.
func residentBytes() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return float64(pages * int64(os.Getpagesize()))
}

// openDescriptors counts /proc/self/fd without the descriptor that reads it.
func openDescriptors() float64 {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return float64(len(names) - 1)
}

func maxDescriptors() float64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return float64(limit.Cur)
}
