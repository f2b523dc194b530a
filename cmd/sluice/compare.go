package main

import (
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/targets"
)

// What happened to an entry.
const (
	added   = "added"
	removed = "removed"
	changed = "changed"
	moved   = "moved"
)

// change is one entry of the document that is not what it was.
type change struct {
	Kind string `json:"kind"` // route, upstream, listener, consumer, policy, or a section
	Name string `json:"name,omitempty"`
	What string `json:"what"`
	// At is in the new document; of what was removed in the old one; nil for a section.
	At      *config.Position `json:"at,omitempty"`
	Details []detail         `json:"details,omitempty"`
}

// title names the change in a few words.
func (c *change) title() string { return strings.TrimSpace(c.Kind+" "+c.Name) + " " + c.What }

// detail is one setting that is not what it was. Old or New is nil where it was not
// there or is no more.
type detail struct {
	Path string  `json:"path"`
	Old  *string `json:"old,omitempty"`
	New  *string `json:"new,omitempty"`
	Note string  `json:"note,omitempty"`
}

// comparer compares what documents mean.
type comparer struct {
	viewer   *config.Viewer
	policies map[string]policy.Kind
	targets  map[string]target.Kind
}

func newComparer() *comparer {
	c := &comparer{nil, map[string]policy.Kind{}, map[string]target.Kind{}}
	c.viewer = config.NewViewer(c.settingsOfTarget)
	for _, k := range policies.All() {
		c.policies[k.Name] = k
	}
	for _, k := range targets.All() {
		c.targets[k.Name] = k
	}
	return c
}

// compare finds every change between two documents.
func compare(before, after *config.Document) []change {
	c := newComparer()
	changes := c.sections(before, after)
	changes = append(changes, entries("listener", before.Listeners, after.Listeners, listenerName, c.listener)...)
	changes = append(changes, entries("upstream", before.Upstreams, after.Upstreams, upstreamName, c.upstream)...)
	changes = append(changes, entries("consumer", before.Consumers, after.Consumers, consumerName, c.consumer)...)
	changes = append(changes, c.top(before, after)...)
	changes = append(changes, entries("route", before.Routes, after.Routes, routeName, c.route)...)
	return append(changes, c.reordered(before, after)...)
}

func listenerName(l *config.Listener) config.Text { return l.Name }
func upstreamName(u *config.Upstream) config.Text { return u.Name }
func consumerName(c *config.Consumer) config.Text { return c.Name }
func routeName(r *config.Route) config.Text       { return r.Name }

// sections compares what stands in the document once.
func (c *comparer) sections(before, after *config.Document) []change {
	var changes []change
	section := func(name string, was, is bool, old, new any) {
		what := changed
		switch {
		case !was && !is:
			return
		case !was:
			what = added
		case !is:
			what = removed
		}
		details := settingsChanged("", c.values(old, was), c.values(new, is))
		if what != changed || len(details) > 0 {
			changes = append(changes, change{Kind: name, What: what, Details: details})
		}
	}
	section("admin", before.Admin != nil, after.Admin != nil, before.Admin, after.Admin)
	section("telemetry.access_log", before.Telemetry.AccessLog != nil, after.Telemetry.AccessLog != nil, before.Telemetry.AccessLog, after.Telemetry.AccessLog)
	section("drain", true, true, before.Drain, after.Drain)
	return changes
}

func (c *comparer) values(v any, there bool) []setting {
	if !there {
		return nil
	}
	return settingsIn(v)
}

