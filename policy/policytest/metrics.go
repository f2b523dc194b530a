package policytest

import (
	"slices"
	"strings"
	"sync"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/policy"
)

// Metrics keeps the counters that policies ask for.
type Metrics struct {
	mu       sync.Mutex
	counters map[string]*meter.Counter
}

// Counter implements policy.Metrics.
func (m *Metrics) Counter(name, _ string, labels ...policy.Label) *meter.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counters == nil {
		m.counters = map[string]*meter.Counter{}
	}
	key := name
	for _, l := range labels {
		key += "," + l.Name + "=" + l.Value
	}
	c := m.counters[key]
	if c == nil {
		c = &meter.Counter{}
		m.counters[key] = c
	}
	return c
}

// Value is a counter's value: "name" or "name,label=value,label=value". It is -1 where
// nobody asked for that counter.
func (m *Metrics) Value(key string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.counters[key]; c != nil {
		return c.Value()
	}
	return -1
}

// Names are the names of all counters, without labels, sorted.
func (m *Metrics) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for key := range m.counters {
		name, _, _ := strings.Cut(key, ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
