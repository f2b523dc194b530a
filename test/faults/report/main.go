// Command report plays the scenarios of test/faults against the real gateway, and
// prints a line for each: what clients saw, and whether the bars are met. It ends
// with 1 where one is not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/test/faults"
)

func main() {
	only := flag.String("only", "", "play only scenarios whose names contain this")
	rate := flag.Int("rate", 300, "requests a second")
	step := flag.Duration("step", 3*time.Second, "the length of one part of a scenario")
	flag.Parse()
	if err := run(*only, faults.Pace{Rate: *rate, Step: *step}); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

var errMissed = errors.New("not all bars are met")

func run(only string, pace faults.Pace) error {
	if pace.Rate < 1 || pace.Rate > 10000 || pace.Step <= 0 {
		return errors.New("-rate is from 1 to 10000, and -step more than 0s")
	}
	if os.Getenv("SLUICE_BINARY") == "" {
		dir, err := os.MkdirTemp("", "sluice-report-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := build(filepath.Join(dir, "sluice")); err != nil {
			return err
		}
	}
	// A busy machine makes every figure worse: who reads them should know.
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Printf("%d requests/s, steps of %s, %d processors, load averages and more %s", pace.Rate, pace.Step, runtime.NumCPU(), load)
	}
	var missed bool
	for _, s := range faults.Scenarios() {
		if !strings.Contains(s.Name, only) {
			continue
		}
		r, err := s.Run(pace)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		fmt.Printf("%-48s %s\n", s.Name, r.Line())
		missed = missed || !r.Met()
	}
	if missed {
		return errMissed
	}
	return nil
}

// build builds the gateway that is played against.
func build(path string) error {
	out, err := exec.Command("go", "build", "-o", path, "github.com/sluice-gateway/sluice/cmd/sluice").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return os.Setenv("SLUICE_BINARY", path)
}
