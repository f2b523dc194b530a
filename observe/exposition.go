package observe

import (
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/internal/meter"
)

// chunkSize is how many bytes WriteText gathers before it writes.
const chunkSize = 32 << 10

// WriteText writes every metric in the Prometheus text format 0.0.4, sorted by
// name and labels. It is called by the admin listener for each scrape; the
// registry is not locked while w is written to. The error is that of w.
func (r *Registry) WriteText(w io.Writer) error {
	out := make([]byte, 0, chunkSize+4<<10)
	for _, f := range r.look() {
		if len(f.series) == 0 && f.collect == nil {
			continue
		}
		out = appendHead(out, &f.Metric)
		for _, s := range f.series {
			out = appendSeries(out, f.Name, s)
			if len(out) < chunkSize {
				continue
			}
			if _, err := w.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if f.collect != nil {
			out = appendCollected(out, f)
		}
	}
	_, err := w.Write(out)
	return err
}

// view is a family as it was at one moment.
type view struct {
	Metric
	series  []series
	collect func(emit func(value float64, labels ...string))
}

// look copies what is needed to write the families out without the lock.
func (r *Registry) look() []view {
	r.mu.Lock()
	defer r.mu.Unlock()
	views := make([]view, 0, len(r.families))
	for _, f := range r.families {
		if f.sorted == nil {
			f.sorted = make([]*series, 0, len(f.series))
			for _, s := range f.series {
				f.sorted = append(f.sorted, s)
			}
			slices.SortFunc(f.sorted, func(a, b *series) int { return strings.Compare(a.labels, b.labels) })
		}
		v := view{Metric: f.Metric, collect: f.collect, series: make([]series, len(f.sorted))}
		for i, s := range f.sorted {
			v.series[i] = *s
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b view) int { return strings.Compare(a.Name, b.Name) })
	return views
}

func appendHead(out []byte, m *Metric) []byte {
	out = append(out, "# HELP "...)
	out = append(out, m.Name...)
	out = append(out, ' ')
	out = appendEscaped(out, m.Help, false)
	out = append(out, "\n# TYPE "...)
	out = append(out, m.Name...)
	out = append(out, ' ')
	out = append(out, m.Kind...)
	return append(out, '\n')
}

func appendSeries(out []byte, name string, s series) []byte {
	switch {
	case s.counter != nil:
		out = appendName(out, name, "", s.labels, "")
		out = strconv.AppendInt(out, s.counter.Value(), 10)
	case s.gauge != nil:
		out = appendName(out, name, "", s.labels, "")
		out = strconv.AppendInt(out, s.gauge.Value(), 10)
	case s.histogram != nil:
		return appendHistogram(out, name, s)
	default:
		out = appendName(out, name, "", s.labels, "")
		out = appendNumber(out, s.read())
	}
	return append(out, '\n')
}

// appendHistogram writes the buckets, which are cumulative in the text format.
func appendHistogram(out []byte, name string, s series) []byte {
	counts, total, sum := s.histogram.Read()
	var seen int64
	var bound [32]byte
	for i, n := range counts {
		seen += n
		le := append(bound[:0], "+Inf"...)
		if i < meter.HistogramBuckets-1 {
			le = appendNumber(bound[:0], float64(s.histogram.Bound(i))/1e9)
		}
		out = appendName(out, name, "_bucket", s.labels, string(le))
		out = strconv.AppendInt(out, seen, 10)
		out = append(out, '\n')
	}
	out = appendName(out, name, "_sum", s.labels, "")
	out = appendNumber(out, float64(sum)/1e9)
	out = append(out, '\n')
	out = appendName(out, name, "_count", s.labels, "")
	out = strconv.AppendInt(out, total, 10)
	return append(out, '\n')
}

// appendCollected writes the series that a collector tells, no more than the
// metric's limit: what comes after is left out, as figures of different things
// cannot be added up here.
func appendCollected(out []byte, f view) []byte {
	type row struct {
		labels string
		value  float64
	}
	var rows []row
	f.collect(func(value float64, labels ...string) {
		if len(labels) == len(f.Labels) && len(rows) < f.Limit {
			rows = append(rows, row{labelText(f.Labels, labels), value})
		}
	})
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.labels, b.labels) })
	for _, r := range rows {
		out = appendName(out, f.Name, "", r.labels, "")
		out = appendNumber(out, r.value)
		out = append(out, '\n')
	}
	return out
}

// appendName writes everything that stands before a value, a space included.
func appendName(out []byte, name, suffix, labels, le string) []byte {
	out = append(out, name...)
	out = append(out, suffix...)
	if labels == "" && le == "" {
		return append(out, ' ')
	}
	out = append(out, '{')
	out = append(out, labels...)
	if le != "" {
		if labels != "" {
			out = append(out, ',')
		}
		out = append(out, `le="`...)
		out = append(out, le...)
		out = append(out, '"')
	}
	return append(out, "} "...)
}

// appendNumber writes a float the way the text format spells it.
func appendNumber(out []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(out, "+Inf"...)
	case math.IsInf(v, -1):
		return append(out, "-Inf"...)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}

// labelText is what stands between the braces.
func labelText(names, values []string) string {
	var out []byte
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, name...)
		out = append(out, `="`...)
		out = appendEscaped(out, strings.ToValidUTF8(values[i], "\uFFFD"), true)
		out = append(out, '"')
	}
	return string(out)
}

// appendEscaped escapes a help text, or a label's value, in which quotes are
// escaped too.
func appendEscaped(out []byte, s string, quotes bool) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			out = append(out, `\\`...)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '"' && quotes:
			out = append(out, `\"`...)
		default:
			out = append(out, c)
		}
	}
	return out
}
