// Package leaktest sees that no goroutine of a package outlives its tests.
package leaktest

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines may take to end behind the last test.
const patience = 20 * time.Second

// Main is what a TestMain calls: it runs the tests, then waits until no goroutine
// has a function of the package, such as "wire/http1", on its stack. It returns
// the exit code, and says which are left.
func Main(m *testing.M, pkg string) int {
	code := m.Run()
	for deadline := time.Now().Add(patience); code == 0; runtime.Gosched() {
		stacks := all()
		if !running(stacks, pkg) {
			break
		}
		if time.Now().After(deadline) {
			_, _ = os.Stderr.WriteString("goroutines are left:\n" + stacks + "\n")
			code = 1
		}
	}
	return code
}

// all is the stacks of all goroutines.
func all() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

// running says whether one of the stacks, but for TestMain's, has a function of a package.
func running(stacks, pkg string) bool {
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		if strings.Contains(stack, pkg+".") && !strings.Contains(stack, ".TestMain(") {
			return true
		}
	}
	return false
}
