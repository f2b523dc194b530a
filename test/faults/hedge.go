package faults

import (
	"context"
	"time"
)

// hedgeAfter is how long an answer may take before another endpoint is asked as well.
const hedgeAfter = 50 * time.Millisecond

// hedged has nothing that would find out who stalls: a second endpoint answers in its place,
// each time.
func hedged(p Pace) (Report, error) {
	s, err := NewStage(3, 0, `
timeouts: { try: 1s }
retry: { attempts: 1, on: [connect_failure, reset, timeout], hedge: { after: 50ms }, budget: 50% }
`)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	calm := s.Load.Run(context.Background(), p.Rate, p.Step)
	before := s.Requests()
	ill := s.Origins[0]
	ill.Behave(Behaviour{Stall: true})
	r.Seen = s.Load.Run(context.Background(), p.Rate, p.Step)
	r.Ill = ill.Counts().Ill
	longer := r.Seen.Quantile(0.99) - calm.Quantile(0.99)
	r.bar(r.Seen.FailedShare() <= 0.001, "at most 0.1 % fail", "%.2f %%", 100*r.Seen.FailedShare())
	r.bar(longer <= 2*hedgeAfter, "p99 at most 2x the time after which is hedged longer than before", "%s", milliseconds(longer))
	times := share(s.Requests()-before, int64(r.Seen.Requests))
	r.bar(times <= 1.5, "origins get no more than the budget allows", "%.2fx", times)
	return r, nil
}
