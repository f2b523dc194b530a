package canary

import (
	"fmt"
	"math"
	"time"
)

// The confidence of verdicts, as one-sided normal quantiles, and what is never enough
// for one. Windows are many: each verdict must seldom be wrong.
const (
	// overLimit is 99 %: by so much it must be sure that the true share of failures, or of
	// slow answers, is above its limit (Wilson's lower bound).
	overLimit = 2.33
	// worse is 99.99 %: by so much the new side must be worse than the old one.
	worse = 3.7
	// materially is how many times the old side's share of failures the new one's must be at
	// least: of very many requests the smallest difference is a certain one.
	materially = 1.25
	// fewest is how many failures, or slow answers, a verdict needs at least.
	fewest = 5
	// slowShare is the share of requests that p99 speaks of.
	slowShare = 0.01
	// leastSlower is what makes no difference to anybody, whatever the factor is.
	leastSlower = time.Millisecond
)

// Known is what is remembered of a side: enough to compare with when it gets no requests.
type Known struct {
	Requests int64         `json:"requests"`
	Failed   int64         `json:"failed"`
	P99      time.Duration `json:"p99"`
}

// Rate is the share of failures.
func (k Known) Rate() float64 {
	if k.Requests == 0 {
		return 0
	}
	return float64(k.Failed) / float64(k.Requests)
}

// Known is the sample in short.
func (s *Sample) Known() Known { return Known{s.Requests, s.Failed, s.P99()} }

// finding is what a guard says of a sample.
type finding uint8

const (
	unsuspicious finding = iota
	shared               // over the limit, and so is the old side: not the new one's fault
	bad
)

// judgeFailures compares how often the new side has failed with its limit, and with the old
// side, of which nothing may be known (no requests).
func (g *Guard) judgeFailures(sample *Sample, old Known) (finding, string) {
	limit := float64(g.ErrorRate) / float64(Whole)
	if g.ErrorRate >= Whole || sample.Failed < fewest || lowerBound(sample.Failed, sample.Requests, overLimit) <= limit {
		return unsuspicious, ""
	}
	text := fmt.Sprintf("%d of %d requests failed (%s), over the limit of %s", sample.Failed, sample.Requests,
		rounded(float64(sample.Failed)/float64(sample.Requests)), percent(limit))
	if old.Requests > 0 {
		text += fmt.Sprintf("; of the old side %d of %d (%s)", old.Failed, old.Requests, rounded(old.Rate()))
	}
	if g.Compare && old.Requests > 0 && !exceeds(sample.Failed, sample.Requests, old.Failed, old.Requests, worse) {
		return shared, text
	}
	return bad, text
}

// judgeLatency counts the answers that take longer than the old side's p99 may become: are
// they certainly more than one of a hundred, the new side's p99 is above that. Each part of the
// sample must be slow as well. It returns the reason, or "".
func (g *Guard) judgeLatency(sample *Sample, old Known, parts ...*Sample) string {
	n := sample.timed()
	if g.Slower == 0 || old.P99 == 0 || n < g.MinimumRequests || old.Requests < g.MinimumRequests {
		return ""
	}
	limit := max(time.Duration(float64(old.P99)*g.Slower), old.P99+leastSlower)
	slow := sample.Slower(limit)
	if slow < fewest || lowerBound(slow, n, overLimit) <= slowShare {
		return ""
	}
	for _, part := range parts {
		if float64(part.Slower(limit)) <= slowShare*float64(part.timed()) {
			return ""
		}
	}
	return fmt.Sprintf("p99 is %s, over %s, which is %s times the old side's %s",
		shown(sample.P99()), shown(limit), trimmed(limit.Seconds()/old.P99.Seconds()), shown(old.P99))
}

// lowerBound is the lower end of Wilson's score interval for a share of which n of total
// were seen: the true share is above it, with the confidence of z.
func lowerBound(n, total int64, z float64) float64 {
	if total == 0 {
		return 0
	}
	t := float64(total)
	p := float64(n) / t
	square := z * z / t
	return (p + square/2 - z*math.Sqrt(p*(1-p)/t+square/(4*t))) / (1 + square)
}

// exceeds says whether a share of n of total is materially above m of others, with the
// confidence of z: the test of two proportions, pooled.
func exceeds(n, total, m, others int64, z float64) bool {
	if total == 0 || others == 0 {
		return false
	}
	a, b := float64(n)/float64(total), float64(m)/float64(others)
	if a <= b*materially {
		return false
	}
	pooled := float64(n+m) / float64(total+others)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/float64(total) + 1/float64(others)))
	return a-b > z*deviation
}

// shown is a duration with three digits.
func shown(d time.Duration) string {
	for unit := time.Second; unit > time.Nanosecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

func trimmed(f float64) string { return fmt.Sprintf("%.3g", f) }
