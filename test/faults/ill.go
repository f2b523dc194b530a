package faults

import (
	"context"
	"strings"
	"time"
)

// guarded is an upstream with everything on that finds ill endpoints. It checks
// often, so that a scenario is short. A try may last longer than a busy machine stands still.
const guarded = `
timeouts: { connect: 500ms, try: 2s }
retry: { attempts: 2, on: [connect_failure, reset, timeout, 5xx] }
health: { path: /healthz, interval: 200ms, timeout: 500ms, unhealthy: 2, healthy: 1 }
ejection: { consecutive: 5, time: 30s }
`

// unseen is how long a recovered endpoint may stay without requests before a scenario gives up.
const unseen = 5 * time.Second

// oneIll makes one of three origins ill under load, and well again.
func oneIll(b Behaviour) func(Pace) (Report, error) {
	return func(p Pace) (Report, error) {
		return fallAndRise(p, guarded, Behaviour{}, func(o *Origin) { o.Behave(b) })
	}
}

// oneDown makes connections to one of three refused.
func oneDown(p Pace) (Report, error) { return fallAndRise(p, guarded, Behaviour{}, (*Origin).Down) }

// oneDies has requests that take a while, so that those of one origin are all cut off at
// once when it dies.
func oneDies(p Pace) (Report, error) {
	return fallAndRise(p, guarded, Behaviour{Delay: 100 * time.Millisecond}, (*Origin).Down)
}

// oneStalls has an origin that accepts requests and never answers.
func oneStalls(p Pace) (Report, error) {
	impatient := strings.Replace(guarded, "try: 2s", "try: 250ms", 1)
	return fallAndRise(p, impatient, Behaviour{}, func(o *Origin) { o.Behave(Behaviour{Stall: true}) })
}

// fallAndRise plays the first bar of the issue: few fail, the ill one is left alone
// soon, and used again soon after it is well.
func fallAndRise(p Pace, settings string, well Behaviour, fall func(*Origin)) (Report, error) {
	s, err := NewStage(3, 0, settings)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	s.behave(well)
	var r Report
	var checks, refused int64
	var back bool
	ill := s.Origins[0]
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step / 2)
		fall(ill)
		time.Sleep(p.Step)
		checks, back = ill.Recover(unseen)
		time.Sleep(p.Step / 2)
		var err error
		refused, err = s.refused()
		return err
	})
	r.leftAlone(ill, refused)
	r.bar(back && checks <= 1, "traffic within one check of its recovery", "%d checks, traffic: %t", checks, back)
	return r, err
}

// oneLies has health checks that see nothing: ejection alone must find out.
func oneLies(p Pace) (Report, error) {
	s, err := NewStage(3, 0, `
retry: { attempts: 2, on: [connect_failure, reset, timeout, 5xx] }
ejection: { consecutive: 5, time: 30s }
`)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step / 2)
		s.Origins[0].Behave(Behaviour{Status: 500, Liar: true})
		time.Sleep(p.Step)
		return nil
	})
	r.leftAlone(s.Origins[0], 0)
	return r, err
}

// closing has an origin that closes its connections without an answer at times.
func closing(p Pace) (Report, error) {
	s, err := NewStage(3, 0, guarded)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	r.Seen, err = s.during(p.Rate, func() error {
		s.Origins[0].Behave(Behaviour{CloseAfter: 10})
		time.Sleep(p.Step)
		return nil
	})
	r.Ill = s.Origins[0].Counts().Requests
	r.bar(r.Seen.FailedShare() <= 0.001, "at most 0.1 % fail", "%.2f %%", 100*r.Seen.FailedShare())
	return r, err
}

// allIll has nobody who is well: clients must be told, and origins not be flooded.
func allIll(p Pace) (Report, error) {
	s, err := NewStage(3, 0, guarded)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	s.behave(Behaviour{Status: 500})
	var r Report
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step)
		return nil
	})
	if err != nil {
		return r, err
	}
	r.Ill = s.Requests()
	r.bar(r.Seen.Answers["none"] == 0, "everybody gets an answer", "%d without", r.Seen.Answers["none"])
	r.stormBar()
	s.behave(Behaviour{})
	time.Sleep(time.Second)
	after := s.Load.Run(context.Background(), p.Rate, time.Second)
	r.bar(after.Failed == 0, "all is well a second after the recovery", "%d of %d failed", after.Failed, after.Requests)
	return r, nil
}

// flapping has an origin that is ill for a second and well for another, and so on. A step is
// three seconds unless somebody is in a hurry.
func flapping(p Pace) (Report, error) {
	s, err := NewStage(3, 0, guarded)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	r.Seen, err = s.during(p.Rate, func() error {
		for range 4 {
			s.Origins[0].Behave(Behaviour{Status: 500})
			time.Sleep(p.Step / 3)
			s.Origins[0].Behave(Behaviour{})
			time.Sleep(p.Step / 3)
		}
		return nil
	})
	r.leftAlone(s.Origins[0], 0)
	return r, err
}

// regionLost takes all endpoints of the first level away; the second one takes over.
func regionLost(p Pace) (Report, error) {
	s, err := newStage([]int{0, 0, 1, 1}, 0, guarded)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	var r Report
	var before, far int64
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step / 2)
		before = s.Origins[2].Counts().Requests + s.Origins[3].Counts().Requests
		s.Origins[0].Down()
		s.Origins[1].Down()
		time.Sleep(p.Step)
		if err := s.Origins[0].Up(); err != nil {
			return err
		}
		if err := s.Origins[1].Up(); err != nil {
			return err
		}
		time.Sleep(time.Second)
		far = s.Origins[2].Counts().Requests + s.Origins[3].Counts().Requests
		time.Sleep(p.Step / 2)
		return nil
	})
	late := s.Origins[2].Counts().Requests + s.Origins[3].Counts().Requests - far
	r.bar(r.Seen.FailedShare() <= 0.001, "at most 0.1 % fail", "%.2f %%", 100*r.Seen.FailedShare())
	r.bar(before == 0, "the second region gets nothing before", "%d", before)
	r.bar(late == 0, "and nothing from a second after the recovery", "%d", late)
	return r, err
}

// rolling restarts one origin after the other, as a deployment does.
func rolling(p Pace) (Report, error) {
	s, err := NewStage(3, 0, guarded)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	s.behave(Behaviour{Delay: 10 * time.Millisecond})
	var r Report
	r.Seen, err = s.during(p.Rate, func() error {
		for _, o := range s.Origins {
			time.Sleep(p.Step / 3)
			if err := o.Drain(patience); err != nil {
				return err
			}
			time.Sleep(p.Step / 3)
			if err := o.Up(); err != nil {
				return err
			}
		}
		time.Sleep(p.Step / 3)
		return nil
	})
	r.bar(r.Seen.Failed == 0, "no failed request", "%d", r.Seen.Failed)
	return r, err
}
