package main

import (
	"fmt"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/observe"
)

// eachRollout are those of the configuration that is in force.
func (g *gateway) eachRollout() (all []canary.View) {
	applied := g.applied.Load()
	if applied == nil {
		return nil
	}
	for _, r := range applied.Rollouts {
		all = append(all, r.View())
	}
	return all
}

// startRollouts puts those of a configuration in force.
func startRollouts(next *compile.Result) {
	for _, r := range next.Rollouts {
		r.Start()
	}
}

// removeRollouts ends those of the configuration before, which may be nil, whose routes
// have none any more.
func removeRollouts(before, next *compile.Result) {
	if before == nil || len(before.Rollouts) == 0 {
		return
	}
	stay := map[string]bool{}
	for _, r := range next.Rollouts {
		stay[r.View().Route] = true
	}
	for _, r := range before.Rollouts {
		if !stay[r.View().Route] {
			r.Remove()
		}
	}
}

// rollouts tells the admin listener of them.
func (g *gateway) rollouts() (all []admin.Rollout) {
	for _, v := range g.eachRollout() {
		shown := admin.Rollout{
			Route: v.Route, From: v.Plan.From, To: v.Plan.To, Status: string(v.Status), Share: fraction(v.Share), Step: v.Step + 1,
			EverySeconds: v.Plan.Every.Seconds(), ElapsedSeconds: v.Elapsed.Seconds(), Since: v.Since, StepSince: v.StepSince,
			Reason: v.Reason, Waiting: v.Waiting, Decides: !v.Follower, New: rolloutSide(v.New), Old: rolloutSide(v.Old),
		}
		for _, step := range v.Plan.Steps {
			shown.Steps = append(shown.Steps, fraction(step))
		}
		all = append(all, shown)
	}
	return all
}

func fraction(share int32) float64 { return float64(share) / float64(canary.Whole) }

func rolloutSide(k canary.Known) admin.RolloutSide {
	return admin.RolloutSide{Requests: k.Requests, Failed: k.Failed, P99Seconds: k.P99.Seconds()}
}

// steer does something to the roll-out of a route, for the admin listener.
func (g *gateway) steer(route, action string) error {
	if applied := g.applied.Load(); applied != nil {
		for _, r := range applied.Rollouts {
			if r.View().Route == route {
				return r.Steer(canary.Action(action))
			}
		}
	}
	return &canary.Refusal{Text: fmt.Sprintf("the configuration has changed: the route %q has no rollout any more", route)}
}

// rolloutFigures feeds the metrics.
func (g *gateway) rolloutFigures() (all []observe.Rollout) {
	for _, v := range g.eachRollout() {
		all = append(all, observe.Rollout{
			Route: v.Route, State: string(v.Status), Share: fraction(v.Share),
			OldRequests: v.OldRequests, OldFailed: v.OldFailed, NewRequests: v.NewRequests, NewFailed: v.NewFailed,
		})
	}
	return all
}