// entries compares two lists whose entries have names; their order does not count.
func entries[T any](kind string, before, after []config.Item[T], name func(*T) config.Text, compare func(old, new config.Item[T]) []detail) []change {
	gone, come := unshared(before, after)
	olds := make(map[string]config.Item[T], len(gone))
	for _, i := range gone {
		olds[name(before[i].Value).Value] = before[i]
	}
	var changes []change
	for _, i := range come {
		item := after[i]
		text := name(item.Value)
		at := item.Position(text.Mark)
		old, was := olds[text.Value]
		if !was {
			changes = append(changes, change{Kind: kind, Name: text.Value, What: added, At: &at})
			continue
		}
		delete(olds, text.Value)
		if details := compare(old, item); len(details) > 0 {
			changes = append(changes, change{Kind: kind, Name: text.Value, What: changed, At: &at, Details: details})
		}
	}
	for _, i := range gone {
		text := name(before[i].Value)
		if _, left := olds[text.Value]; left {
			at := before[i].Position(text.Mark)
			changes = append(changes, change{Kind: kind, Name: text.Value, What: removed, At: &at})
		}
	}
	return changes
}

func (c *comparer) listener(old, new config.Item[config.Listener]) []detail {
	return settingsChanged("", settingsIn(old.Value), settingsIn(new.Value))
}

func (c *comparer) upstream(old, new config.Item[config.Upstream]) []detail {
	return settingsChanged("", settingsIn(old.Value), settingsIn(new.Value))
}

// consumer compares groups as sets, and says of credentials only that they changed.
func (c *comparer) consumer(old, new config.Item[config.Consumer]) []detail {
	details := settingsChanged("", groupsOf(old.Value), groupsOf(new.Value))
	before, after := c.credentials(old.Value), c.credentials(new.Value)
	for _, kind := range slices.Sorted(keysOf(before, after)) {
		was, is := before[kind], after[kind]
		if !slices.Equal(was, is) {
			details = append(details, detail{Path: "credentials." + kind, Note: setWords(was, is, "credential")})
		}
	}
	return details
}

func groupsOf(c *config.Consumer) []setting {
	var groups []string
	for _, g := range c.Groups {
		groups = append(groups, g.Value)
	}
	text := inOrder(groups)
	return []setting{{"groups", text, text}}
}

// credentials are what tells credentials apart, by kind, sorted. It is never shown.
func (c *comparer) credentials(consumer *config.Consumer) map[string][]string {
	all := map[string][]string{}
	for _, credential := range consumer.Credentials {
		for _, keyed := range credential.Kinds {
			var into any
			if kind, ok := c.policies[keyed.Kind]; ok {
				into = kind.NewCredential()
			}
			text := ""
			for _, s := range settingsOf(c.viewer.View(&keyed.Settings, into)) {
				text += s.path + "\x00" + s.text + "\x00"
			}
			all[keyed.Kind] = append(all[keyed.Kind], text)
		}
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

// setWords says how many entries of a set were added and removed, and not which.
func setWords(was, is []string, noun string) string {
	gone, come := 0, 0
	for _, v := range was {
		if !slices.Contains(is, v) {
			gone++
		}
	}
	for _, v := range is {
		if !slices.Contains(was, v) {
			come++
		}
	}
	var words []string
	if come > 0 {
		words = append(words, counted(come, noun)+" added")
	}
	if gone > 0 {
		words = append(words, counted(gone, noun)+" removed")
	}
	if len(words) == 0 {
		return changed
	}
	return strings.Join(words, ", ")
}

// settingsChanged compares two flattened settings. Both are in the same order.
func settingsChanged(prefix string, old, new []setting) []detail {
	was := make(map[string]setting, len(old))
	for _, s := range old {
		was[s.path] = s
	}
	var details []detail
	for _, s := range new {
		before, there := was[s.path]
		delete(was, s.path)
		switch {
		case !there:
			details = append(details, detail{Path: joinPath(prefix, s.path), New: &s.shown})
		case before.text != s.text && before.shown == s.shown:
			details = append(details, detail{Path: joinPath(prefix, s.path), Note: "the value behind " + s.shown + " changed"})
		case before.text != s.text:
			details = append(details, detail{Path: joinPath(prefix, s.path), Old: &before.shown, New: &s.shown})
		}
	}
	for _, s := range old {
		if _, left := was[s.path]; left {
			details = append(details, detail{Path: joinPath(prefix, s.path), Old: &s.shown})
		}
	}
	return details
}
