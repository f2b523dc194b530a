package main

import (
	"time"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/upstream/breaker"
)

// showHealth tells, for the status, how the endpoints of an upstream do.
func showHealth(shown *admin.Upstream, u *upstream.Upstream) {
	clock, now := message.Clock(), time.Now()
	if v, ok := u.Breaker(clock); ok {
		shown.Breaker = shownBreaker(&v, now)
	}
	for _, e := range u.Endpoints() {
		open, idle := e.Connections()
		h := e.Health(clock)
		s := admin.Endpoint{
			Address: e.Address(), State: h.State, Illnesses: h.Illnesses, Since: h.Since.UTC(),
			Weight: e.Weight(), Priority: e.Priority(), Zone: e.Zone(),
			Open: open, Idle: idle, Active: e.Active(),
		}
		if !h.Checked.IsZero() {
			s.Check = &admin.Check{At: h.Checked.UTC(), Result: "good"}
			if h.CheckError != nil {
				s.Check.Result, s.Check.Detail = "bad", h.CheckError.Error()
			}
		}
		if h.Ejection != nil {
			s.Ejection = &admin.Ejection{Count: h.Ejection.Ejections, Reason: h.Ejection.Reason.String()}
			if h.Ejection.Out {
				s.Ejection.Until = now.Add(h.Ejection.Back).UTC()
			}
		}
		if h.Breaker != nil {
			s.Breaker = shownBreaker(h.Breaker, now)
		}
		shown.Endpoints = append(shown.Endpoints, s)
	}
}

func shownBreaker(v *breaker.View, now time.Time) *admin.Breaker {
	b := &admin.Breaker{State: v.State.String(), Outcomes: v.Outcomes, Failures: v.Failures, Slow: v.Slow, Opened: v.Opened, Refused: v.Refused}
	if v.State == breaker.Open {
		b.Until = now.Add(v.Reopens).UTC()
	}
	return b
}

// upstreamStates feeds the metrics of endpoints.
func (g *gateway) upstreamStates() (all []observe.UpstreamState) {
	applied := g.applied.Load()
	if applied == nil {
		return nil
	}
	for _, u := range applied.Upstreams {
		s := observe.UpstreamState{Upstream: u.Name()}
		if v, ok := u.Breaker(message.Clock()); ok {
			s.Breaker = breakerStates[v.State]
		}
		for _, e := range u.Endpoints() {
			open, idle := e.Connections()
			shown := observe.EndpointState{Address: e.Address(), Active: open - idle, Idle: idle, State: e.State()}
			if state, ok := e.BreakerState(); ok {
				shown.Breaker = breakerStates[state]
			}
			s.Endpoints = append(s.Endpoints, shown)
		}
		all = append(all, s)
	}
	return all
}

var breakerStates = map[breaker.State]observe.BreakerState{
	breaker.Closed: observe.BreakerClosed, breaker.HalfOpen: observe.BreakerHalfOpen, breaker.Open: observe.BreakerOpen,
}
