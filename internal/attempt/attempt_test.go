package attempt

import (
	"slices"
	"testing"
	"time"
)

// recorder is a test that is watched.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Error(args ...any) { r.failures = append(r.failures, args[0].(string)) }
func (r *recorder) Failed() bool      { return len(r.failures) > 0 }
func (r *recorder) FailNow()          {}

func TestRun(t *testing.T) {
	t.Parallel()
	const never, always = time.Hour, 0
	for name, c := range map[string]struct {
		limit time.Duration
		try   func(t *T, n int)
		times int
		want  []string
	}{
		"nothing fails":         {always, func(*T, int) {}, 1, nil},
		"in time":               {never, func(t *T, _ int) { t.Errorf("no %d", 1); t.Fatalf("no %d", 2) }, 1, []string{"no 1", "no 2"}},
		"too late, once":        {always, failOnce, 2, nil},
		"too late, always":      {always, func(t *T, _ int) { t.Errorf("no") }, attempts, []string{"no"}},
		"a step that was late":  {never, func(t *T, n int) { t.Within(always); t.Within(never); failOnce(t, n) }, 2, nil},
		"the end ends the test": {never, func(t *T, _ int) { t.FailNow(); t.Errorf("not reached") }, 1, []string{"failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, times := &recorder{TB: t}, 0
			Run(r, c.limit, func(t *T) {
				times++
				c.try(t, times)
			})
			if times != c.times || !slices.Equal(r.failures, c.want) {
				t.Errorf("%d times, failures %q", times, r.failures)
			}
		})
	}
}

func failOnce(t *T, n int) {
	if n == 1 {
		t.Fatalf("no")
	}
}

// What fails behind an attempt, as in a Cleanup, is nobody's fault but the product's.
func TestBehindTheEnd(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	var last *T
	Run(r, 0, func(t *T) { last = t })
	last.Errorf("left")
	if !slices.Equal(r.failures, []string{"left"}) || !last.Failed() {
		t.Errorf("failures %q", r.failures)
	}
}
