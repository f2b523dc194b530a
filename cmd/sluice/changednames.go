package main

import (
	"fmt"

	"github.com/sluice-gateway/sluice/config"
)

// namesLimit is how many changes a reload names in the log.
const namesLimit = 20

// changedNames names what changes between two documents, in a few words each: "route
// orders changed", "upstream x added". It is for the log of a reload: entries that
// both documents share are passed over by comparing pointers, and no more than
// deepLimit others are looked into.
func changedNames(before, after *config.Document) []string {
	all := &names{list: []string{}, comparer: newComparer()}
	c := all.comparer
	for _, change := range c.sections(before, after) {
		all.add(change.title())
	}
	nameEntries(all, "listener", before.Listeners, after.Listeners, listenerName, c.listener)
	nameEntries(all, "upstream", before.Upstreams, after.Upstreams, upstreamName, c.upstream)
	nameEntries(all, "consumer", before.Consumers, after.Consumers, consumerName, c.consumer)
	if gone, come := unshared(before.Policies, after.Policies); len(gone)+len(come) > 0 || movedAny(before.Policies, after.Policies) {
		for _, change := range c.top(before, after) {
			all.add(change.title())
		}
	}
	nameEntries(all, "route", before.Routes, after.Routes, routeName, c.route)
	if all.more > 0 {
		all.list = append(all.list, fmt.Sprintf("and %d more", all.more))
	}
	return all.list
}

// deepLimit is how many entries are compared by what they mean; of further ones
// it is told that they changed.
const deepLimit = 200

type names struct {
	list     []string
	more     int
	deep     int
	comparer *comparer
}

func (n *names) add(name string) {
	if len(n.list) < namesLimit {
		n.list = append(n.list, name)
	} else {
		n.more++
	}
}

func nameEntries[T any](n *names, kind string, before, after []config.Item[T], name func(*T) config.Text, compare func(old, new config.Item[T]) []detail) {
	sometimes := func(old, new config.Item[T]) []detail {
		if n.deep++; n.deep > deepLimit {
			return []detail{{}}
		}
		return compare(old, new)
	}
	for _, change := range entries(kind, before, after, name, sometimes) {
		n.add(change.title())
	}
}

// lookAhead is how far unshared looks for the place at which two lists go on alike.
const lookAhead = 64

// unshared returns the indexes of the entries that only one of two documents has. It
// goes through both lists at once, so it is quick where most entries are shared and
// stand in the same order.
func unshared[T any](before, after []config.Item[T]) (gone, come []int) {
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		if before[i].Value == after[j].Value {
			i, j = i+1, j+1
			continue
		}
		skipOld, skipNew, found := resume(before[i:], after[j:])
		if !found {
			break
		}
		for range skipOld {
			gone = append(gone, i)
			i++
		}
		for range skipNew {
			come = append(come, j)
			j++
		}
	}
	for ; i < len(before); i++ {
		gone = append(gone, i)
	}
	for ; j < len(after); j++ {
		come = append(come, j)
	}
	return withoutShared(before, after, gone, come)
}

// resume finds how many entries to skip in each list until both go on alike; the
// fewest.
func resume[T any](before, after []config.Item[T]) (skipOld, skipNew int, found bool) {
	for total := 1; total <= lookAhead; total++ {
		for skipOld := 0; skipOld <= total; skipOld++ {
			skipNew := total - skipOld
			if skipOld < len(before) && skipNew < len(after) && before[skipOld].Value == after[skipNew].Value {
				return skipOld, skipNew, true
			}
		}
	}
	return 0, 0, false
}

// withoutShared takes out what stands in both lists, only in another place.
func withoutShared[T any](before, after []config.Item[T], gone, come []int) (reallyGone, reallyCome []int) {
	if len(gone) == 0 || len(come) == 0 {
		return gone, come
	}
	was := make(map[*T]bool, len(gone))
	for _, i := range gone {
		was[before[i].Value] = true
	}
	both := map[*T]bool{}
	for _, j := range come {
		if was[after[j].Value] {
			both[after[j].Value] = true
			continue
		}
		reallyCome = append(reallyCome, j)
	}
	for _, i := range gone {
		if !both[before[i].Value] {
			reallyGone = append(reallyGone, i)
		}
	}
	return reallyGone, reallyCome
}

// movedAny says whether two lists that share all entries have them in another order.
func movedAny[T any](before, after []config.Item[T]) bool {
	for i := range min(len(before), len(after)) {
		if before[i].Value != after[i].Value {
			return true
		}
	}
	return false
}
