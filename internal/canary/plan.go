// Package canary decides how far a roll-out goes: from step to step while the new side
// does well, and back when it does not. It is a state machine and the statistics it
// judges with; it opens nothing, reads no clock, and is told what was measured.
package canary

import (
	"strconv"
	"strings"
	"time"
)

// Whole is the share of all requests. Shares are in millionths.
const Whole int32 = 1_000_000

// Plan is what a roll-out is to do.
type Plan struct {
	From, To string
	Steps    []int32 // rising shares of the new side
	// Every is how long a step lasts at least.
	Every time.Duration
	Guard Guard
}

// Guard is what must not happen to the new side.
type Guard struct {
	// Window is how often is judged.
	Window time.Duration
	// ErrorRate is the share of failures that is allowed, in millionths; Whole: any.
	ErrorRate int32
	// Compare says that the new side must also be worse than the old one.
	Compare bool
	// Slower is how many times the old side's p99 the new one's may be; 0: any.
	Slower float64
	// MinimumRequests is how many the new side must have had for a step to end, and for
	// latencies to be compared.
	MinimumRequests int64
}

// Identity tells roll-outs apart: with another one a roll-out begins anew.
func (p *Plan) Identity() string {
	shares := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		shares[i] = strconv.Itoa(int(s))
	}
	return p.From + " " + p.To + " " + strings.Join(shares, ",")
}

// last says whether a step is the last one.
func (p *Plan) last(step int) bool { return step >= len(p.Steps)-1 }

// Percent writes a share for people.
func Percent(share int32) string { return percent(float64(share) / float64(Whole)) }

// percent writes a fraction with no more digits than it needs, four behind the point at most.
func percent(fraction float64) string {
	text := strconv.FormatFloat(fraction*100, 'f', 4, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + "%"
}

// rounded is percent for what was measured: two digits behind the point.
func rounded(fraction float64) string {
	text := strconv.FormatFloat(fraction*100, 'f', 2, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + "%"
}
