// Package rig starts the real binary for black-box tests, and gives them
// scripted origins and raw clients to put around it.
//
// Nothing here sleeps to let something happen: everything waits for what it
// wants to see, with Patience as the end.
package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Patience is how long any single step may take before the test fails.
const Patience = 30 * time.Second

// binary is what Binary found or built, and the folder that Main removes.
type binary struct{ path, scratch string }

var builtOnce = sync.OnceValues(build)

// Binary is the path of the gateway under test. It is built once for a test
// process; SLUICE_BINARY names one that is there already, and SLUICE_RACE=1
// builds it with the race detector. Who uses it calls Main from TestMain.
func Binary() (string, error) {
	b, err := builtOnce()
	return b.path, err
}

func build() (binary, error) {
	if path := os.Getenv("SLUICE_BINARY"); path != "" {
		absolute, err := filepath.Abs(path)
		if err == nil {
			_, err = os.Stat(absolute)
		}
		return binary{path: absolute}, err
	}
	scratch, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		return binary{}, err
	}
	b := binary{filepath.Join(scratch, "sluice"), scratch}
	args := []string{"build", "-o", b.path}
	if os.Getenv("SLUICE_RACE") == "1" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/sluice-gateway/sluice/cmd/sluice")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return b, fmt.Errorf("rig: cannot build cmd/sluice: %w\n%s", err, out)
	}
	return b, nil
}

// Main is what a TestMain calls: it builds the binary, fails loudly if that does
// not work, runs the tests and cleans up.
func Main(m *testing.M) int {
	b, err := builtOnce()
	if b.scratch != "" {
		defer func() { _ = os.RemoveAll(b.scratch) }()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// errPatience says that something did not come about in time.
var errPatience = errors.New("it did not come about in time")

// Eventually waits until check returns nil, and returns its last error if it
// never does.
func Eventually(check func() error) error {
	end := time.Now().Add(Patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %w", errPatience, err)
		}
		time.Sleep(pause)
	}
}
