package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/unit"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/upstream/spill"
)

// groups feeds the metrics of upstreams that are made of others.
func (g *gateway) groups() (all []observe.Group) {
	applied := g.applied.Load()
	if applied == nil {
		return nil
	}
	for _, group := range applied.Groups {
		shown := observe.Group{Upstream: group.Name(), Refused: group.Refused()}
		for _, v := range group.Views() {
			shown.Members = append(shown.Members, observe.GroupMember{
				Name: v.Name, State: v.State.String(),
				Requests: v.Requests, Spilled: v.Spilled, Failures: v.Failures, Passed: v.Turned,
			})
		}
		all = append(all, shown)
	}
	return all
}

// groupsShown is what the status tells of them.
func groupsShown(groups []*upstream.Group) (all []admin.Upstream) {
	for _, group := range groups {
		shown := admin.Upstream{Name: group.Name()}
		for _, v := range group.Views() {
			shown.Members = append(shown.Members, admin.Member{
				Upstream: v.Name, Priority: v.Priority, Weight: v.Weight, State: v.State.String(), Words: stateWords(&v),
				Requests: v.Requests, Spilled: v.Spilled, Failures: v.Failures, PassedOver: v.Turned,
			})
		}
		slices.SortStableFunc(shown.Members, func(a, b admin.Member) int { return cmp.Compare(a.Priority, b.Priority) })
		all = append(all, shown)
	}
	return all
}

// reasonWords say why a member was left.
var reasonWords = map[spill.Reason]string{
	spill.InARow:       "it failed several times in a row",
	spill.FailureShare: "too many of its answers were failures",
	spill.Unwell:       "too few of its endpoints are well, or its breaker is open",
}

func stateWords(v *spill.View) string {
	switch v.State {
	case spill.Left:
		return fmt.Sprintf("gets nothing, because %s; comes back when it has been well for %s more", reasonWords[v.Reason], v.Back.Round(100*time.Millisecond))
	case spill.Returning:
		return fmt.Sprintf("comes back, and gets %.0f%% of its requests", v.Share*100)
	case spill.Full:
		return "has no room; what is more goes to the next one"
	}
	return "gets its requests"
}

// levelWords says, level by level, who gets the requests of an upstream that is made of others.
func levelWords(u *config.Upstream) (lines []string) {
	members := slices.Clone(u.Members)
	slices.SortStableFunc(members, func(a, b config.Member) int { return cmp.Compare(a.Priority, b.Priority) })
	for i := 0; i < len(members); {
		end := i
		for end < len(members) && members[end].Priority == members[i].Priority {
			end++
		}
		var words []string
		for _, m := range members[i:end] {
			words = append(words, memberWords(&m, end-i > 1))
		}
		first := "where all before are full or ill, to "
		if i == 0 {
			first = "sends requests to "
		}
		lines = append(lines, first+strings.Join(words, " or "))
		i = end
	}
	return append(lines, failoverWords(&u.Failover))
}

func memberWords(m *config.Member, weighted bool) string {
	var apart []string
	if weighted {
		apart = append(apart, fmt.Sprintf("weight %d", m.Weight))
	}
	if c := m.Capacity; c != nil {
		if c.Requests > 0 {
			apart = append(apart, fmt.Sprintf("up to %d requests per %s, %d at once", c.Requests, c.Per, c.BurstOrDefault()))
		}
		if c.Concurrency > 0 {
			apart = append(apart, fmt.Sprintf("up to %d at one time", c.Concurrency))
		}
		apart[len(apart)-1] += "; once full it waits until no more than " + c.Resume.String() + " is used"
	}
	if m.Spill < unit.Whole {
		apart = append(apart, "no more than "+m.Spill.String()+" of all")
	}
	if len(apart) == 0 {
		return m.Upstream.Value
	}
	return m.Upstream.Value + " (" + strings.Join(apart, ", ") + ")"
}

func failoverWords(f *traffic.Failover) string {
	why := []string{"when less than " + f.MinimumWell.String() + " of its endpoints are well"}
	if f.Consecutive > 0 {
		why = append(why, "after "+counted(f.Consecutive, "failure")+" in a row")
	}
	if f.FailureShare > 0 {
		why = append(why, fmt.Sprintf("at %s of failures, of at least %s within %s", f.FailureShare, counted(f.MinimumRequests, "request"), f.Window))
	}
	back := "at once"
	if f.Ramp > 0 {
		back = "with a share that grows for " + f.Ramp.String()
	}
	return fmt.Sprintf("leaves a member %s; it comes back %s when it was well for %s, and up to %s where it fails again",
		strings.Join(why, ", "), back, f.ReturnAfter, f.MaxReturnAfter)
}
