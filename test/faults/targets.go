package faults

import (
	"fmt"
	"time"
)

// newTargetStage has two upstreams, each of one origin and with these timeouts, and one route
// with a target.
func newTargetStage(timeouts, target string) (*Stage, error) {
	origins, err := newOrigins(2, 0)
	if err != nil {
		return nil, err
	}
	const settings = "endpoints: [\"http://%s\"]\ntimeouts: { %s }\n"
	return startStage(origins, upstream("first", fmt.Sprintf(settings, origins[0].Address, timeouts))+
		anotherUpstream("second", fmt.Sprintf(settings, origins[1].Address, timeouts))+
		"routes:\n  - name: all\n    match: { path: /** }\n    "+target+"\n")
}

// fallenBack has an upstream that fails in one way after the other, and a fallback.
func fallenBack(p Pace) (Report, error) {
	s, err := newTargetStage("try: 1s", "fallback: { upstream: first, to: { upstream: second } }")
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	ill, spare := s.Origins[0], s.Origins[1]
	var r Report
	var before, during, after int64
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step / 2)
		before = spare.Counts().Requests
		for _, b := range []Behaviour{{Status: 503}, {Stall: true}, {Garbage: true}} {
			ill.Behave(b)
			time.Sleep(p.Step / 2)
		}
		ill.Down()
		time.Sleep(p.Step / 2)
		during = spare.Counts().Requests - before
		ill.Behave(Behaviour{})
		if err := ill.Up(); err != nil {
			return err
		}
		time.Sleep(p.Step / 2) // What was on its way.
		after = spare.Counts().Requests
		time.Sleep(p.Step / 2)
		after = spare.Counts().Requests - after
		return nil
	})
	r.Ill = ill.Counts().Ill
	r.bar(before == 0 && during > 0, "the second gets requests only then", "%d before, %d then", before, during)
	r.bar(after == 0, "and none after the recovery", "%d", after)
	r.bar(r.Seen.Failed == 0, "no failed request", "%d", r.Seen.Failed)
	return r, err
}

// mirrorStalls has a mirror whose second upstream stops answering.
func mirrorStalls(p Pace) (Report, error) {
	const most = 5
	s, err := newTargetStage("response: 1h", fmt.Sprintf("mirror: { upstream: first, to: second, concurrency: %d, timeout: 10m, compare: {} }", most))
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	second := s.Origins[1]
	var r Report
	var copies, stalled int64
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step)
		copies = second.Counts().Requests
		second.Behave(Behaviour{Stall: true})
		time.Sleep(p.Step)
		stalled = second.Counts().Ill
		return nil
	})
	r.Ill = stalled
	r.bar(r.Seen.Failed == 0, "no failed request", "%d", r.Seen.Failed)
	r.bar(copies > 0 && stalled <= most, "the second gets copies, and 5 when it stalls", "%d, %d", copies, stalled)
	return r, err
}
