package route

import (
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// The twin is the matcher as one would write it who reads the configuration
// page: look at all rules, keep those that match, take the best. It shares no
// code with the table but the parsing of single conditions.

// candidate is a rule that matches through one of its hosts and paths.
type candidate struct {
	rule   int
	host   string
	path   Pattern
	params []message.Param
}

func twinCandidates(rules []Rule, r *message.Request, listener string, anyMethod bool) []candidate {
	var found []candidate
	for i := range rules {
		rule := &rules[i]
		if len(rule.Listeners) > 0 && !slices.Contains(rule.Listeners, listener) {
			continue
		}
		if !anyMethod && len(rule.Methods) > 0 && !slices.Contains(rule.Methods, r.Method) {
			continue
		}
		if !twinConditions(rule, r) {
			continue
		}
		hosts, paths := rule.Hosts, rule.Paths
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		if len(paths) == 0 {
			paths = []Pattern{{kind: anyPath}}
		}
		for _, host := range hosts {
			for _, path := range paths {
				params, ok := twinPath(path, r.Path)
				if ok && twinHost(host, r.Authority) {
					found = append(found, candidate{i, host, path, params})
				}
			}
		}
	}
	return found
}

func twinConditions(rule *Rule, r *message.Request) bool {
	for _, c := range rule.Headers {
		if !c.holdsHeader(&r.Header) {
			return false
		}
	}
	for _, c := range rule.Query {
		if !c.holdsQuery(r.Query) {
			return false
		}
	}
	return true
}

func twinHost(pattern, authority string) bool {
	if pattern == "" {
		return true
	}
	pattern, _ = ParseHost(pattern)
	host := strings.ToLower(authority)
	if i := strings.LastIndex(host, ":"); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && address.Is6() {
		host = "[" + address.String() + "]"
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return host == pattern
}

func twinPath(p Pattern, path string) ([]message.Param, bool) {
	if p.kind == anyPath {
		return nil, true
	}
	if !strings.HasPrefix(path, "/") {
		return nil, false
	}
	if p.IsRegex() {
		return nil, p.regex.MatchString(path)
	}
	var params []message.Param
	want, have := strings.Split(p.text[1:], "/"), strings.Split(path[1:], "/")
	for i, segment := range want {
		if segment == "**" {
			return params, true
		}
		if name, ok := strings.CutSuffix(segment, "...}"); ok {
			return append(params, message.Param{Name: name[1:], Value: strings.Join(have[min(i, len(have)):], "/")}), true
		}
		if i == len(have) {
			return nil, false
		}
		if strings.HasPrefix(segment, "{") {
			if have[i] == "" {
				return nil, false
			}
			params = append(params, message.Param{Name: segment[1 : len(segment)-1], Value: have[i]})
		} else if segment != have[i] {
			return nil, false
		}
	}
	return params, len(want) == len(have)
}

// twinBefore says whether a wins over b.
func twinBefore(a, b candidate, rules []Rule) bool {
	for i, x := range twinRank(a, rules) {
		if y := twinRank(b, rules)[i]; x != y {
			return x < y
		}
	}
	return false
}

// twinRank is what decides between two candidates, the most important first; the
// smaller number wins.
func twinRank(c candidate, rules []Rule) []int {
	rank := []int{0, 0, 0, 0, 0, 0, 0, c.rule}
	switch {
	case c.host == "":
		rank[0] = 2
	case c.host[0] == '*':
		rank[0], rank[1] = 1, -len(c.host)
	}
	literalFirst := int(bits.Reverse32(c.path.params))
	switch segments := int(c.path.count); {
	case c.path.kind == anyPath:
		rank[2] = 4
	case c.path.IsRegex():
		rank[2] = 3
	case c.path.kind == prefix:
		rank[2], rank[3], rank[4] = 2, -segments, literalFirst
	case strings.Contains(c.path.text, "{"):
		rank[2], rank[4] = 1, literalFirst
	}
	rule := &rules[c.rule]
	rank[5] = -len(rule.Headers) - len(rule.Query)
	if len(rule.Methods) > 0 {
		rank[5]--
	}
	if len(rule.Listeners) > 0 {
		rank[6] = -1
	}
	return rank
}

func twinMatch(rules []Rule, r *message.Request, listener string) (candidate, bool) {
	found := twinCandidates(rules, r, listener, false)
	if len(found) == 0 {
		return candidate{}, false
	}
	best := found[0]
	for _, c := range found[1:] {
		if twinBefore(c, best, rules) {
			best = c
		}
	}
	return best, true
}

func twinMethods(rules []Rule, r *message.Request, listener string) []string {
	var methods []string
	for _, c := range twinCandidates(rules, r, listener, true) {
		methods = append(methods, rules[c.rule].Methods...)
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}
