//go:build linux

package main

import "fmt"

// manyRoutes compares a Sluice that has ten routes with one that has very many, asked
// for all of them at random.
func (b *bench) manyRoutes() (section, error) {
	s := section{
		title: fmt.Sprintf("10 routes and %d, asked for at random", b.options.routes),
		head:  []string{"", "CPU µs/request", "ratio to 10 routes", "requests/s", "p50 ms", "p99 ms", "errors"},
	}
	few, err := b.startRoutes("routes-few", 10)
	if err != nil {
		return s, err
	}
	many, err := b.startRoutes("routes-many", b.options.routes)
	if err != nil {
		return s, err
	}
	few.name, many.name = "10 routes", fmt.Sprintf("%d routes", b.options.routes)
	all := []*contender{few, many}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		s.rows = append(s.rows, compareRow(c, few))
	}
	s.configs = []namedConfig{{many.name, many.config}}
	ratio := medianRatio(many.cpu(), few.cpu())
	s.judge(ratio <= 1.1, "at most 1.1 × the cost with 10 routes", "%.2f", ratio)
	s.noErrors(few, many)
	return s, nil
}
