package requestid

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func hooks(t *testing.T, c Config) policy.Hooks {
	t.Helper()
	h, err := build(&c, &policy.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func request(fields ...string) *message.Exchange {
	x := &message.Exchange{}
	for i := 0; i < len(fields); i += 2 {
		x.Request.Header.Append(fields[i], fields[i+1])
	}
	return x
}

func isNew(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

func TestWhichIDs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", MaxAccepted)
	for _, c := range []struct {
		name   string
		accept bool
		fields []string
		kept   string // "" where a new one is expected
	}{
		{"none", false, nil, ""},
		{"brought along, not accepted", false, []string{"X-Request-Id", "mine"}, ""},
		{"brought along", true, []string{"x-request-id", "0198c0de-7a5b-7c3d-8e9f-001122334455"}, "0198c0de-7a5b-7c3d-8e9f-001122334455"},
		{"every character", true, []string{"X-Request-Id", "aZ09-_.~:/+="}, "aZ09-_.~:/+="},
		{"empty", true, []string{"X-Request-Id", ""}, ""},
		{"given twice", true, []string{"X-Request-Id", "a", "X-Request-ID", "b"}, ""},
		{"just short enough", true, []string{"X-Request-Id", long}, long},
		{"too long", true, []string{"X-Request-Id", long + "a"}, ""},
		{"a list", true, []string{"X-Request-Id", "a,b"}, ""},
		{"a quote", true, []string{"X-Request-Id", `a"b`}, ""},
		{"a space", true, []string{"X-Request-Id", "a b"}, ""},
		{"an escape", true, []string{"X-Request-Id", "a\x1b[31m"}, ""},
		{"not ASCII", true, []string{"X-Request-Id", "é"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := hooks(t, Config{Header: "X-Request-Id", Accept: c.accept, Answer: true})
			x := request(c.fields...)
			if v := h.OnRequest(x); v != message.Next {
				t.Fatalf("verdict %v", v)
			}
			id := x.Facts.RequestID
			if c.kept != "" && id != c.kept || c.kept == "" && !isNew(id) {
				t.Errorf("the id is %q", id)
			}
			if got := x.Request.Header.Get("X-Request-Id"); got != id || x.Request.Header.Count("X-Request-Id") != 1 {
				t.Errorf("the origin gets %q of %d", got, x.Request.Header.Count("X-Request-Id"))
			}
			x.Response.Header.Append("X-Request-Id", "the origin's")
			h.OnResponse(x)
			if got := x.Response.Header.Get("X-Request-Id"); got != id || x.Response.Header.Len() != 1 {
				t.Errorf("the client gets %q", got)
			}
		})
	}
}

func TestTwoPoliciesOneID(t *testing.T) {
	t.Parallel()
	x := request()
	hooks(t, Config{Header: "X-Request-Id", Answer: true}).OnRequest(x)
	first := x.Facts.RequestID
	hooks(t, Config{Header: "X-Correlation-Id", Answer: true}).OnRequest(x)
	if x.Facts.RequestID != first || x.Request.Header.Get("X-Correlation-Id") != first {
		t.Errorf("%q became %q", first, x.Facts.RequestID)
	}
}

func TestSilent(t *testing.T) {
	t.Parallel()
	if h := hooks(t, Config{Header: "X-Request-Id"}); h.OnResponse != nil {
		t.Error("with answer: false there is a response hook")
	}
}

func TestBadHeader(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "X Request", "X-Request-Id:", "host", "Content-length"} {
		if _, err := build(&Config{Header: name}, &policy.Env{}); err == nil || !strings.Contains(err.Error(), "header") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNewIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 10_000 {
		id := newID()
		if seen[id] || !isNew(id) {
			t.Fatalf("%q is no new id", id)
		}
		seen[id] = true
	}
}

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestAllocations(t *testing.T) {
	h := hooks(t, Config{Header: "X-Request-Id", Accept: true, Answer: true})
	x := request("X-Request-Id", "mine")
	run := func() {
		x.Facts.RequestID = ""
		h.OnRequest(x)
		h.OnResponse(x)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations where the id was brought along", n)
	}
	fresh := func() {
		x.Request.Header.Reset()
		run()
	}
	if n := testing.AllocsPerRun(100, fresh); n > 1 {
		t.Errorf("%v allocations for a new id, 1 is the budget", n)
	}
}

func FuzzAcceptable(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "\x00", `"`, "<script>", strings.Repeat("x", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if !acceptable(id) {
			return
		}
		if len(id) > MaxAccepted || strings.ContainsAny(id, " \t\r\n\"'\\<>&,;{}%$`") || message.CleanValue(id) != id {
			t.Errorf("%q is accepted", id)
		}
	})
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = newID()
	}
}
