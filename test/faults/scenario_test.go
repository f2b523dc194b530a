package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// short is a scenario's pace here: whether bars are met is not asked, because a machine
// that does much else misses some of them.
func short() Pace { return Pace{Rate: 40, Step: 600 * time.Millisecond} }

// each is what must hold in every scenario, however busy the machine is.
func each(r *Report) error {
	s := &r.Seen
	answers := 0
	for _, n := range s.Answers {
		answers += n
	}
	switch {
	case s.Requests == 0:
		return fmt.Errorf("nobody asked")
	case answers != s.Requests || s.Good() != len(s.Latencies) || len(s.Late) != s.Requests:
		return fmt.Errorf("%d requests, %d answers, %d good ones, %d latencies", s.Requests, answers, s.Good(), len(s.Latencies))
	}
	return nil
}

// served says that many requests went well.
func served(r *Report) error {
	if r.Seen.FailedShare() > 0.6 {
		return fmt.Errorf("%d of %d failed: %v", r.Seen.Failed, r.Seen.Requests, r.Seen.Answers)
	}
	return nil
}

// some says that there were requests that went well: where tries have little time, more cannot be
// asked of a machine that stands still now and then.
func some(r *Report) error {
	if r.Seen.Good() == 0 {
		return fmt.Errorf("all %d failed: %v", r.Seen.Failed, r.Seen.Answers)
	}
	return nil
}

// only says that there were no other failures than these.
func only(answers ...string) func(*Report) error {
	return func(r *Report) error {
		failed := 0
		for _, a := range answers {
			failed += r.Seen.Answers[a]
		}
		if failed == 0 || failed != r.Seen.Failed {
			return fmt.Errorf("answers are %v; wanted some of %q and no other failure", r.Seen.Answers, answers)
		}
		return nil
	}
}

// times bounds what ill origins got, in times of what was asked.
func times(least, most float64) func(*Report) error {
	return func(r *Report) error {
		if got := share(r.Ill, int64(r.Seen.Requests)); got < least || got > most {
			return fmt.Errorf("ill origins got %d for %d requests: %.2f times, wanted from %.2f to %.2f", r.Ill, r.Seen.Requests, got, least, most)
		}
		return nil
	}
}

// first says that the first bars are met: those that hold on a busy machine too.
func first(bars int) func(*Report) error {
	return func(r *Report) error {
		for _, b := range r.Bars[:bars] {
			if !b.Met {
				return fmt.Errorf("wanted %s: %s", b.Want, b.Have)
			}
		}
		return nil
	}
}

// noProblem says that the gateway has answered whatever it answered well: clients that do not wait for a
// busy machine are nobody's fault.
func noProblem(r *Report) error {
	if a := r.Seen.Answers; a["200"]+a["none"] != r.Seen.Requests {
		return fmt.Errorf("answers are %v", a)
	}
	return nil
}

// played is what came of a scenario.
type played struct {
	report Report
	err    error
}

// atOneTime is how many scenarios are played beside each other: they mostly wait, but each has a
// gateway and origins of its own.
const atOneTime = 6

// TestScenarios plays each of them for a moment.
func TestScenarios(t *testing.T) {
	t.Parallel()
	checks := map[string][]func(*Report) error{
		"one of three answers 500":                        {served, times(0, 0.7)},
		"one of three answers 500, checks say it is well": {served, times(0, 0.7)},
		"one of three is down":                            {served},
		"one of three dies with much under way":           {served},
		"one of three stalls":                             {some},
		"one of three stalls, requests are hedged":        {some, times(0, 0.7)},
		"one of three resets":                             {served, times(0, 0.7)},
		"one of three answers garbage":                    {served, times(0, 0.7)},
		"one of three closes after 10 requests":           {served},
		"all answer 500":                                  {only("500"), times(1, 2)},
		"one of three flaps each second":                  {served},
		"one of three is ill, a breaker alone":            {served, times(0, 0.7)},
		"all are ill, a breaker of the upstream":          {only("500", "503 upstream_breaker_open"), times(0, 1)},
		"a region is lost":                                {served},
		"a member of a group is lost":                     {noProblem, served},
		"bursting: more than the first member bears":      {first(2)},
		"an upstream fails, with a fallback":              {noProblem},
		"the second upstream of a mirror stalls":          {noProblem},
		"endpoints come and go by DNS":                    {served},
		"a canary fails":                                  {served, times(0, 0.5)},
		"a canary is slower":                              {served},
		"overload at 3x, no limit":                        {},
		"overload at 3x, adaptive":                        {},
		"retry storm, budget of 20%":                      {only("503"), times(1, 2)},
		"retry storm, as good as no budget":               {only("503"), times(2.5, 4)},
		"rolling restart of the origins":                  {served},
	}
	reports := map[string]chan played{}
	turns := make(chan struct{}, atOneTime)
	for _, s := range slices.Backward(Scenarios()) { // The longest stand last.
		done := make(chan played, 1)
		reports[s.Name] = done
		go func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			r, err := s.Run(short())
			done <- played{r, err}
		}()
	}
	for _, s := range Scenarios() {
		holds, known := checks[s.Name]
		if !known {
			t.Errorf("nothing is said of %q", s.Name)
		}
		t.Run(s.Name, func(t *testing.T) {
			p := <-reports[s.Name]
			if p.err != nil {
				t.Fatal(p.err)
			}
			t.Log(p.report.Line())
			for _, check := range append(holds, each) {
				if err := check(&p.report); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
