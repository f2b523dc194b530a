package route

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// This file is the second half of Build: all rules are known, and the arrays of
// the table are laid out.

// rankForms brings the forms into their order of precedence, so that an id is a
// rank.
func (b *builder) rankForms() {
	forms := b.table.forms
	slices.SortFunc(forms, compareForms)
	rank := make([]uint32, len(forms))
	for i := range forms {
		rank[forms[i].id] = uint32(i)
		forms[i].id = uint32(i)
	}
	for i := range b.nodes {
		b.nodes[i].form = rank[b.nodes[i].form]
	}
	for i := range b.pairs {
		b.pairs[i].form = rank[b.pairs[i].form]
	}
}

// compareForms is the precedence of paths: all segments before the first ones,
// longer prefixes before shorter ones; then the one that, from the left, is the
// first to have a literal where the other has a parameter.
func compareForms(a, b form) int {
	order := cmp.Compare(a.kind, b.kind)
	if order == 0 && a.kind == prefix {
		order = cmp.Compare(b.count, a.count)
	}
	if order == 0 {
		order = cmp.Compare(bits.Reverse32(a.params), bits.Reverse32(b.params))
	}
	if order == 0 {
		order = cmp.Compare(a.count, b.count)
	}
	return order
}

// placeEntries puts the entries of each node behind each other: the heavier
// first, then the one written first.
func (b *builder) placeEntries() {
	next := uint32(0)
	for i := range b.nodes {
		b.nodes[i].first = next
		next += b.nodes[i].count
		b.nodes[i].count = 0
	}
	b.table.entries = make([]entry, len(b.items))
	for i := range b.items {
		n := &b.nodes[b.items[i].node]
		b.table.entries[n.first+n.count] = b.items[i].entry
		n.count++
		b.step()
	}
	for i := range b.nodes {
		list := b.entriesOf(uint32(i))
		if len(list) > 1 {
			slices.SortStableFunc(list, func(x, y entry) int { return cmp.Compare(y.weight, x.weight) })
		}
		list[len(list)-1].last = true
		b.step()
	}
}

func (b *builder) entriesOf(node uint32) []entry {
	n := &b.nodes[node]
	return b.table.entries[n.first : n.first+n.count]
}

// listForms makes each group's list of forms: a counting sort of the pairs by
// group, then a small sort inside each.
func (b *builder) listForms() {
	start := uint32(0)
	for i := range b.groups {
		g := &b.groups[i]
		start, g.pairs = start+g.pairs, start
	}
	sorted := make([]uint32, len(b.pairs))
	for _, p := range b.pairs {
		g := &b.groups[p.group]
		sorted[g.pairs] = p.form
		g.pairs++
		b.step()
	}
	known := make(map[string]formList)
	var key []byte
	var last []uint32
	begin := uint32(0)
	for i := range b.groups {
		b.step()
		g := &b.groups[i]
		ids := sorted[begin:g.pairs]
		begin = g.pairs
		if len(ids) > 1 {
			slices.Sort(ids)
			ids = slices.Compact(ids)
		}
		if i > 0 && slices.Equal(ids, last) {
			g.forms = b.groups[i-1].forms
			continue
		}
		last, key = ids, key[:0]
		for _, id := range ids {
			key = binary.LittleEndian.AppendUint32(key, id)
		}
		list, ok := known[string(key)]
		if !ok {
			list = formList{uint32(len(b.table.lists)), uint32(len(ids))}
			for _, id := range ids {
				b.table.lists = append(b.table.lists, b.table.forms[id])
			}
			known[string(key)] = list
		}
		g.forms = list
	}
}

// roomFor is the number of slots for n things: a third stays empty, so that a
// look-up in vain ends soon, and one is always empty, so that it ends.
func roomFor(n int) int { return n + n/2 + 1 }

func (b *builder) placeHosts() {
	t := b.table
	t.none = b.groups[0].forms
	if len(b.groups) == 1 {
		return
	}
	t.hosts = make([]hostSlot, roomFor(len(b.groups)-1))
	for id := 1; id < len(b.groups); id++ {
		g := &b.groups[id]
		i := place(g.hash, len(t.hosts))
		for t.hosts[i].tag != 0 {
			i = (i + 1) % len(t.hosts)
		}
		t.hosts[i] = hostSlot{
			tag: tagOf(g.hash, g.wild), text: g.text, group: uint32(id),
			forms: g.forms, size: g.size, wild: g.wild,
		}
		if g.wild {
			t.wildLengths[g.size>>6] |= 1 << (g.size & 63)
		}
		b.step()
	}
}

func (b *builder) placeNodes() {
	t := b.table
	t.nodes = make([]node, roomFor(len(b.nodes)))
	for j := range b.nodes {
		d := &b.nodes[j]
		hash := nodeHash(d.key, d.group, d.form)
		i := place(hash, len(t.nodes))
		for t.nodes[i].tag != 0 {
			i = (i + 1) % len(t.nodes)
		}
		t.nodes[i] = node{tag: uint32(hash) | 1, group: d.group, form: d.form, text: d.text, first: d.first, size: d.size}
		b.step()
	}
}
