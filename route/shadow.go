package route

import (
	"slices"

	"github.com/sluice-gateway/sluice/message"
)

// shadowReach is with how many rules, the first ones on the same host and path, a
// rule is compared. Without it a build with thousands of rules on one path would
// take the square of their number; what is further away is not reported.
const shadowReach = 64

// shadows finds the rules of which no entry can win.
//
// An entry cannot win if an entry that goes first on the same host matches
// whatever it matches. That is certain in two cases: an earlier entry of the same
// node has no condition that this one does not imply; or the host has a rule for
// /** of which the same is true, since a prefix goes before a regular expression
// and before a rule without paths.
func (b *builder) shadows() []Shadow {
	const alive, unknown = -2, -1
	by := make([]int, len(b.rules))
	for i := range by {
		by[i] = unknown
	}
	for i := range b.nodes {
		list := b.entriesOf(uint32(i))
		for j := range list {
			switch above := b.above(&b.nodes[i], list, j); {
			case above < 0:
				by[list[j].rule] = alive
			case by[list[j].rule] == unknown:
				by[list[j].rule] = above
			}
		}
		b.step()
	}
	var found []Shadow
	for rule, other := range by {
		if other >= 0 {
			found = append(found, Shadow{Rule: rule, By: other})
		}
	}
	return found
}

// above returns the rule whose entry is in the way of entry j of a node, or -1.
func (b *builder) above(n *draft, list []entry, j int) int {
	below := b.rules[list[j].rule]
	kind := b.table.forms[n.form].kind
	if kind != expression {
		if rule := b.covering(list[:j], list[j].rule); rule >= 0 {
			return rule
		}
	}
	all := b.groups[n.group].catchAll
	// Only a rule without paths sees the request target "*", which only OPTIONS has.
	everySlash := kind == expression || kind == anyPath && len(below.Methods) > 0 && !slices.Contains(below.Methods, "OPTIONS")
	if all != 0 && everySlash {
		return b.covering(b.entriesOf(all-1), list[j].rule)
	}
	return -1
}

// covering returns the first rule among those of some entries that matches
// whenever another one does, or -1.
func (b *builder) covering(entries []entry, below uint32) int {
	for i := range entries[:min(len(entries), shadowReach)] {
		if rule := entries[i].rule; rule != below && covers(b.rules[rule], b.rules[below]) {
			return int(rule)
		}
	}
	return -1
}

// covers says whether all that low asks for, apart from host and path, is at least
// what high asks for.
func covers(high, low *Rule) bool {
	return includes(high.Methods, low.Methods) && includes(high.Listeners, low.Listeners) &&
		implied(high.Headers, low.Headers, message.EqualFold) && implied(high.Query, low.Query, equal)
}

func equal(a, b string) bool { return a == b }

// includes says whether a list, in which nothing stands for everything, has all of
// another.
func includes(high, low []string) bool {
	if len(high) == 0 {
		return true
	}
	for _, s := range low {
		if !slices.Contains(high, s) {
			return false
		}
	}
	return len(low) > 0
}

// implied says whether each condition of high follows from one of low.
func implied(high, low []Condition, sameName func(a, b string) bool) bool {
	for i := range high {
		follows := func(c Condition) bool {
			if !sameName(c.Name, high[i].Name) {
				return false
			}
			if high[i].Test == Present {
				return c.Test != Absent
			}
			return c.Test == high[i].Test && (c.Test == Absent || c.Value == high[i].Value)
		}
		if !slices.ContainsFunc(low, follows) {
			return false
		}
	}
	return true
}
