package compile

import (
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/route"
	"github.com/sluice-gateway/sluice/target"
)

// usualPriority is that of routes that have none.
const usualPriority = 2

// sharedRoute is a compiled route that several snapshots may use.
type sharedRoute struct {
	from      *config.Route
	route     engine.Route
	rule      route.Rule
	upstreams []target.RoundTripper
	closers   []func() error // of its policies
	rollouts  []target.Rollout
	vouched   []string
	first     uint64 // number of the result for which it was made
	seen      uint64 // number of the last result that took it; the compiling goroutine's
}

// close ends the route's policies and its target.
func (r *sharedRoute) close() error {
	err := closeAll(r.closers)
	if r.route.Target.Close != nil {
		err = errors.Join(err, r.route.Target.Close())
	}
	return err
}

// paceEvery is after how many routes compile lets others run.
const paceEvery = 64

// routes compiles the routes, or takes those that would come out the same.
func (b *build) routes() {
	listeners := map[string]bool{}
	for _, item := range b.doc.Listeners {
		listeners[item.Value.Name.Value] = true
	}
	found := b.earlierRoutes()
	for i, item := range b.doc.Routes {
		if i%paceEvery == 0 {
			b.pace()
		}
		r := found[i]
		if r != nil && b.unchanged(r) {
			r.seen = b.result.number
			b.result.Reused++
		} else {
			r = b.newRoute(item, listeners)
			b.result.Built++
		}
		if r != nil {
			b.result.owned = append(b.result.owned, r)
		}
	}
}

// lookAhead is how many routes may have been taken out in one place before those
// that follow are looked for among all.
const lookAhead = 8

// earlierRoutes finds, for each route of the document, the compiled one of before; nil
// where there is none. Each is found once at most. Most stand where they stood; only
// for those that do not, and those that are new, a map is made of what is left over.
func (b *build) earlierRoutes() []*sharedRoute {
	found := make([]*sharedRoute, len(b.doc.Routes))
	if b.old == nil || b.old.top != b.result.top {
		return found
	}
	old := b.old.owned
	taken := make([]bool, len(old))
	next := 0
	var late []int
	for i, item := range b.doc.Routes {
		if i%paceEvery == 0 {
			b.pace()
		}
		at := next
		for at < min(next+lookAhead, len(old)) && old[at].from != item.Value {
			at++
		}
		if at == len(old) || at == next+lookAhead {
			late = append(late, i)
			continue
		}
		found[i], taken[at], next = old[at], true, at+1
	}
	if len(late) == 0 {
		return found
	}
	left := map[*config.Route]*sharedRoute{}
	for at, r := range old {
		if !taken[at] {
			left[r.from] = r
		}
	}
	for _, i := range late {
		from := b.doc.Routes[i].Value
		found[i] = left[from]
		delete(left, from)
	}
	return found
}

// unchanged says whether the upstreams of a compiled route are still the same.
func (b *build) unchanged(r *sharedRoute) bool {
	for _, u := range r.upstreams {
		if b.result.origin(u.Name()) != u {
			return false
		}
	}
	return true
}

func (b *build) newRoute(item config.Item[config.Route], listeners map[string]bool) *sharedRoute {
	from := item.Value
	before := len(b.problems)
	top := b.result.top
	r := &sharedRoute{from: from, first: b.result.number, seen: b.result.number}
	r.route.Name = from.Name.Value
	r.rule = b.rule(item, listeners)
	r.route.Precedence = int8(usualPriority - from.Priority)
	for _, upgrade := range from.Upgrades {
		r.route.Upgrades = append(r.route.Upgrades, upgrade.Value)
	}
	r.route.Metrics = b.compiler.options.Gateway.Route(from.Name.Value)
	b.target(r, item)
	var own chain
	if len(from.Policies) > 0 {
		rooms, names := top.rooms, counter{}
		for i := range from.Policies {
			b.policy(&own, item, &from.Policies[i], policy.Place{Route: from.Name.Value}, names, &rooms)
		}
	}
	r.route.Steps = mergeSteps(&top.chain, &own)
	r.closers, r.vouched = own.closers, own.vouched
	if len(b.problems) > before {
		_ = r.close()
		return nil
	}
	return r
}

