package route

import (
	"math/bits"

	"github.com/sluice-gateway/sluice/message"
)

// cursor goes through the nodes that a request's host and path lead to, the most
// specific one first. It lives on the stack of the match.
type cursor struct {
	table *Table
	path  string
	host  string
	// suffix is where the next wildcard begins in host; -1 once the rules
	// without host have been reached.
	suffix int
	group  uint32
	forms  []form // what is left of the group's
	form   *form  // of the node that next returned
	cut    segments
}

func (c *cursor) start(t *Table, r *message.Request) {
	c.table, c.path = t, r.Path
	c.cut.cut(r.Path, t.seed)
	if len(t.hosts) == 0 {
		c.suffix = -1
		c.forms = t.list(t.none)
		return
	}
	c.host = requestHost(r)
	if slot := t.findHost(c.host, false); slot != nil {
		c.group, c.forms = slot.group, t.list(slot.forms)
	}
}

// next returns the next node, or nil after the last.
func (c *cursor) next() *node {
	for {
		for len(c.forms) > 0 {
			f := &c.forms[0]
			c.forms = c.forms[1:]
			if !f.reaches(c.cut.n) {
				continue
			}
			if n := c.table.find(&c.cut, c.path, c.group, f); n != nil {
				c.form = f
				return n
			}
		}
		if c.suffix < 0 {
			return nil
		}
		c.nextHost()
	}
}

// reaches says whether a path of n segments can have the form.
func (f *form) reaches(n int) bool {
	switch f.kind {
	case full:
		return n == int(f.count)
	case prefix:
		return n >= int(f.count) && n > 0
	case expression:
		return n > 0
	}
	return true
}

// nextHost moves on to the longest wildcard that is left, and at last to the
// rules without host.
func (c *cursor) nextHost() {
	t := c.table
	for i := c.suffix + 1; i < len(c.host); i++ {
		size := len(c.host) - i
		if c.host[i] != '.' || size > maxHost || t.wildLengths[size>>6]&(1<<(size&63)) == 0 {
			continue
		}
		if slot := t.findHost(c.host[i:], true); slot != nil {
			c.suffix, c.group, c.forms = i, slot.group, t.list(slot.forms)
			return
		}
	}
	c.suffix, c.group, c.forms = -1, 0, t.list(t.none)
}

func (t *Table) list(l formList) []form { return t.lists[l.first : l.first+l.count] }

// findHost returns the slot of a host, or of a wildcard by what follows its star.
func (t *Table) findHost(host string, wild bool) *hostSlot {
	h := hashHost(host, t.seed)
	tag := tagOf(h, wild)
	for i := place(h, len(t.hosts)); ; i++ {
		if i == len(t.hosts) {
			i = 0
		}
		slot := &t.hosts[i]
		if slot.tag == 0 {
			return nil
		}
		if slot.tag != tag || slot.wild != wild {
			continue
		}
		text := t.texts[slot.text : slot.text+uint32(slot.size)]
		if text == host || message.EqualFold(text, host) {
			return slot
		}
	}
}

// tagOf is the part of a host's hash that its slot keeps.
func tagOf(hash uint64, wild bool) uint32 {
	tag := uint32(hash) | 1
	if wild {
		tag ^= 1 << 31
	}
	return tag
}

// find returns the node of a form on a host whose literals the path has.
func (t *Table) find(s *segments, path string, group uint32, f *form) *node {
	h := nodeHash(s.key(f), group, f.id)
	tag := uint32(h) | 1
	for i := place(h, len(t.nodes)); ; i++ {
		if i == len(t.nodes) {
			i = 0
		}
		n := &t.nodes[i]
		if n.tag == 0 {
			return nil
		}
		if n.tag == tag && n.group == group && n.form == f.id &&
			s.fits(path, f, t.texts[n.text:n.text+uint32(n.size)]) {
			return n
		}
	}
}

func nodeHash(key uint64, group, form uint32) uint64 {
	return mix(key^uint64(group)*mulA, mulB^uint64(form)*mulC)
}

// fill adds the named parts of the path at the current node.
func (c *cursor) fill(params *message.Params, l nameList) {
	names := c.table.names[l.first : l.first+uint32(l.count)]
	for wild := c.form.params; wild != 0; wild &= wild - 1 {
		i := bits.TrailingZeros32(wild)
		params.Add(names[0], c.path[c.cut.start(i):c.cut.end[i]])
		names = names[1:]
	}
	if l.rest {
		from := min(c.cut.start(int(c.form.count)), len(c.path))
		params.Add(names[0], c.path[from:])
	}
}
