package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
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

func describeUpstream(item config.Item[config.Upstream]) upstreamInPlace {
	u := item.Value
	if len(u.Members) > 0 {
		return upstreamInPlace{place: placeOf(item, upstreamName), Members: levelWords(u), Timeouts: groupTimeWords(&u.Timeouts)}
	}
	d := upstreamInPlace{place: placeOf(item, upstreamName), Protocol: u.Protocol, Balance: u.Balance.Method}
	if u.Balance.Method == "sticky" {
		d.Balance += " (cookie " + u.Balance.CookieOf(u.Name.Value) + "), first " + u.Balance.Chooses()
	}
	if u.Balance.Chooses() == "consistent_hash" {
		d.Balance += " of " + u.Balance.Key
	}
	if u.Discovery != nil {
		d.Discovery = u.Discovery.Words()
	}
	for _, e := range u.Endpoints {
		d.Endpoints = append(d.Endpoints, endpointWords(&e))
	}
	d.Timeouts = timeoutWords(&u.Timeouts)
	d.Retry = retryWords(&u.Retry)
	d.Health = healthWords(u)
	d.Concurrency = concurrencyWords(u.Concurrency)
	return d
}

// groupTimeWords are the times that an upstream made of others has, "" where it has none.
func groupTimeWords(t *traffic.Timeouts) string {
	var words []string
	if t.Request > 0 {
		words = append(words, "gives the whole request "+t.Request.String())
	}
	if t.DeadlineHeader != "" {
		words = append(words, "no longer than "+t.DeadlineHeader+" says")
	}
	return strings.Join(words, "; ")
}

func timeoutWords(t *traffic.Timeouts) string {
	text := fmt.Sprintf("waits %s to connect, %s for an answer, %s within a body; keeps connections for %s",
		t.Connect, t.Response, t.Body, t.Idle)
	if t.Try > 0 {
		text += "; gives each try " + t.Try.String()
	}
	if t.Request > 0 {
		text += "; gives the whole request " + t.Request.String()
	}
	if t.DeadlineHeader != "" {
		text += "; no longer than " + t.DeadlineHeader + " says"
	}
	return text
}

// healthWords says who watches the endpoints, and what follows.
func healthWords(u *config.Upstream) (lines []string) {
	if h := u.Health; h != nil {
		lines = append(lines, fmt.Sprintf("asks each endpoint over %s every %s; %s in a row make it unhealthy, %s healthy",
			h.Protocol, h.Interval, counted(h.Unhealthy, "bad answer"), counted(h.Healthy, "good one")))
	}
	if e := u.Ejection; e != nil {
		var why []string
		if e.Consecutive > 0 {
			why = append(why, counted(e.Consecutive, "failure")+" in a row")
		}
		if e.FailureShare > 0 {
			why = append(why, e.FailureShare.String()+" of failures")
		}
		if e.SuccessDeviations > 0 {
			why = append(why, "far fewer successes than its peers")
		}
		if e.Latency > 0 {
			why = append(why, e.Latency.String()+" the latency of its peers")
		}
		lines = append(lines, fmt.Sprintf("ejects an endpoint for %s and longer after %s; no more than %s of them", e.Time, strings.Join(why, " or "), e.MaxShare))
	}
	if b := u.Breaker; b != nil {
		var why []string
		if b.FailureShare > 0 {
			why = append(why, b.FailureShare.String()+" of failures")
		}
		if b.SlowShare > 0 {
			why = append(why, b.SlowShare.String()+" of answers slower than "+b.SlowAfter.String())
		}
		lines = append(lines, fmt.Sprintf("breaks off (%s) for %s and longer at %s within %s", strings.Join(b.Scope, " and "), b.Open, strings.Join(why, " or "), b.Window))
	}
	return lines
}

// protocolWords says what is spoken, where that is not HTTP/1.1.
func protocolWords(protocol string) string {
	switch protocol {
	case "h2":
		return "; speaks HTTP/2"
	case "auto":
		return "; speaks what each endpoint agrees on (ALPN)"
	}
	return ""
}

// endpointWords is an endpoint with what sets it apart.
func endpointWords(e *traffic.Endpoint) string {
	var apart []string
	if e.Weight != 1 {
		apart = append(apart, fmt.Sprintf("weight %d", e.Weight))
	}
	if e.Zone != "" {
		apart = append(apart, "zone "+e.Zone)
	}
	if e.Priority != 0 {
		apart = append(apart, fmt.Sprintf("priority %d", e.Priority))
	}
	if len(apart) == 0 {
		return e.URL.String()
	}
	return e.URL.String() + " (" + strings.Join(apart, ", ") + ")"
}

func concurrencyWords(c *traffic.Concurrency) string {
	if c == nil {
		return ""
	}
	words := fmt.Sprintf("lets %d requests wait for an answer at one time", c.Limit)
	if c.Adaptive() {
		words = fmt.Sprintf("finds from how long answers take how many requests may wait for one at one time, from %d to %d", c.Min, c.Max)
	}
	switch {
	case c.PerEndpoint > 0 && c.Limit == 0:
		words = fmt.Sprintf("lets %d requests wait for an answer of each endpoint at one time", c.PerEndpoint)
	case c.PerEndpoint > 0:
		words += fmt.Sprintf(", %d of them at each endpoint", c.PerEndpoint)
	}
	if c.Queue == 0 {
		return words + "; others are refused"
	}
	words += fmt.Sprintf("; %d more wait in a queue for up to %s", c.Queue, c.Wait)
	for i, g := range c.Groups {
		if i == 0 {
			words += ", by the priority of their consumer's group:"
		} else {
			words += ","
		}
		words += fmt.Sprintf(" %s %d", g.Key, g.Value)
	}
	return words
}

func retryWords(r *traffic.Retry) string {
	if h := r.Hedge; h != nil {
		return againWords(r) + "; asks " + counted(h.Max, "more endpoint") + " at the same time if a " + strings.Join(h.Methods, " or ") +
			" is not answered within " + h.After.String()
	}
	return againWords(r)
}

func againWords(r *traffic.Retry) string {
	if r.Attempts == 0 || len(r.On) == 0 {
		return "never sends a request again"
	}
	var unseen, seen []string
	for _, on := range r.On {
		switch on {
		case "connect_failure":
			unseen = append(unseen, "if it cannot connect")
		case "reset":
			seen = append(seen, "the connection ends")
		case "timeout":
			seen = append(seen, "the answer takes too long")
		default:
			seen = append(seen, "the answer is "+on.String())
		}
	}
	if len(seen) > 0 {
		methods := ""
		if len(r.Methods) > 0 {
			methods = " or " + strings.Join(r.Methods, " or ")
		}
		unseen = append(unseen, "if the method is idempotent"+methods+" and "+strings.Join(seen, " or "))
	}
	return "sends a request again up to " + counted(r.Attempts, "time") + " " + strings.Join(unseen, ", or ") +
		"; for " + r.Budget.String() + " of the requests at most"
}
