// Package attempt runs tests of times that are fixed in real time, on machines that may stand still.
package attempt

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// attempts is how often a machine may stand still at the wrong moment.
const attempts = 20

// T is one attempt at a test.
type T struct {
	testing.TB
	mu       sync.Mutex
	over     bool
	failures []string
	mark     time.Time
	late     bool
}

// Run runs a test that has limit for everything that it does. An attempt that fails counts if it
// was within its times; if it was not, the product was right to end it, and there is another one.
// One that succeeds is the end whatever it took.
func Run(t testing.TB, limit time.Duration, try func(t *T)) {
	t.Helper()
	for left := attempts - 1; ; left-- {
		a := &T{TB: t, mark: time.Now()}
		done := make(chan struct{})
		go func() {
			defer close(done)
			try(a)
		}()
		<-done
		a.Within(limit)
		failures, late := a.end()
		if len(failures) == 0 && !t.Failed() {
			return
		}
		if !late || left == 0 || t.Failed() {
			for _, failure := range failures {
				t.Error(failure)
			}
			t.FailNow()
			return
		}
	}
}

// Within says that what has been done since it was called last, or since the beginning, has
// to have been done in less than limit; an attempt in which it was not does not count if it fails.
func (t *T) Within(limit time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.late = t.late || now.Sub(t.mark) >= limit
	t.mark = now
}

// end is what has failed so far; what fails later, as in a Cleanup, fails the test.
func (t *T) end() (failures []string, late bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	return t.failures, t.late
}

func (t *T) fail(text string) {
	t.TB.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		t.TB.Error(text)
		return
	}
	t.failures = append(t.failures, text)
}

// Error fails the attempt, like those that follow.
func (t *T) Error(args ...any) { t.TB.Helper(); t.fail(fmt.Sprintln(args...)) }

// Errorf formats the reason.
func (t *T) Errorf(format string, args ...any) { t.TB.Helper(); t.fail(fmt.Sprintf(format, args...)) }

// Fatal ends the goroutine too.
func (t *T) Fatal(args ...any) { t.TB.Helper(); t.fail(fmt.Sprintln(args...)); runtime.Goexit() }

// Fatalf formats the reason and ends the goroutine.
func (t *T) Fatalf(format string, args ...any) {
	t.TB.Helper()
	t.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Fail fails the attempt without a reason.
func (t *T) Fail() { t.TB.Helper(); t.fail("failed") }

// FailNow ends the goroutine too.
func (t *T) FailNow() { t.TB.Helper(); t.fail("failed"); runtime.Goexit() }

// Failed says whether the attempt has failed.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures) > 0 || t.TB.Failed()
}
