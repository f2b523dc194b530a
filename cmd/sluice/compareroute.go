package main

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policy"
)

// route compares what a route matches, does and answers with.
func (c *comparer) route(before, after config.Item[config.Route]) []detail {
	details := settingsChanged("match", matchOf(before), matchOf(after))
	old, new := before.Value, after.Value
	details = append(details, c.chain("policies", c.chainOf(old.Policies), c.chainOf(new.Policies))...)
	details = append(details, settingsChanged("", upgradesOf(old), upgradesOf(new))...)
	details = append(details, settingsChanged("", priorityOf(old), priorityOf(new))...)
	return append(details, c.target(old, new)...)
}

// matchOf is what a route matches: hosts, paths and methods as the sets that they are,
// and no value that a reference stands for.
func matchOf(item config.Item[config.Route]) []setting {
	m := item.Value.Match
	settings := settingsIn(m)
	hide := map[string]bool{}
	for _, c := range m.Headers {
		hide[joinKey("headers", c.Key)] = isReference(item, c.Value.Mark)
	}
	for _, c := range m.Query {
		hide[joinKey("query", c.Key)] = isReference(item, c.Value.Mark)
	}
	for i := range settings {
		s := &settings[i]
		if hide[s.path] {
			s.shown = "***"
		}
		if words, ok := strings.CutPrefix(s.text, "["); ok && slices.Contains([]string{"host", "path", "methods", "listener"}, s.path) {
			s.text = inOrder(strings.Split(strings.TrimSuffix(words, "]"), ", "))
		}
	}
	return settings
}

// isReference says whether the line on which a value stands may hold a reference.
func isReference(item config.Item[config.Route], at config.Mark) bool {
	quote := item.Problem(at, "").Quote
	return quote == "" || strings.Contains(quote, "${")
}

// inOrder writes a set as a list.
func inOrder(words []string) string {
	slices.Sort(words)
	return "[" + strings.Join(slices.Compact(words), ", ") + "]"
}

func priorityOf(r *config.Route) []setting {
	text := strconv.Itoa(r.Priority)
	return []setting{{"priority", text, text}}
}

func upgradesOf(r *config.Route) []setting {
	var words []string
	for _, u := range r.Upgrades {
		words = append(words, u.Value)
	}
	if len(words) == 0 {
		return nil
	}
	text := inOrder(words)
	return []setting{{"upgrades", text, text}}
}

func (c *comparer) target(old, new *config.Route) []detail {
	if len(old.Targets) == 0 || len(new.Targets) == 0 {
		return nil
	}
	was, is := &old.Targets[0], &new.Targets[0]
	if was.Kind == is.Kind {
		return settingsChanged(is.Kind, c.targetSettings(was), c.targetSettings(is))
	}
	before, after := was.Kind+" "+settingWords(c.targetSettings(was)), is.Kind+" "+settingWords(c.targetSettings(is))
	return []detail{{Path: "target", Old: &before, New: &after}}
}

func (c *comparer) targetSettings(k *config.Keyed) []setting {
	return settingsOf(c.viewer.View(&k.Settings, c.settingsOfTarget(k.Kind)))
}

// settingsOfTarget is an empty value of the settings of a kind, or nil.
func (c *comparer) settingsOfTarget(name string) any {
	if kind, ok := c.targets[name]; ok {
		return kind.NewSettings()
	}
	return nil
}

// settingWords are settings on one line.
func settingWords(settings []setting) string {
	var words []string
	for _, s := range settings {
		switch {
		case s.path == "":
			return s.shown
		case s.text != "":
			words = append(words, s.path+": "+s.shown)
		}
	}
	return "{" + strings.Join(words, ", ") + "}"
}

// link is one policy of a chain.
type link struct {
	name     string // rate_limit, rate_limit#2
	stage    policy.Stage
	settings []setting
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
		l.settings = settingsOf(c.viewer.View(&keyed.Settings, nil))
		return l
	}
	l.stage = kind.Stage
	fault := onFaultOf(p, kind.Stage)
	l.settings = append(settingsOf(c.viewer.View(&keyed.Settings, kind.NewSettings())), setting{"on_fault", fault, fault})
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
		at := joinPath(path, l.name)
		before, there := was[l.name]
		if !there {
			words := settingWords(l.settings)
			details = append(details, detail{Path: at, New: &words})
			continue
		}
		details = append(details, settingsChanged(at, before.settings, l.settings)...)
	}
	for _, l := range old {
		if !is[l.name] {
			words := settingWords(l.settings)
			details = append(details, detail{Path: joinPath(path, l.name), Old: &words})
		}
	}
	oldOrder := namesIn(old, func(name string) bool { return is[name] })
	newOrder := namesIn(new, func(name string) bool { _, there := was[name]; return there })
	if before, after := strings.Join(oldOrder, ", "), strings.Join(newOrder, ", "); before != after {
		details = append(details, detail{Path: strings.TrimSpace(path + " order"), Old: &before, New: &after})
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
	return []change{{Kind: "policies", Name: "of all routes", What: changed, Details: details}}
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
