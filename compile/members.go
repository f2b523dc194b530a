package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/upstream/spill"
)

// maxDepth is how deep groups may stand in groups.
const maxDepth = 4

// grouping makes the upstreams that are made of others, members before those that they are
// members of.
type grouping struct {
	*build
	items map[string]config.Item[config.Upstream] // of groups, by name
	depth map[string]int                          // of those that are made; 1 where no member is a group
	path  []string                                // those that are being made, the outermost first
}

// groups makes the upstreams with members, or takes those that are there already.
func (b *build) groups() {
	g := &grouping{build: b, items: map[string]config.Item[config.Upstream]{}, depth: map[string]int{}}
	for _, item := range b.doc.Upstreams {
		name := item.Value.Name.Value
		if len(item.Value.Members) == 0 {
			continue
		}
		if _, twice := g.items[name]; twice || b.result.upstreams[name] != nil {
			b.add(item.Problem(item.Value.Name.Mark, "the name of the upstream is given twice"))
			continue
		}
		g.items[name] = item
	}
	for _, item := range b.doc.Upstreams {
		if name := item.Value.Name.Value; len(item.Value.Members) > 0 && g.depth[name] == 0 {
			g.make(name)
			b.pace()
		}
	}
}

// make makes one group, and first those that are members of it.
func (g *grouping) make(name string) {
	item := g.items[name]
	g.path = append(g.path, name)
	depth := 1
	var members []upstream.Member
	for i := range item.Value.Members {
		at := &item.Value.Members[i].Upstream
		found, problem := g.member(at.Value)
		if below := g.depth[at.Value]; found != nil && below >= maxDepth {
			found, problem = nil, fmt.Sprintf("upstreams with members stand in each other %d deep here: %d is the limit", below+1, maxDepth)
		}
		if problem != "" {
			g.add(item.Problem(at.Mark, problem))
		}
		if found != nil {
			members = append(members, found)
			depth = max(depth, 1+g.depth[at.Value])
		}
	}
	g.path = g.path[:len(g.path)-1]
	g.depth[name] = depth
	if len(members) < len(item.Value.Members) {
		return // Who asks for it finds nothing. The problem is told already.
	}
	group := g.reuse(item.Value, members)
	g.result.groups[name] = group
	g.result.Groups = append(g.result.Groups, group)
}

// member finds a member. Where it is nil the words say why, or are "" where that is told in
// another place.
func (g *grouping) member(name string) (upstream.Member, string) {
	if name == "" {
		return nil, "" // It could not be read.
	}
	if u := g.result.upstreams[name]; u != nil {
		return u.Upstream, ""
	}
	if _, ok := g.items[name]; !ok {
		return nil, g.unknown(name)
	}
	if from := slices.Index(g.path, name); from >= 0 {
		circle := append(slices.Clone(g.path[from:]), name)
		return nil, name + " would be made of itself: " + strings.Join(circle, " → ")
	}
	if g.depth[name] == 0 {
		g.make(name)
	}
	if group := g.result.groups[name]; group != nil {
		return group, ""
	}
	return nil, ""
}

// reuse takes the group that is there already, if it reads the same and its members are the
// same. Else it makes one, with what is known of the members that stay.
func (g *grouping) reuse(from *config.Upstream, members []upstream.Member) *upstream.Group {
	c := groupConfig(from)
	var old *upstream.Group
	if g.old != nil {
		old = g.old.groups[c.Name]
	}
	if old != nil && old.Config().Equal(&c) && slices.Equal(old.Members(), members) {
		return old
	}
	group := upstream.NewGroup(c, members, g.compiler.options.Logger)
	if old != nil {
		group.Adopt(old)
	}
	return group
}

func groupConfig(u *config.Upstream) upstream.GroupConfig {
	f := &u.Failover
	c := upstream.GroupConfig{
		Name:           u.Name.Value,
		MinimumWell:    f.MinimumWell.Fraction(),
		RequestTimeout: u.Timeouts.Request.Std(),
		DeadlineField:  u.Timeouts.DeadlineHeader,
		Failover: spill.Failover{
			Consecutive: f.Consecutive, FailureShare: f.FailureShare.Fraction(), Window: f.Window.Std(), Volume: f.MinimumRequests,
			Return: f.ReturnAfter.Std(), ReturnMax: f.MaxReturnAfter.Std(), Ramp: f.Ramp.Std(),
		},
	}
	for i := range u.Members {
		m := &u.Members[i]
		member := spill.Member{Name: m.Upstream.Value, Priority: m.Priority, Weight: m.Weight, Capacity: capacity(m.Capacity)}
		if m.Spill < unit.Whole {
			member.Share = m.Spill.Fraction()
		}
		c.Members = append(c.Members, member)
	}
	return c
}

func capacity(c *traffic.Capacity) spill.Capacity {
	if c == nil {
		return spill.Capacity{}
	}
	return spill.Capacity{
		Requests: c.Requests, Per: c.Per.Std(), Burst: c.BurstOrDefault(), Concurrency: c.Concurrency, Resume: c.Resume.Fraction(),
	}
}

// origin finds an upstream by its name, with members or without; nil where there is none.
func (r *Result) origin(name string) target.RoundTripper {
	if u := r.upstreams[name]; u != nil {
		return u
	}
	if g := r.groups[name]; g != nil {
		return g
	}
	return nil
}

// unknown says why there is no upstream of a name, and which may be meant.
func (b *build) unknown(name string) string {
	known := make([]string, 0, len(b.doc.Upstreams))
	for _, item := range b.doc.Upstreams {
		if item.Value.Name.Value == name {
			return fmt.Sprintf("the upstream %q has a problem of its own", name)
		}
		known = append(known, item.Value.Name.Value)
	}
	return fmt.Sprintf("there is no upstream %q%s", name, config.Meant(name, known, "upstreams"))
}
