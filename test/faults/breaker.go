package faults

import (
	"context"
	"time"
)

// Breakers that open soon and probe often, so that a scenario is short.
const (
	endpointBreaker = `
retry: { attempts: 2, on: [connect_failure, reset, 5xx] }
breaker: { scope: endpoint, failure_share: 20%, window: 1s, minimum_requests: 10, open: 200ms, max_open: 400ms }
`
	upstreamBreaker = `
retry: { attempts: 0 }
breaker: { scope: upstream, failure_share: 50%, window: 1s, minimum_requests: 10, open: 200ms, max_open: 400ms }
`
)

// oneBroken has nothing but the breaker of each endpoint: it must find out who is
// ill, probe, and let it back.
func oneBroken(p Pace) (Report, error) {
	s, err := NewStage(3, 0, endpointBreaker)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	ill := s.Origins[0]
	var open, again int64
	var back bool
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step / 2)
		ill.Behave(Behaviour{Status: 500})
		time.Sleep(p.Step / 2)
		before := ill.Counts().Ill
		time.Sleep(p.Step / 2)
		open = ill.Counts().Ill - before
		_, back = ill.Recover(unseen)
		time.Sleep(time.Second) // For the probes that close it.
		before = ill.Counts().Requests
		time.Sleep(p.Step / 2)
		again = ill.Counts().Requests - before
		return nil
	})
	r.Ill = ill.Counts().Ill
	r.bar(r.Seen.FailedShare() <= 0.001, "at most 0.1 % fail", "%.2f %%", 100*r.Seen.FailedShare())
	// One probe for each open time, of which the longest is 0.4 s, and those under way.
	most := 2 + int64(p.Step/2/(200*time.Millisecond))
	r.bar(open <= most, "while it is open it gets nothing but probes", "%d of %d", open, most)
	least := int64(float64(p.Rate) * (p.Step / 2).Seconds() / 6)
	r.bar(back && again >= least, "half its share at least, a second after its recovery", "%d of %d", again, least)
	return r, err
}

// allBroken has an upstream that is ill as a whole: clients are told at once, and the
// origins are left alone.
func allBroken(p Pace) (Report, error) {
	s, err := NewStage(3, 0, upstreamBreaker)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	s.behave(Behaviour{Status: 500})
	var r Report
	r.Seen = s.Load.Run(context.Background(), p.Rate, p.Step)
	r.Ill = s.Requests()
	refused := r.Seen.Answers["503 upstream_breaker_open"]
	r.bar(r.Seen.Answers["none"] == 0, "everybody gets an answer", "%d without", r.Seen.Answers["none"])
	r.bar(int64(refused)+r.Ill == int64(r.Seen.Requests), "who does not reach an origin is refused", "%d refused", refused)
	times := share(r.Ill, int64(r.Seen.Requests))
	r.bar(times <= 0.1, "origins get at most a tenth of what is offered", "%.0f %%", 100*times)
	s.behave(Behaviour{})
	s.Load.Run(context.Background(), p.Rate, time.Second) // For the probes that close it.
	after := s.Load.Run(context.Background(), p.Rate, p.Step/2)
	r.bar(after.Failed == 0, "all is well a second after the recovery", "%d of %d failed", after.Failed, after.Requests)
	return r, nil
}
