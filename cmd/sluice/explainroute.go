package main

import (
	"cmp"
	"slices"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/target"
)

// explained finds the route of a request and tells all about it.
func explained(result *compile.Result, r *arrived) *explanation {
	req := &r.Request
	e := &explanation{
		Method: req.Method, Authority: req.Authority, Path: req.Path, Query: req.Query, Listener: r.Client.Listener, Ignored: r.ignored,
	}
	if r.Problem() != nil {
		e.Path, e.Problem = req.RawPath, r.refusal(nil)
		return e
	}
	x := result.Snapshot.Table.Explain(req, r.Client.Listener)
	routes := result.Document.Routes
	for _, miss := range x.Near {
		e.Near = append(e.Near, near{placeOf(routes[miss.Rule], routeName), miss.Matched, miss.Reason})
	}
	d := &describer{comparer: newComparer(), doc: result.Document}
	if x.Rule < 0 {
		e.Problem = r.refusal(x.Methods)
		e.Policies = d.policies(nil) // Those of the edge have run by then.
		return e
	}
	item := routes[x.Rule]
	at := placeOf(item, routeName)
	e.Route, e.Why = &at, x.Why
	for _, param := range x.Params {
		e.Parameters = append(e.Parameters, parameter{param.Name, param.Value})
	}
	e.Policies = d.policies(&item)
	compiled := result.Snapshot.Routes[x.Rule]
	e.Upgrades = compiled.Upgrades
	if compiled.Precedence != 0 {
		e.Priority = &item.Value.Priority
	}
	e.Target = d.target(&item.Value.Targets[0], &compiled.Target)
	return e
}

func placeOf[T any](item config.Item[T], name func(*T) config.Text) place {
	text := name(item.Value)
	return place{text.Value, item.Position(text.Mark)}
}

// describer puts what a document says into words.
type describer struct {
	*comparer
	doc *config.Document
}

// policies are those that a request to a route meets, in order; without a route
// those of the edge.
func (d *describer) policies(item *config.Item[config.Route]) []policyInPlace {
	type inOrder struct {
		policyInPlace
		stage policy.Stage
	}
	var all []inOrder
	add := func(p *config.Policy, from string, seen map[string]int, position func(config.Mark) config.Position) {
		l := d.link(p, seen)
		if item == nil && l.stage != policy.Edge {
			return
		}
		all = append(all, inOrder{policyInPlace{
			Name: l.name, Stage: l.stage.String(), From: from, OnFault: onFaultOf(p, l.stage),
			At: position(p.Kinds[0].Mark), Settings: shownSettings(l.settings),
		}, l.stage})
	}
	seen := map[string]int{}
	for _, top := range d.doc.Policies {
		add(top.Value, "all routes", seen, top.Position)
	}
	if item != nil {
		seen = map[string]int{}
		for i := range item.Value.Policies {
			add(&item.Value.Policies[i], "the route", seen, item.Position)
		}
	}
	slices.SortStableFunc(all, func(a, b inOrder) int { return cmp.Compare(a.stage, b.stage) })
	list := make([]policyInPlace, len(all))
	for i := range all {
		list[i] = all[i].policyInPlace
	}
	return list
}

func shownSettings(canonical []setting) []shownSetting {
	var list []shownSetting
	for _, s := range canonical {
		if s.text != "" && s.path != "on_fault" {
			list = append(list, shownSetting{s.path, s.shown})
		}
	}
	return list
}

func (d *describer) target(keyed *config.Keyed, handler *target.Handler) *targetInPlace {
	t := &targetInPlace{Kind: keyed.Kind, Settings: shownSettings(d.targetSettings(keyed)), Words: handler.Words}
	upstreams := d.withMembers(handler.Upstreams)
	for _, item := range d.doc.Upstreams {
		if slices.Contains(upstreams, item.Value.Name.Value) {
			t.Upstreams = append(t.Upstreams, describeUpstream(item))
		}
	}
	return t
}

// withMembers adds to upstreams those of which they are made.
func (d *describer) withMembers(names []string) []string {
	all := slices.Clone(names)
	for i := 0; i < len(all); i++ {
		for _, item := range d.doc.Upstreams {
			if item.Value.Name.Value != all[i] {
				continue
			}
			for _, m := range item.Value.Members {
				if !slices.Contains(all, m.Upstream.Value) {
					all = append(all, m.Upstream.Value)
				}
			}
		}
	}
	return all
}
