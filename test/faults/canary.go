package faults

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"time"
)

// canaryShare is what the first step gives a canary.
const canaryShare = 0.2

// settled is how long answers of a good canary and of the old side take, and sluggish those
// of a slow canary: so much longer that a busy machine does not hide it.
const (
	settled  = 10 * time.Millisecond
	sluggish = 250 * time.Millisecond
)

// badCanary has a roll-out whose new side becomes bad in the middle of its first step.
func badCanary(bad Behaviour) func(Pace) (Report, error) {
	return func(p Pace) (Report, error) {
		window := p.Step / 3
		s, err := newRollout(p, window)
		if err != nil {
			return Report{}, err
		}
		defer s.Close()
		canary := s.Origins[len(s.Origins)-1]
		s.behave(Behaviour{Delay: settled})
		var r Report
		var reason string
		var took time.Duration
		var all, its, late int64
		r.Seen, err = s.during(p.Rate, func() error {
			time.Sleep(p.Step)
			all, its = s.Requests(), canary.Counts().Requests
			canary.Behave(bad)
			began := time.Now()
			var err error
			if reason, err = s.rolledBack(unseen); err != nil {
				return err
			}
			took = time.Since(began)
			all, its = s.Requests()-all, canary.Counts().Requests-its
			time.Sleep(p.Step / 10) // What was on its way.
			late = canary.Counts().Requests
			time.Sleep(p.Step / 2)
			late = canary.Counts().Requests - late
			return nil
		})
		r.Ill = its
		r.bar(took <= 2*window, "rolled back within two guard windows", "%.1f of %s", float64(took)/float64(window), window)
		// Who goes there is drawn: three standard deviations are no excess.
		got, most := share(its, all), canaryShare+3*math.Sqrt(canaryShare*(1-canaryShare)/float64(max(all, 1)))
		r.bar(got <= most, "no more than its step's share of 20 %", "%.1f %% of %d, drawn at random", 100*got, all)
		r.bar(late == 0, "and nothing afterwards", "%d", late)
		r.Detail = reason
		return r, err
	}
}

// newRollout is two origins of the old version and one of the new, which has its first step.
func newRollout(p Pace, window time.Duration) (*Stage, error) {
	origins, err := newOrigins(3, 0)
	if err != nil {
		return nil, err
	}
	least := max(int(float64(p.Rate)*canaryShare*window.Seconds()/2), 5)
	return startStage(origins,
		upstream("old", fmt.Sprintf(`endpoints: ["http://%s", "http://%s"]`, origins[0].Address, origins[1].Address))+
			anotherUpstream("new", fmt.Sprintf(`endpoints: ["http://%s"]`, origins[2].Address))+
			fmt.Sprintf(`routes:
  - name: all
    match: { path: /** }
    rollout: { from: old, to: new, steps: [20%%, 100%%], every: 1h, guard: { error_rate: 1%%, p99: 1.5x, window: %s, minimum_requests: %d } }
`, window, least))
}

// rolledBack waits until the guard has taken the new side out, and returns why it did.
func (s *Stage) rolledBack(limit time.Duration) (reason string, err error) {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		var state struct{ Status, Reason string }
		if err := s.ask("/rollouts/all", &state); err != nil {
			return "", err
		}
		if state.Status == "rolled_back" || time.Now().After(end) {
			return fmt.Sprintf("%s: %s", state.Status, state.Reason), nil
		}
	}
}

// ask reads what the admin listener tells.
func (s *Stage) ask(path string, into any) error {
	res, err := http.Get("http://" + s.gateway.Admin + path)
	if err != nil {
		return fmt.Errorf("faults: asking for %s: %w", path, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("faults: asking for %s: the answer is %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
