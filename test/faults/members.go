package faults

import (
	"fmt"
	"time"
)

// newGroupStage has an upstream for each of the members, with one origin and patience with a busy machine,
// and a group of them: settings are those of the group, lines of YAML without indentation.
func newGroupStage(members []string, settings string) (*Stage, error) {
	origins, err := newOrigins(len(members), 0)
	if err != nil {
		return nil, err
	}
	document := upstream("all", settings)
	for i, name := range members {
		document += anotherUpstream(name, fmt.Sprintf("endpoints: [\"http://%s\"]\ntimeouts: { connect: 4s }", origins[i].Address))
	}
	return startStage(origins, document+routeTo("all"))
}

// memberLost takes the first member of a group away; the second one takes over, until the first
// is there again.
func memberLost(p Pace) (Report, error) {
	s, err := newGroupStage([]string{"near", "far"}, `
members: [{ upstream: near }, { upstream: far, priority: 1 }]
failover: { return_after: 300ms, max_return_after: 300ms, ramp: 300ms }
`)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	near, far := s.Origins[0], s.Origins[1]
	var r Report
	var before, during, back int64
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step)
		before = far.Counts().Requests
		near.Down()
		time.Sleep(p.Step)
		during = far.Counts().Requests - before
		if err := near.Up(); err != nil {
			return err
		}
		time.Sleep(2 * time.Second)
		back = far.Counts().Requests
		time.Sleep(p.Step)
		return nil
	})
	late := far.Counts().Requests - back
	r.bar(r.Seen.Failed == 0, "no failed request", "%d", r.Seen.Failed)
	r.bar(before == 0 && during > 0, "the second gets requests only then", "%d before, %d then", before, during)
	r.bar(late == 0, "and none from two seconds after the recovery", "%d", late)
	return r, err
}

// bursting asks for twice as much as the first member can bear. A fifth may spill to the second one,
// the rest is refused.
func bursting(p Pace) (Report, error) {
	capacity := p.Rate / 2
	s, err := newGroupStage([]string{"own", "cloud"}, fmt.Sprintf(`
members:
  - { upstream: own, capacity: { requests: %d, per: 1s } }
  - { upstream: cloud, priority: 1, spill: 20%% }
`, capacity))
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(3 * p.Step)
		return nil
	})
	own, cloud := s.Origins[0].Counts().Requests, s.Origins[1].Counts().Requests
	most := float64(capacity)*r.Seen.Took.Seconds() + float64(capacity)/10 + 1
	refused := r.Seen.Answers["503 upstream_overloaded"]
	r.bar(float64(own) <= most, "the first gets no more than its capacity", "%d of %.0f", own, most)
	r.bar(float64(cloud) <= 0.2*float64(r.Seen.Requests)+2, "a fifth spills at most", "%d of %d", cloud, r.Seen.Requests)
	r.bar(own > 0 && cloud > 0 && refused > 0 && refused == r.Seen.Failed, "the rest is told to come later", "%d of %d failures", refused, r.Seen.Failed)
	return r, err
}
