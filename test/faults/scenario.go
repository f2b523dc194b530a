package faults

import (
	"fmt"
	"strings"
	"time"
)

// Scenario is something that goes wrong.
type Scenario struct {
	Name string
	Run  func(p Pace) (Report, error)
}

// Pace is how hard and how long a scenario is played.
type Pace struct {
	Rate int           // requests a second
	Step time.Duration // the length of one part of a scenario
}

// Report is what came of a scenario.
type Report struct {
	Seen   Seen
	Ill    int64 // requests that the ill endpoints got while they were ill
	Late   int64 // those that came after Enough failures
	Bars   []Bar
	Detail string // what else is worth knowing
}

// Bar is what a scenario must reach.
type Bar struct {
	Met        bool
	Want, Have string
}

// bar adds a bar.
func (r *Report) bar(met bool, want, have string, values ...any) {
	r.Bars = append(r.Bars, Bar{met, want, fmt.Sprintf(have, values...)})
}

// leftAlone adds the bars of one ill endpoint beside good ones. Refused is how many connections to it were
// tried in vain: an origin that is down does not see them.
func (r *Report) leftAlone(ill *Origin, refused int64) {
	c := ill.Counts()
	r.Ill, r.Late = c.Ill+refused, c.Late+max(refused-Enough, 0)
	r.bar(r.Seen.FailedShare() <= 0.001, "at most 0.1 % fail", "%.2f %%", 100*r.Seen.FailedShare())
	r.bar(r.Late == 0, "no traffic after 10 failures", "%d", r.Late)
}

// Met says whether all bars are.
func (r *Report) Met() bool {
	for _, b := range r.Bars {
		if !b.Met {
			return false
		}
	}
	return true
}

// Line is the report in one line.
func (r *Report) Line() string {
	word := "met "
	switch {
	case len(r.Bars) == 0:
		word = "    "
	case !r.Met():
		word = "MISS"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %6d requests %6d failed (%.2f %%)  p50 %s  p99 %s  ill got %d", word, r.Seen.Requests, r.Seen.Failed,
		100*r.Seen.FailedShare(), milliseconds(r.Seen.Quantile(0.5)), milliseconds(r.Seen.Quantile(0.99)), r.Ill)
	for _, bar := range r.Bars {
		sign := ""
		if !bar.Met {
			sign = "NOT "
		}
		b.WriteString("; " + sign + bar.Want + ": " + bar.Have)
	}
	if r.Detail != "" {
		b.WriteString("; " + r.Detail)
	}
	if r.Seen.Failed > 0 {
		fmt.Fprintf(&b, "; answers %v", r.Seen.Answers)
	}
	if late := quantile(r.Seen.Late, 0.99); late > busy {
		fmt.Fprintf(&b, "; the machine is busy: one of 100 requests was sent %s late", milliseconds(late))
	}
	return b.String()
}

// busy is how late a machine that has time sends no request.
const busy = 20 * time.Millisecond

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// Scenarios are all of them, in the order in which they are reported.
func Scenarios() []Scenario {
	return []Scenario{
		{"one of three answers 500", oneIll(Behaviour{Status: 500})},
		{"one of three answers 500, checks say it is well", oneLies},
		{"one of three is down", oneDown},
		{"one of three dies with much under way", oneDies},
		{"one of three stalls", oneStalls},
		{"one of three stalls, requests are hedged", hedged},
		{"one of three resets", oneIll(Behaviour{Reset: true})},
		{"one of three answers garbage", oneIll(Behaviour{Garbage: true})},
		{"one of three closes after 10 requests", closing},
		{"all answer 500", allIll},
		{"one of three flaps each second", flapping},
		{"one of three is ill, a breaker alone", oneBroken},
		{"all are ill, a breaker of the upstream", allBroken},
		{"a region is lost", regionLost},
		{"a member of a group is lost", memberLost},
		{"bursting: more than the first member bears", bursting},
		{"an upstream fails, with a fallback", fallenBack},
		{"the second upstream of a mirror stalls", mirrorStalls},
		{"endpoints come and go by DNS", dnsChanges},
		{"a canary fails", badCanary(Behaviour{Status: 500})},
		{"a canary is slower", badCanary(Behaviour{Delay: sluggish})},
		{"overload at 3x, no limit", overload("")},
		{"overload at 3x, adaptive", overload("concurrency: adaptive")},
		{"retry storm, budget of 20%", storm("budget: 20%", true)},
		{"retry storm, as good as no budget", storm("budget_minimum: 10000", false)},
		{"rolling restart of the origins", rolling},
	}
}
