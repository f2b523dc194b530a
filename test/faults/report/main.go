// Command report plays the scenarios of test/faults against the real gateway, and
// prints a line for each: what clients saw, and whether the bars are met. It ends
// with 1 where one is not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
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
	times := flag.Int("times", 1, "how often each is played")
	flag.Parse()
	r := report{os.Stdout, faults.Scenarios(), *only, *times, faults.Pace{Rate: *rate, Step: *step}}
	if err := r.run(); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

var (
	errMissed = errors.New("not all bars are met")
	errPace   = errors.New("-rate is from 12 to 10000, -step at least 100ms, and -times at least 1")
	errNone   = errors.New("no scenario has such a name; without -only all are played")
)

// report is what is played, and where it is told.
type report struct {
	out       io.Writer
	scenarios []faults.Scenario
	only      string
	times     int
	pace      faults.Pace
}

// run builds the gateway, unless SLUICE_BINARY names one, and plays.
func (r *report) run() error {
	if r.pace.Rate < 12 || r.pace.Rate > 10000 || r.pace.Step < 100*time.Millisecond || r.times < 1 {
		return errPace
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
		fmt.Fprintf(r.out, "%d requests/s, steps of %s, %d processors, load averages and more %s", r.pace.Rate, r.pace.Step, runtime.NumCPU(), load)
	}
	return r.play()
}

// play prints a line for each scenario, and says what was missed at the end.
func (r *report) play() error {
	var missed, played int
	for _, s := range r.scenarios {
		if !strings.Contains(s.Name, r.only) {
			continue
		}
		for range r.times {
			result, err := s.Run(r.pace)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			fmt.Fprintf(r.out, "%-48s %s\n", s.Name, result.Line())
			played++
			if !result.Met() {
				missed++
			}
		}
	}
	switch {
	case played == 0:
		return errNone
	case missed > 0:
		return fmt.Errorf("%w: %d of %d scenarios", errMissed, missed, played)
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
