package observe

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// text is what a scrape of the registry gives.
func text(t *testing.T, r *Registry) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestExposition(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	r.Counter("b_total", "Counts b.\nWith a \\ and a \".", policy.Label{Name: "x", Value: "z"}).Add(0, 3)
	r.Counter("b_total", "", policy.Label{Name: "x", Value: "a\"\\\n\xff"}).Add(5, 4)
	r.Gauge("a", "Is a.").Set(-7)
	r.GaugeFunc("c", "Is c.", func() float64 { return 1 })
	r.GaugeFunc("c", "Is c.", func() float64 { return 0.25 })
	h := r.Histogram("d_seconds", "Lasts d.", time.Millisecond, policy.Label{Name: "r", Value: "q"})
	h.Observe(0, int64(time.Millisecond))
	h.Observe(1, int64(3*time.Millisecond))
	h.Observe(2, int64(time.Hour))
	want := `# HELP a Is a.
# TYPE a gauge
a -7
# HELP b_total Counts b.\nWith a \\ and a ".
# TYPE b_total counter
b_total{x="a\"\\\n` + "\uFFFD" + `"} 4
b_total{x="z"} 3
# HELP c Is c.
# TYPE c gauge
c 0.25
# HELP d_seconds Lasts d.
# TYPE d_seconds histogram
d_seconds_bucket{r="q",le="0.001"} 1
d_seconds_bucket{r="q",le="0.002"} 1
d_seconds_bucket{r="q",le="0.004"} 2
d_seconds_bucket{r="q",le="0.008"} 2
d_seconds_bucket{r="q",le="0.016"} 2
d_seconds_bucket{r="q",le="0.032"} 2
d_seconds_bucket{r="q",le="0.064"} 2
d_seconds_bucket{r="q",le="0.128"} 2
d_seconds_bucket{r="q",le="0.256"} 2
d_seconds_bucket{r="q",le="0.512"} 2
d_seconds_bucket{r="q",le="1.024"} 2
d_seconds_bucket{r="q",le="2.048"} 2
d_seconds_bucket{r="q",le="4.096"} 2
d_seconds_bucket{r="q",le="8.192"} 2
d_seconds_bucket{r="q",le="16.384"} 2
d_seconds_bucket{r="q",le="32.768"} 2
d_seconds_bucket{r="q",le="65.536"} 2
d_seconds_bucket{r="q",le="+Inf"} 3
d_seconds_sum{r="q"} 3600.004
d_seconds_count{r="q"} 3
`
	if got := text(t, r); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestSameHandle(t *testing.T) {
	t.Parallel()
	var r policy.Metrics = NewRegistry()
	a := r.Counter("x_total", "X.", policy.Label{Name: "k", Value: "a"})
	if a != r.Counter("x_total", "X.", policy.Label{Name: "k", Value: "a"}) {
		t.Error("asking twice returned two counters")
	}
	if a == r.Counter("x_total", "X.", policy.Label{Name: "k", Value: "b"}) {
		t.Error("two label sets share a counter")
	}
}

func TestLabelLimit(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	ask := func(i int) *meter.Counter {
		return r.Counter("x_total", "X.", policy.Label{Name: "k", Value: fmt.Sprint(i)}, policy.Label{Name: "l", Value: "v"})
	}
	for i := range DefaultLimit {
		ask(i).Add(0, 1)
	}
	if ask(DefaultLimit) != ask(DefaultLimit+1) {
		t.Error("past the limit there is more than one counter")
	}
	if ask(0) == ask(DefaultLimit) {
		t.Error("a counter from before the limit is lost")
	}
	for i := range 10_000 {
		ask(DefaultLimit+i).Add(0, 1)
	}
	got := text(t, r)
	if n := strings.Count(got, "x_total{"); n != DefaultLimit+1 {
		t.Errorf("%d series, want %d", n, DefaultLimit+1)
	}
	if want := `x_total{k="other",l="other"} 10000` + "\n"; !strings.Contains(got, want) {
		t.Errorf("%q is missing", want)
	}
}

func TestMistakesPanic(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(r *Registry){
		"kind":      func(r *Registry) { r.Gauge("x_total", "X.") },
		"labels":    func(r *Registry) { r.Counter("x_total", "X.", policy.Label{Name: "a"}) },
		"name":      func(r *Registry) { r.Counter("x-total", "X.") },
		"empty":     func(r *Registry) { r.Counter("", "X.") },
		"digit":     func(r *Registry) { r.Counter("1_total", "X.") },
		"label":     func(r *Registry) { r.Counter("y_total", "Y.", policy.Label{Name: "a:b"}) },
		"reserved":  func(r *Registry) { r.Counter("y_total", "Y.", policy.Label{Name: "__a"}) },
		"le":        func(r *Registry) { r.Counter("y_total", "Y.", policy.Label{Name: "le"}) },
		"histogram": func(r *Registry) { r.Histogram("d_seconds", "D.", time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewRegistry()
			r.Counter("x_total", "X.")
			r.Histogram("d_seconds", "D.", time.Millisecond)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			ask(r)
		})
	}
}

// A broken connection ends a scrape; nothing else does.
func TestWriteError(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	for i := range 1000 {
		r.Counter("x_total", "X.", policy.Label{Name: "k", Value: strings.Repeat("v", 100) + fmt.Sprint(i)})
	}
	broken := errors.New("broken")
	if err := r.WriteText(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestScrapeWhileResolving(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	g := NewGateway(r, "1.2.3", time.Now())
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 50 {
				name := fmt.Sprint(worker, "-", i)
				g.Route(name)
				g.Problem(uint32(worker), &message.Problem{Code: name})
				r.GaugeFunc("f", "F.", func() float64 { return 1 })
				g.Retain(func(string) bool { return i%2 == 0 }, nil, nil)
			}
		})
	}
	for range 20 {
		text(t, r)
	}
	all.Wait()
	if got := text(t, r); !strings.Contains(got, "\nf 1\n") {
		t.Error("the gauge function is missing")
	}
}

// promtool is in the Debian package prometheus.
func TestPromtool(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("promtool is not installed: it checks the metrics and comes with the Debian package prometheus (apt-get install prometheus): %v", err)
	}
	r := NewRegistry()
	fill(r)
	check := exec.Command(tool, "check", "metrics")
	check.Stdin = strings.NewReader(text(t, r))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
