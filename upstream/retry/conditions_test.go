package retry

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func compile(t *testing.T, list ...string) Conditions {
	t.Helper()
	c, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	c := compile(t, "429", "5xx", "grpc:unavailable", "grpc:aborted")
	for status := -1; status < 700; status++ {
		if got, want := c.Status(status), status == 429 || status/100 == 5; got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	for status := -1; status < 40; status++ {
		if got, want := c.GRPC(status), status == 14 || status == 10; got != want {
			t.Errorf("gRPC %d: %v", status, got)
		}
	}
	var none Conditions
	if !none.Empty() || c.Empty() || none.HasGRPC() || !c.HasGRPC() || none.Status(503) {
		t.Error("the empty list")
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"", "200", "399", "600", "3xx", "6xx", "5XX", "connect-failure", "grpc:", "grpc:ok", "grpc:UNAVAILABLE", "grpc:14", "5003", "-500", "1e3"} {
		if _, err := Compile([]string{"503", entry}); err == nil {
			t.Errorf("%q is taken", entry)
		} else if !strings.HasPrefix(err.Error(), "retry: ") {
			t.Error(err)
		}
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	all := compile(t, "connect_failure", "reset", "timeout", "503", "grpc:unavailable")
	for _, c := range []struct {
		name string
		try  Try
		want bool
	}{
		{"connect failed", Try{Outcome: ConnectFailure, Whole: true}, true},
		{"connect failed, the body is gone", Try{Outcome: ConnectFailure}, false},
		{"reset before a byte was sent", Try{Outcome: Reset, Whole: true}, true},
		{"reset of POST", Try{Outcome: Reset, Sent: true, Whole: true}, false},
		{"reset of GET", Try{Outcome: Reset, Sent: true, Repeatable: true, Whole: true}, true},
		{"reset of GET within the answer", Try{Outcome: Reset, Sent: true, Began: true, Repeatable: true, Whole: true}, false},
		{"reset of PUT whose body streamed", Try{Outcome: Reset, Sent: true, Repeatable: true}, false},
		{"timeout of POST", Try{Outcome: Timeout, Sent: true, Whole: true}, false},
		{"timeout of GET", Try{Outcome: Timeout, Sent: true, Repeatable: true, Whole: true}, true},
		{"503 of GET", Try{Status: 503, GRPC: NoGRPC, Sent: true, Repeatable: true, Whole: true}, true},
		{"503 of POST", Try{Status: 503, GRPC: NoGRPC, Sent: true, Whole: true}, false},
		{"500 of GET", Try{Status: 500, GRPC: NoGRPC, Sent: true, Repeatable: true, Whole: true}, false},
		{"200 of GET", Try{Status: 200, GRPC: NoGRPC, Sent: true, Repeatable: true, Whole: true}, false},
		{"503 after a byte to the client", Try{Status: 503, GRPC: NoGRPC, Repeatable: true, Whole: true, Committed: true}, false},
		{"gRPC unavailable", Try{Status: 200, GRPC: 14, Sent: true, Whole: true}, true},
		{"gRPC unavailable, streamed", Try{Status: 200, GRPC: 14, Sent: true}, false},
		{"gRPC ok", Try{Status: 200, GRPC: 0, Sent: true, Whole: true}, false},
		{"gRPC internal", Try{Status: 200, GRPC: 13, Sent: true, Whole: true}, false},
	} {
		if got := all.Wants(&c.try); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Whatever the list says, these never happen.
func TestWantsIsSafe(t *testing.T) {
	t.Parallel()
	list := []string{"connect_failure", "reset", "timeout", "5xx", "4xx", "grpc:unavailable"}
	for subset := range 1 << len(list) {
		var some []string
		for i, entry := range list {
			if subset&(1<<i) != 0 {
				some = append(some, entry)
			}
		}
		c := compile(t, some...)
		for bits := range 1 << 5 {
			for _, outcome := range []Outcome{Answered, ConnectFailure, Reset, Timeout} {
				try := Try{
					Outcome: outcome, Status: 503, GRPC: NoGRPC,
					Sent: bits&1 != 0, Began: bits&2 != 0, Committed: bits&4 != 0, Repeatable: bits&8 != 0, Whole: bits&16 != 0,
				}
				wants := c.Wants(&try)
				if wants && (try.Committed || !try.Whole || len(some) == 0) {
					t.Errorf("%v wants %+v", some, try)
				}
				if wants && outcome != Answered && try.Sent && !try.Repeatable {
					t.Errorf("%v repeats what may have been done: %+v", some, try)
				}
				if wants && outcome == Timeout && !slices.Contains(some, "timeout") {
					t.Errorf("%v wants a timeout", some)
				}
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"503", "5xx", "grpc:unavailable", "reset", "399"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		c, err := Compile([]string{entry})
		if (err != nil) != c.Empty() {
			t.Errorf("%q: %v, %+v", entry, err, c)
		}
		if status, bad := strconv.Atoi(entry); bad == nil && err == nil && !c.Status(status) {
			t.Errorf("%q does not match itself", entry)
		}
	})
}

func BenchmarkWants(b *testing.B) {
	c, err := Compile([]string{"connect_failure", "503"})
	if err != nil {
		b.Fatal(err)
	}
	try := Try{Status: 200, GRPC: NoGRPC, Sent: true, Repeatable: true, Whole: true}
	for b.Loop() {
		c.Wants(&try)
	}
}