// mergeSteps puts the policies of all routes before the route's own, stage by stage. Those
// of the edge that stand at the top level have run before the route was known.
func mergeSteps(top, own *chain) []engine.Step {
	if top.count+own.count == 0 {
		return nil
	}
	all := make([]engine.Step, 0, top.count+own.count)
	for stage := range stages {
		if policy.Stage(stage) != policy.Edge {
			all = append(all, top.steps[stage]...)
		}
		all = append(all, own.steps[stage]...)
	}
	return all
}

// rule makes what the matcher needs.
func (b *build) rule(item config.Item[config.Route], listeners map[string]bool) route.Rule {
	match := &item.Value.Match
	rule := route.Rule{Name: item.Value.Name.Value}
	for _, host := range match.Host {
		parsed, err := route.ParseHost(host.Value)
		b.at(item, host.Mark, err)
		rule.Hosts = append(rule.Hosts, parsed)
	}
	for _, path := range match.Path {
		parse := route.ParsePattern
		if path.Regex {
			parse = route.RegexPattern
		}
		parsed, err := parse(path.Text)
		b.at(item, path.Mark, err)
		rule.Paths = append(rule.Paths, parsed)
	}
	for _, method := range match.Methods {
		rule.Methods = append(rule.Methods, method.Value)
	}
	for _, name := range match.Listener {
		if !listeners[name.Value] {
			known := make([]string, 0, len(listeners))
			for l := range listeners {
				known = append(known, l)
			}
			b.at(item, name.Mark, errors.New("there is no listener "+strconv.Quote(name.Value)+config.Meant(name.Value, known, "listeners")))
		}
		rule.Listeners = append(rule.Listeners, name.Value)
	}
	for _, entry := range match.Headers {
		rule.Headers = append(rule.Headers, b.condition(item, entry.Key, &entry.Value))
	}
	for _, entry := range match.Query {
		rule.Query = append(rule.Query, b.condition(item, entry.Key, &entry.Value))
	}
	return rule
}

func (b *build) at(item config.Item[config.Route], mark config.Mark, err error) {
	if err != nil {
		b.add(item.Problem(mark, err.Error()))
	}
}

func (b *build) condition(item config.Item[config.Route], name string, c *config.Condition) route.Condition {
	switch {
	case c.Regex:
		condition, err := route.RegexCondition(name, c.Text)
		b.at(item, c.Mark, err)
		return condition
	case c.Present == nil:
		return route.Condition{Name: name, Test: route.Exact, Value: c.Text}
	case *c.Present:
		return route.Condition{Name: name, Test: route.Present}
	}
	return route.Condition{Name: name, Test: route.Absent}
}

// table builds the matcher.
func (b *build) table() {
	r := b.result
	rules := make([]*route.Rule, len(r.owned))
	r.Snapshot.Routes = make([]*engine.Route, len(r.owned))
	vouched := map[string]bool{}
	for i, shared := range r.owned {
		if i%paceEvery == 0 {
			b.pace()
		}
		rules[i] = &shared.rule
		r.Snapshot.Routes[i] = &shared.route
		r.Rollouts = append(r.Rollouts, shared.rollouts...)
		for _, name := range shared.vouched {
			vouched[name] = true
		}
	}
	for _, name := range r.top.chain.vouched {
		vouched[name] = true
	}
	r.Snapshot.Vouched = slices.Sorted(maps.Keys(vouched))
	table, shadows, err := route.BuildFrom(rules, b.pace)
	if err != nil {
		b.add(&config.Problem{Position: config.Position{File: b.doc.Main, Line: 1, Column: 1}, Message: err.Error()})
		return
	}
	r.Snapshot.Table = table
	for _, s := range shadows {
		b.shadow(s)
	}
}

// shadow warns of a route that can never win.
func (b *build) shadow(s route.Shadow) {
	item, by := b.doc.Routes[s.Rule], b.doc.Routes[s.By]
	problem := item.Problem(item.Value.Name.Mark, "the route "+item.Value.Name.Value+" can never win: "+by.Value.Name.Value+" takes all that it would match")
	other := by.Position(by.Value.Name.Mark)
	problem.Other = &other
	b.result.Warnings = append(b.result.Warnings, problem)
}
