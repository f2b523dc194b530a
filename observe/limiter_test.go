package observe

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLogLimiter(t *testing.T) {
	t.Parallel()
	var l LogLimiter
	const ms = int64(time.Millisecond)
	for i, step := range []struct {
		kind       string
		at         int64
		suppressed int64
		ok         bool
	}{
		{"a", -5 * ms, 0, true},
		{"a", 0, 0, false},
		{"b", 0, 0, true},
		{"a", 994 * ms, 0, false},
		{"a", 995 * ms, 2, true},
		{"a", 996 * ms, 0, false},
		{"b", 999 * ms, 0, false},
		{"b", 1000 * ms, 1, true},
		{"b", 3000 * ms, 0, true},
		{"a", 9000 * ms, 1, true},
	} {
		if n, ok := l.Allow(step.kind, step.at); n != step.suppressed || ok != step.ok {
			t.Errorf("step %d: %d %v, want %d %v", i, n, ok, step.suppressed, step.ok)
		}
	}
}

func TestLogLimiterIsBounded(t *testing.T) {
	t.Parallel()
	var l LogLimiter
	allowed := 0
	for i := range 2 * maxLogKinds {
		if _, ok := l.Allow(fmt.Sprint(i), 0); ok {
			allowed++
		}
	}
	if allowed != maxLogKinds+1 || len(l.kinds) != maxLogKinds+1 {
		t.Errorf("%d lines of %d kinds", allowed, len(l.kinds))
	}
}

func TestLogLimiterIsShared(t *testing.T) {
	t.Parallel()
	var l LogLimiter
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if _, ok := l.Allow("a", 1); ok {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if allowed.Load() != 1 {
		t.Errorf("%d lines were let through", allowed.Load())
	}
}
