package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/faults"
)

func playing(bars ...bool) func(faults.Pace) (faults.Report, error) {
	return func(faults.Pace) (faults.Report, error) {
		var r faults.Report
		for _, met := range bars {
			r.Bars = append(r.Bars, faults.Bar{Met: met, Want: "well", Have: "so"})
		}
		return r, nil
	}
}

func TestPlay(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	scenarios := []faults.Scenario{
		{Name: "good", Run: playing(true, true)},
		{Name: "bad", Run: playing(true, false)},
		{Name: "unjudged", Run: playing()},
		{Name: "stopped", Run: func(faults.Pace) (faults.Report, error) { return faults.Report{}, broken }},
	}
	for _, c := range []struct {
		only  string
		times int
		lines int
		err   error
	}{
		{"good", 1, 1, nil},
		{"good", 3, 3, nil},
		{"unjudged", 1, 1, nil},
		{"d", 1, 3, broken},
		{"bad", 2, 2, errMissed},
		{"nothing", 1, 0, errNone},
	} {
		var out strings.Builder
		r := report{&out, scenarios, c.only, c.times, faults.Pace{Rate: 100, Step: time.Second}}
		if err := r.play(); !errors.Is(err, c.err) {
			t.Errorf("%q: %v, wanted %v", c.only, err, c.err)
		}
		if got := strings.Count(out.String(), "\n"); got != c.lines {
			t.Errorf("%q: %d lines, wanted %d:\n%s", c.only, got, c.lines, out.String())
		}
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	good := faults.Pace{Rate: 100, Step: time.Second}
	for name, r := range map[string]report{
		"no rate":  {pace: faults.Pace{Step: time.Second}, times: 1},
		"too much": {pace: faults.Pace{Rate: 10001, Step: time.Second}, times: 1},
		"no step":  {pace: faults.Pace{Rate: 100}, times: 1},
		"never":    {pace: good},
	} {
		if err := r.run(); !errors.Is(err, errPace) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
