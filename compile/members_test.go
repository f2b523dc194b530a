package compile

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/upstream"
)

const grouped = `listeners:
  - { name: web, address: ":8080" }
upstreams:
  - name: outer
    members: [{ upstream: all }]
  - name: all
    members: [{ upstream: a }, { upstream: b, priority: 1 }]
  - { name: a, endpoints: [http://10.0.0.1] }
  - { name: b, endpoints: [http://10.0.0.2] }
  - { name: c, endpoints: [http://10.0.0.3] }
routes:
  - { name: one, match: { path: /one }, upstream: all }
  - { name: two, match: { path: /two }, upstream: c }
  - { name: three, match: { path: /three }, upstream: outer }
`

func groupNamed(t *testing.T, r *Result, name string) *upstream.Group {
	t.Helper()
	for _, g := range r.Groups {
		if g.Name() == name {
			return g
		}
	}
	t.Fatalf("there is no group %s", name)
	return nil
}

// TestGroupsAreReused: a group is the same as long as it reads the same and its members are the
// same, and with it the routes and the groups that use it.
func TestGroupsAreReused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, old, new string
		groups, routes string // that stay
	}{
		{"nothing", "x", "x", "outer all", "one two three"},
		{"how it is written", "{ upstream: a }", "{ upstream: a, weight: 1, spill: 100% }", "outer all", "one two three"},
		{"another upstream", "10.0.0.3", "10.0.0.4", "outer all", "one three"},
		{"a member", "10.0.0.2", "10.0.0.4", "", "two"},
		{"a setting of a member", "priority: 1", "priority: 2", "", "two"},
		{"a setting of the group", "priority: 1 }]", "priority: 1 }]\n    failover: { ramp: 1s }", "", "two"},
		{"a setting of the outer group", "{ upstream: all }]", "{ upstream: all }]\n    timeouts: { request: 1s }", "all", "one two"},
		{"the order of upstreams", "  - { name: a, endpoints: [http://10.0.0.1] }\n  - { name: b, endpoints: [http://10.0.0.2] }\n",
			"  - { name: b, endpoints: [http://10.0.0.2] }\n  - { name: a, endpoints: [http://10.0.0.1] }\n", "outer all", "one two three"},
	} {
		e := newEdited(t)
		old := e.must(grouped)
		now := e.must(strings.Replace(grouped, c.old, c.new, 1))
		for _, name := range []string{"outer", "all"} {
			same := groupNamed(t, old, name) == groupNamed(t, now, name)
			if want := strings.Contains(c.groups, name); same != want {
				t.Errorf("%s: group %s is the same: %v", c.name, name, same)
			}
		}
		for _, name := range []string{"one", "two", "three"} {
			same := routeNamed(t, old, name) == routeNamed(t, now, name)
			if want := strings.Contains(c.routes, name); same != want {
				t.Errorf("%s: route %s is the same: %v", c.name, name, same)
			}
		}
		e.end(old, now)
	}
}

// TestAGroupBecomesAnUpstream, and the other way round.
func TestAGroupBecomesAnUpstream(t *testing.T) {
	t.Parallel()
	e := newEdited(t)
	first := e.must(grouped)
	second := e.must(strings.Replace(grouped, "members: [{ upstream: a }, { upstream: b, priority: 1 }]", "endpoints: [http://10.0.0.9]", 1))
	if len(second.Groups) != 1 || len(second.Upstreams) != 4 || second.Reused != 1 {
		t.Errorf("%d groups, %d upstreams, %d routes are reused", len(second.Groups), len(second.Upstreams), second.Reused)
	}
	third := e.must(grouped)
	if len(third.Groups) != 2 || len(third.Upstreams) != 3 || third.Reused != 1 {
		t.Errorf("%d groups, %d upstreams, %d routes are reused", len(third.Groups), len(third.Upstreams), third.Reused)
	}
	e.end(first, second, third)
}
