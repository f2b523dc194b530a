//go:build linux

package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("%v: %v, want %v", test.values, got, test.want)
		}
	}
	values := []time.Duration{3, 1, 2}
	if got := median(values); got != 2 || values[0] != 3 {
		t.Errorf("%v of %v", got, values)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, test := range []struct {
		values []int
		p      float64
		want   int
	}{
		{nil, 99, 0}, {[]int{7}, 99, 7}, {[]int{7}, 0, 7}, {hundred, 50, 50}, {hundred, 99, 99}, {hundred, 99.5, 100}, {hundred, 100, 100}, {[]int{1, 2, 3}, 50, 2},
	} {
		if got := percentile(test.values, test.p); got != test.want {
			t.Errorf("p%v of %d values: %d, want %d", test.p, len(test.values), got, test.want)
		}
	}
}

func TestMedianRatio(t *testing.T) {
	t.Parallel()
	// In the second round the machine was four times slower, for both.
	if got := medianRatio([]float64{12, 48, 13}, []float64{10, 40, 10}); got != 1.2 {
		t.Errorf("%v, want 1.2", got)
	}
	if got := medianRatio([]float64{1, 2}, []float64{0, 4}); got != 0.5 {
		t.Errorf("a round without a base: %v, want 0.5", got)
	}
}

func TestExtraCPU(t *testing.T) {
	t.Parallel()
	quiet := []stretch{{cpu: time.Second, took: 10 * time.Second}}
	reloading := []stretch{{cpu: 3 * time.Second, took: 20 * time.Second, applied: make([]time.Duration, 5)}}
	if got := extraCPU(quiet, reloading).Round(time.Millisecond); got != 200*time.Millisecond {
		t.Errorf("%v, want 200ms", got)
	}
	if got := extraCPU(quiet, quiet); got != 0 {
		t.Errorf("no changes: %v", got)
	}
}
