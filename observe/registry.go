// Package observe counts and writes down what passes through the gateway: the
// registry of metrics and its text form, the handles that a route, an upstream
// or a listener counts with, and the access log.
//
// Handles are resolved while a configuration is compiled; at run time a count is
// one atomic add. No policy and no wire knows how the figures leave the process.
package observe

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/policy"
)

// DefaultLimit is how many label sets one metric may have. What comes after is
// counted together, under Other.
const DefaultLimit = 1000

// Other is the value of every label of the series in which a metric counts what is
// past its limit. A route that is called like this shares that series.
const Other = "other"

// Kind is what a metric is, in the words of the text format.
type Kind string

const (
	KindCounter   Kind = "counter"
	KindGauge     Kind = "gauge"
	KindHistogram Kind = "histogram"
)

// Metric describes one family of series.
type Metric struct {
	Name   string
	Help   string
	Kind   Kind
	Labels []string
	// Limit is the number of label sets; 0 is DefaultLimit.
	Limit int
	// Smallest is the bound of a histogram's first bucket; each of the following
	// 16 is twice as large.
	Smallest time.Duration
}

// Registry holds all metrics of a process; it is the policy.Metrics that policies
// count with. Its methods may be called by many
// goroutines; those that resolve a handle take a lock and belong off the request
// path.
//
// A name that does not fit the text format, or that is used again with another
// kind or other labels, is a mistake in the code that asks and panics.
type Registry struct {
	mu       sync.Mutex
	families map[string]*family
}

// family is one metric with its series, guarded by the registry's lock.
type family struct {
	Metric
	series  map[string]*series
	sorted  []*series // nil where a series was added or taken away since
	collect func(emit func(value float64, labels ...string))
}

// series is one label set. Exactly one of the last four is set.
type series struct {
	labels    string // as they stand between the braces; the key and the order
	counter   *meter.Counter
	gauge     *meter.Gauge
	histogram *meter.Histogram
	read      func() float64
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{families: map[string]*family{}} }

// Counter returns the counter with this name and these labels, and makes it if
// there is none: who asks again after a reload goes on counting. Past DefaultLimit
// label sets it returns the one whose labels are all Other.
func (r *Registry) Counter(name, help string, labels ...policy.Label) *meter.Counter {
	names, values := split(labels)
	return r.counter(&Metric{Name: name, Help: help, Kind: KindCounter, Labels: names}, values...)
}

// Gauge is like Counter, for a figure that goes up and down.
func (r *Registry) Gauge(name, help string, labels ...policy.Label) *meter.Gauge {
	names, values := split(labels)
	return r.gauge(&Metric{Name: name, Help: help, Kind: KindGauge, Labels: names}, values...)
}

// Histogram is like Counter, for durations; smallest is the bound of the first
// bucket. A histogram takes 10 KiB.
func (r *Registry) Histogram(name, help string, smallest time.Duration, labels ...policy.Label) *meter.Histogram {
	names, values := split(labels)
	return r.histogram(&Metric{Name: name, Help: help, Kind: KindHistogram, Labels: names, Smallest: smallest}, values...)
}

// GaugeFunc makes a gauge that is read when somebody looks: read is called on the
// goroutine that writes the metrics out. Asking again replaces read.
func (r *Registry) GaugeFunc(name, help string, read func() float64, labels ...policy.Label) {
	names, values := split(labels)
	r.reader(&Metric{Name: name, Help: help, Kind: KindGauge, Labels: names}, read, values...)
}

func split(labels []policy.Label) (names, values []string) {
	for _, l := range labels {
		names, values = append(names, l.Name), append(values, l.Value)
	}
	return names, values
}

func (r *Registry) counter(m *Metric, values ...string) *meter.Counter {
	return r.resolve(m, values, func() *series { return &series{counter: new(meter.Counter)} }).counter
}

func (r *Registry) gauge(m *Metric, values ...string) *meter.Gauge {
	return r.resolve(m, values, func() *series { return &series{gauge: new(meter.Gauge)} }).gauge
}

func (r *Registry) histogram(m *Metric, values ...string) *meter.Histogram {
	return r.resolve(m, values, func() *series {
		return &series{histogram: meter.NewHistogram(int64(m.Smallest))}
	}).histogram
}

func (r *Registry) reader(m *Metric, read func() float64, values ...string) {
	s := r.resolve(m, values, func() *series { return &series{read: read} })
	r.mu.Lock()
	s.read = read
	r.mu.Unlock()
}

// collector makes a metric whose series are told when somebody looks; emit takes
// one value for each label. Emitting one label set twice makes the output invalid.
// Asking again replaces collect.
func (r *Registry) collector(m *Metric, collect func(emit func(value float64, labels ...string))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.family(m).collect = collect
}

// resolve finds or makes a series.
func (r *Registry) resolve(m *Metric, values []string, create func() *series) *series {
	if len(values) != len(m.Labels) {
		panic(fmt.Sprintf("observe: %s has %d labels and was given %d values", m.Name, len(m.Labels), len(values)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.family(m)
	text := labelText(f.Labels, values)
	if s, ok := f.series[text]; ok {
		return s
	}
	if len(f.series) >= f.Limit {
		values = slices.Repeat([]string{Other}, len(values))
		text = labelText(f.Labels, values)
		if s, ok := f.series[text]; ok {
			return s
		}
	}
	s := create()
	s.labels = text
	f.series[text], f.sorted = s, nil
	return s
}

// remove forgets one series. Handles to it go on working and are not shown.
func (r *Registry) remove(m *Metric, values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.family(m)
	delete(f.series, labelText(f.Labels, values))
	f.sorted = nil
}

// family finds or makes a family; the lock is held.
func (r *Registry) family(m *Metric) *family {
	if f, ok := r.families[m.Name]; ok {
		if f.Kind != m.Kind || f.Smallest != m.Smallest || !slices.Equal(f.Labels, m.Labels) {
			panic(fmt.Sprintf("observe: %s is a %s with the labels %q and was asked for as a %s with the labels %q",
				m.Name, f.Kind, f.Labels, m.Kind, m.Labels))
		}
		return f
	}
	if !validName(m.Name, true) {
		panic(fmt.Sprintf("observe: %q is no name for a metric", m.Name))
	}
	for _, label := range m.Labels {
		if !validName(label, false) || strings.HasPrefix(label, "__") || label == "le" {
			panic(fmt.Sprintf("observe: %q is no name for a label of %s", label, m.Name))
		}
	}
	f := &family{Metric: *m, series: map[string]*series{}}
	f.Labels = slices.Clone(m.Labels)
	if f.Limit == 0 {
		f.Limit = DefaultLimit
	}
	r.families[m.Name] = f
	return f
}

// validName checks a name against the text format; only those of metrics may
// have a colon.
func validName(name string, colon bool) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':' && colon:
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return len(name) > 0
}
