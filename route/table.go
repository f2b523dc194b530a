package route

import (
	"regexp"
	"slices"

	"github.com/sluice-gateway/sluice/message"
)

// Table is the immutable matcher that Build makes. All goroutines may use it at
// once.
type Table struct {
	seed uint64
	// hosts is a hash table with open addressing: the exact hosts and the
	// wildcards, told apart by wild.
	hosts []hostSlot
	// wildLengths has a bit for each length of a wildcard's suffix, so that only
	// those suffixes of a host are looked up that can be there.
	wildLengths [4]uint64
	// none is for the rules that name no host.
	none formList

	// forms are all forms of paths, in order of precedence; a form's id is its
	// index. lists holds the forms of each host, in the same order, one host's
	// behind the other's; hosts with the same forms share a list.
	forms []form
	lists []form
	// nodes is a hash table with open addressing over host, form and literals.
	nodes   []node
	entries []entry
	// texts holds every host and every literal.
	texts string

	// more holds the rare parts of entries; index 0 is nobody's.
	more []extras
	// nameLists tells which of names belong to an entry; index 0 is the empty list.
	nameLists []nameList
	names     []string
}

// form is what the paths of some patterns have in common: how many segments they
// look at, and which of those are parameters.
type form struct {
	params uint32
	id     uint32
	count  uint8
	kind   kind
}

// formList is one host's part of Table.lists.
type formList struct{ first, count uint32 }

// hostSlot is one host. tag is never 0 where there is one.
type hostSlot struct {
	tag   uint32
	text  uint32
	group uint32
	forms formList
	size  uint8
	wild  bool
}

// node is one path pattern on one host. tag is never 0 where there is one.
type node struct {
	tag   uint32
	group uint32
	form  uint32
	text  uint32
	first uint32 // of its entries, which end with the one that says so
	size  uint16
}

// entry is a rule at one of its nodes. The entries of a node are in order of
// precedence.
type entry struct {
	rule    uint32
	more    uint32 // index into Table.more, 0 for nothing
	names   uint32 // index into Table.nameLists
	methods methodSet
	weight  uint8 // see weigh
	last    bool
}

// extras are conditions that most rules do not have.
type extras struct {
	listeners []string
	methods   []string // those that methodSet has no bit for
	headers   []Condition
	query     []Condition
	path      *regexp.Regexp
}

type nameList struct {
	first uint32
	count uint8
	rest  bool
}

// Match finds the rule that wins for a request on a listener, and fills params
// with the named parts of its path. Params may be nil; it is emptied first. The
// values are parts of r.Path. The request's path must be normalised (Normalize).
//
// It allocates nothing, apart from what requestHost and holdsQuery say. It costs
// at most one look-up for each form of paths on the request's host, on the
// wildcards above it and among the rules without host, plus one test for each
// rule that has the very same host and path pattern, and one for each regular
// expression: it never goes back to try a combination again.
func (t *Table) Match(r *message.Request, listener string, params *message.Params) (index int, ok bool) {
	if params != nil {
		params.Truncate(0)
	}
	var c cursor
	c.start(t, r)
	for n := c.next(); n != nil; n = c.next() {
		for i := n.first; ; i++ {
			e := &t.entries[i]
			if t.admits(e, r, listener) {
				if params != nil && e.names != 0 {
					c.fill(params, t.nameLists[e.names])
				}
				return int(e.rule), true
			}
			if e.last {
				break
			}
		}
	}
	return 0, false
}

// admits says whether a request that is at an entry's node passes its conditions.
func (t *Table) admits(e *entry, r *message.Request, listener string) bool {
	if e.methods != 0 && !t.allows(e, r.Method) {
		return false
	}
	return e.more == 0 || t.more[e.more].hold(r, listener)
}

// allows says whether an entry takes a method.
func (t *Table) allows(e *entry, method string) bool {
	bit := methodBit(method)
	if bit != otherMethod {
		return e.methods&bit != 0
	}
	return e.methods&otherMethod != 0 && slices.Contains(t.more[e.more].methods, method)
}

// hold says whether everything but the method is as the rule wants it.
func (x *extras) hold(r *message.Request, listener string) bool {
	if x.listeners != nil && !slices.Contains(x.listeners, listener) {
		return false
	}
	if x.path != nil && !x.path.MatchString(r.Path) {
		return false
	}
	for i := range x.headers {
		if !x.headers[i].holdsHeader(&r.Header) {
			return false
		}
	}
	for i := range x.query {
		if !x.query[i].holdsQuery(r.Query) {
			return false
		}
	}
	return true
}

// Methods are the methods for which a rule would match a request that none
// matched: what stands in Allow beside a 405 (RFC 9110 §15.5.6). Sorted, each
// once; empty where the path is unknown, which is a 404. Off the hot path.
func (t *Table) Methods(r *message.Request, listener string) []string {
	var found []string
	var set methodSet
	var c cursor
	c.start(t, r)
	for n := c.next(); n != nil; n = c.next() {
		for i := n.first; ; i++ {
			e := &t.entries[i]
			if e.more == 0 || t.more[e.more].hold(r, listener) {
				set |= e.methods
				if e.methods&otherMethod != 0 {
					found = append(found, t.more[e.more].methods...)
				}
			}
			if e.last {
				break
			}
		}
	}
	found = append(found, set.names()...)
	slices.Sort(found)
	return slices.Compact(found)
}
