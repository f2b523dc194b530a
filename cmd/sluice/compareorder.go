package main

import (
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/message"
)

// reordered finds routes whose order decides between them, and that changed places:
// those that are equally specific and can match the same request. See package route
// for the order of precedence.
func (c *comparer) reordered(before, after *config.Document) []change {
	was := make(map[string]int, len(before.Routes))
	for i, item := range before.Routes {
		was[item.Value.Name.Value] = i
	}
	groups := map[string][]int{}
	for i, item := range after.Routes {
		if _, there := was[item.Value.Name.Value]; !there {
			continue
		}
		for _, key := range precedences(item.Value) {
			groups[key] = append(groups[key], i)
		}
	}
	var changes []change
	told := map[int]bool{}
	for i, item := range after.Routes {
		for _, key := range precedences(item.Value) {
			for _, j := range groups[key] {
				if j >= i {
					break
				}
				first, second := after.Routes[j].Value, item.Value
				if told[i] || was[first.Name.Value] <= was[second.Name.Value] || disjoint(first, second) {
					continue
				}
				told[i] = true
				at := item.Position(second.Name.Mark)
				changes = append(changes, change{
					Kind: "route", Name: second.Name.Value, What: moved, At: &at,
					Details: []detail{{Path: "order", Note: fmt.Sprintf("comes behind %s now, which is as specific and wins where both match", first.Name.Value)}},
				})
			}
		}
	}
	return changes
}

// precedences are what decides which route goes first, for each host and path of a
// route. Routes that have one in common are told apart by their order alone.
func precedences(r *config.Route) []string {
	conditions := len(r.Match.Headers) + len(r.Match.Query)
	if len(r.Match.Methods) > 0 {
		conditions++
	}
	tail := fmt.Sprintf("\x00%d\x00%t", conditions, len(r.Match.Listener) > 0)
	hosts, paths := []string{""}, []string{""}
	if len(r.Match.Host) > 0 {
		hosts = nil
		for _, h := range r.Match.Host {
			hosts = append(hosts, message.LowerASCII(h.Value))
		}
	}
	if len(r.Match.Path) > 0 {
		paths = nil
		for _, p := range r.Match.Path {
			paths = append(paths, pathForm(p))
		}
	}
	keys := make([]string, 0, len(hosts)*len(paths))
	for _, host := range hosts {
		for _, path := range paths {
			keys = append(keys, host+"\x00"+path+tail)
		}
	}
	return keys
}

// pathForm is a pattern without the names of its parameters; all regular expressions
// are equal.
func pathForm(p config.Path) string {
	if p.Regex {
		return "regex"
	}
	segments := strings.Split(p.Text, "/")
	for i, s := range segments {
		switch {
		case s == "**" || strings.HasSuffix(s, "...}"):
			segments[i] = "**"
		case strings.HasPrefix(s, "{"):
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

// disjoint says whether no request can meet both routes, by method or listener.
func disjoint(a, b *config.Route) bool {
	return apart(a.Match.Methods, b.Match.Methods) || apart(a.Match.Listener, b.Match.Listener)
}

func apart(a, b []config.Text) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	for _, x := range a {
		for _, y := range b {
			if x.Value == y.Value {
				return false
			}
		}
	}
	return true
}
