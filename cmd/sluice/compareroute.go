package main

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policy"
)

// route compares what a route matches, does and answers with.
func (c *comparer) route(old, new *config.Route) []detail {
	details := settingsChanged("match", c.match(old), c.match(new))
	details = append(details, c.chain("policies", c.chainOf(old.Policies), c.chainOf(new.Policies))...)
	details = append(details, settingsChanged("", upgradesOf(old), upgradesOf(new))...)
	return append(details, c.target(old, new)...)
}

// match compares hosts, paths and methods as the sets that they are.
func (c *comparer) match(r *config.Route) []config.Setting {
	settings := c.canon.Value(r.Match)
	for i := range settings {
		s := &settings[i]
		if list, ok := strings.CutPrefix(s.Text, "["); ok && slices.Contains([]string{"host", "path", "methods", "listener"}, s.Path) {
			words := strings.Split(strings.TrimSuffix(list, "]"), ", ")
			slices.Sort(words)
			s.Text = strings.Join(slices.Compact(words), ", ")
		}
	}
	return settings
}

func upgradesOf(r *config.Route) []config.Setting {
	var words []string
	for _, u := range r.Upgrades {
		words = append(words, u.Value)
	}
	slices.Sort(words)
	if len(words) == 0 {
		return nil
	}
	text := "[" + strings.Join(slices.Compact(words), ", ") + "]"
	return []config.Setting{{Path: "upgrades", Text: text, Shown: text}}
}

func (c *comparer) target(old, new *config.Route) []detail {
	if len(old.Targets) == 0 || len(new.Targets) == 0 {
		return nil
	}
	was, is := &old.Targets[0], &new.Targets[0]
	if was.Kind == is.Kind {
		return settingsChanged(is.Kind, c.targetSettings(was), c.targetSettings(is))
	}
	before, after := targetWords(was.Kind, c.targetSettings(was)), targetWords(is.Kind, c.targetSettings(is))
	return []detail{{Path: "target", Old: &before, New: &after}}
}

func (c *comparer) targetSettings(k *config.Keyed) []config.Setting {
	if kind, ok := c.targets[k.Kind]; ok {
		return c.canon.Node(&k.Settings, kind.NewSettings())
	}
	return c.canon.Node(&k.Settings, nil)
}

// targetWords is a target on one line.
func targetWords(kind string, settings []config.Setting) string {
	var words []string
	for _, s := range settings {
		switch {
		case s.Path == "":
			return kind + " " + s.Shown
		case s.Text != "":
			words = append(words, s.Path+": "+s.Shown)
		}
	}
	return kind + " {" + strings.Join(words, ", ") + "}"
}

// link is one policy of a chain.
type link struct {
	name     string // rate_limit, rate_limit#2
	stage    policy.Stage
	settings []config.Setting
}

// chainOf brings policies into the order in which they run.
func (c *comparer) chainOf(list []config.Policy) []link {
	links := make([]link, 0, len(list))
	seen := map[string]int{}
	for i := range list {
		links = append(links, c.link(&list[i], seen))
	}
	slices.SortStableFunc(links, func(a, b link) int { return int(a.stage) - int(b.stage) })
	return links
}

func (c *comparer) link(p *config.Policy, seen map[string]int) link {
	if len(p.Kinds) == 0 {
		return link{}
	}
	keyed := &p.Kinds[0]
	seen[keyed.Kind]++
	l := link{name: keyed.Kind}
	if n := seen[keyed.Kind]; n > 1 {
		l.name = fmt.Sprintf("%s#%d", keyed.Kind, n)
	}
	kind, ok := c.policies[keyed.Kind]
	if !ok {
		l.settings = c.canon.Node(&keyed.Settings, nil)
		return l
	}
	l.stage = kind.Stage
	fault := onFaultOf(p, kind.Stage)
	l.settings = append(c.canon.Node(&keyed.Settings, kind.NewSettings()), config.Setting{Path: "on_fault", Text: fault, Shown: fault})
	return l
}

// onFaultOf is what was written, or the default of the stage.
func onFaultOf(p *config.Policy, stage policy.Stage) string {
	if p.OnFault.Value != "" {
		return p.OnFault.Value
	}
	return stage.DefaultOnFault().String()
}

// chain compares two chains: which policies there are, their settings, and their
// order within each stage.
func (c *comparer) chain(path string, old, new []link) []detail {
	was := map[string]link{}
	for _, l := range old {
		was[l.name] = l
	}
	is := map[string]bool{}
	var details []detail
	for _, l := range new {
		is[l.name] = true
		at := joined(path, l.name)
		before, there := was[l.name]
		if !there {
			details = append(details, detail{Path: at, Note: "added"})
			continue
		}
		details = append(details, settingsChanged(at, before.settings, l.settings)...)
	}
	for _, l := range old {
		if !is[l.name] {
			details = append(details, detail{Path: joined(path, l.name), Note: "removed"})
		}
	}
	oldOrder := namesIn(old, func(name string) bool { return is[name] })
	newOrder := namesIn(new, func(name string) bool { _, there := was[name]; return there })
	if before, after := strings.Join(oldOrder, ", "), strings.Join(newOrder, ", "); before != after {
		details = append(details, detail{Path: path + " order", Old: &before, New: &after})
	}
	return details
}

func namesIn(links []link, keep func(name string) bool) []string {
	var names []string
	for _, l := range links {
		if keep(l.name) {
			names = append(names, l.name)
		}
	}
	return names
}

// top compares the policies of all routes.
func (c *comparer) top(before, after *config.Document) []change {
	details := c.chain("", c.topChain(before), c.topChain(after))
	if len(details) == 0 {
		return nil
	}
	at := config.Position{File: after.Main, Line: 1, Column: 1}
	if len(after.Policies) > 0 && len(after.Policies[0].Value.Kinds) > 0 {
		at = after.Policies[0].Position(after.Policies[0].Value.Kinds[0].Mark)
	}
	return []change{{Kind: "policies", Name: "of all routes", What: changed, At: at, Details: details}}
}

func (c *comparer) topChain(doc *config.Document) []link {
	list := make([]config.Policy, len(doc.Policies))
	for i, item := range doc.Policies {
		list[i] = *item.Value
	}
	return c.chainOf(list)
}

// keysOf are the keys of two maps, each once.
func keysOf[V any](a, b map[string]V) iter.Seq[string] {
	all := map[string]bool{}
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return maps.Keys(all)
}
