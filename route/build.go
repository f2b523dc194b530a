package route

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// Limits of a table. Each has its own error.
const (
	// MaxEntries is how many pairs of a host and a path all rules together may have.
	MaxEntries = 1 << 24
	// MaxForms is how many different forms of paths a table may have: the same
	// number of segments with parameters in the same places is one form. It bounds what a match
	// costs.
	MaxForms = 4096
	// MaxConditions is how many conditions a rule may have.
	MaxConditions = 64
)

// paceEvery is after how many items of work Build calls pace.
const paceEvery = 128

// Rule is one route of the configuration. Where a list is empty, anything matches.
// Build keeps its slices: they must not change afterwards.
type Rule struct {
	Name      string // for errors only
	Hosts     []string
	Paths     []Pattern
	Methods   []string
	Headers   []Condition
	Query     []Condition
	Listeners []string
}

// Shadow says that Rule can never win: whatever it matches, By matches too and
// goes first. Both are indexes into the rules.
type Shadow struct{ Rule, By int }

// Build makes a table of rules, whose indexes Match returns, and tells which rules
// can never win; it reports only what is certain. Pace, which may be nil, is called
// after every 128 items of work, so that the caller can let others run: a build of
// many rules takes milliseconds. Build is not on the request path and keeps
// nothing but the table and the slices of conditions, methods and listeners.
func Build(rules []Rule, pace func()) (*Table, []Shadow, error) {
	pointers := make([]*Rule, len(rules))
	for i := range rules {
		pointers[i] = &rules[i]
	}
	return BuildFrom(pointers, pace)
}

// BuildFrom is Build for rules that stand elsewhere and need not be copied: at a
// reload most of them are those of before.
func BuildFrom(rules []*Rule, pace func()) (*Table, []Shadow, error) {
	b := &builder{
		table:   &Table{seed: rand.Uint64(), more: make([]extras, 1), nameLists: make([]nameList, 1)},
		rules:   rules,
		pace:    pace,
		formIDs: make(map[formKey]uint32),
		nameIDs: make(map[nameKey]uint32),
		groups:  []group{{}},
	}
	if err := b.reserve(); err != nil {
		return nil, nil, err
	}
	for i := range rules {
		b.step()
		if err := b.add(uint32(i), rules[i]); err != nil {
			return nil, nil, fmt.Errorf("route: rule %d %q: %w", i, rules[i].Name, err)
		}
	}
	b.rankForms()
	b.placeEntries()
	b.listForms()
	b.placeHosts()
	b.placeNodes()
	b.table.texts = b.texts.String()
	return b.table, b.shadows(), nil
}

type builder struct {
	table *Table
	rules []*Rule
	pace  func()
	steps int

	texts    strings.Builder
	formIDs  map[formKey]uint32
	nameIDs  map[nameKey]uint32
	lastName nameKey
	lastID   uint32

	// groups are the hosts in the order in which they were met, the rules without
	// host first; a group's id is its index. groupSlots and nodeSlots are hash
	// tables over groups and nodes.
	groups     []group
	groupSlots []buildSlot
	lastHost   string
	lastGroup  uint32
	hostIDs    []uint32 // of the rule that is being added

	nodes     []draft
	nodeSlots []buildSlot
	items     []item
	pairs     []pair
	cut       segments
}

type formKey struct {
	params uint32
	count  uint8
	kind   kind
}

type nameKey struct {
	names string
	rest  bool
}

// group is a host while the table is built.
type group struct {
	hash     uint64
	seen     uint64 // bit i: it has form i; for the first 64 forms
	text     uint32
	pairs    uint32 // how many, then where its part ends
	catchAll uint32 // 1 + its node of the pattern /**
	forms    formList
	size     uint8
	wild     bool
}

// draft is a node while the table is built.
type draft struct {
	key   uint64
	group uint32
	form  uint32
	text  uint32
	first uint32
	count uint32
	size  uint16
}

// item is an entry and its node.
type item struct {
	entry entry
	node  uint32
}

// buildSlot is a place in a hash table: half of the hash, and 1 + an index.
type buildSlot struct{ tag, ref uint32 }

// pair says that a group has a form.
type pair struct{ group, form uint32 }

func (b *builder) step() {
	b.steps++
	if b.pace != nil && b.steps%paceEvery == 0 {
		b.pace()
	}
}

// reserve counts what is to come, so that nothing large has to grow.
func (b *builder) reserve() error {
	entries, hosts, text, last := 0, 0, 0, ""
	for i := range b.rules {
		r := b.rules[i]
		entries += max(1, len(r.Hosts)) * max(1, len(r.Paths))
		if entries > MaxEntries {
			return fmt.Errorf("route: the rules have more than %d pairs of a host and a path: rule %d %q is one too many", MaxEntries, i, r.Name)
		}
		for j := range r.Paths {
			text += len(r.Paths[j].literals)
		}
		for j := range r.Hosts {
			text += len(r.Hosts[j])
			if r.Hosts[j] != last {
				hosts, last = hosts+1, r.Hosts[j]
			}
		}
		if text > math.MaxUint32/2 {
			return fmt.Errorf("route: the hosts and paths of the rules have more than %d bytes: rule %d %q is one too many", math.MaxUint32/2, i, r.Name)
		}
		b.step()
	}
	b.texts.Grow(min(text, 64*entries))
	b.items = make([]item, 0, entries)
	b.nodes = make([]draft, 0, entries)
	b.nodeSlots = make([]buildSlot, 2*entries+1)
	b.groups = make([]group, 1, hosts+1)
	b.groupSlots = make([]buildSlot, 2*hosts+1)
	b.pairs = make([]pair, 0, hosts+1)
	return nil
}

// add makes the entries of a rule: one for each pair of a host and a path.
func (b *builder) add(id uint32, r *Rule) error {
	e, err := b.entry(id, r)
	if err != nil {
		return err
	}
	b.hostIDs = b.hostIDs[:0]
	for _, text := range r.Hosts {
		host, err := b.host(text)
		if err != nil {
			return err
		}
		b.hostIDs = append(b.hostIDs, host)
	}
	if len(r.Hosts) == 0 {
		b.hostIDs = append(b.hostIDs, 0)
	}
	if len(r.Paths) == 0 {
		return b.addPath(e, &Pattern{kind: anyPath})
	}
	for i := range r.Paths {
		if r.Paths[i].text == "" {
			return fmt.Errorf("path %d is empty: make it with ParsePattern or RegexPattern", i)
		}
		if err := b.addPath(e, &r.Paths[i]); err != nil {
			return err
		}
	}
	return nil
}

// entry is what all entries of a rule have in common.
func (b *builder) entry(id uint32, r *Rule) (entry, error) {
	if n := len(r.Headers) + len(r.Query); n > MaxConditions {
		return entry{}, fmt.Errorf("has %d header and query conditions: at most %d are allowed", n, MaxConditions)
	}
	for i := range r.Headers {
		if err := r.Headers[i].checkHeader(); err != nil {
			return entry{}, err
		}
	}
	for i := range r.Query {
		if err := r.Query[i].check(); err != nil {
			return entry{}, err
		}
	}
	e := entry{rule: id, weight: weigh(r)}
	var others []string
	for _, method := range r.Methods {
		if !message.ValidName(method) {
			return entry{}, fmt.Errorf("method %q is not a token", method)
		}
		bit := methodBit(method)
		if bit == otherMethod {
			others = append(others, method)
		}
		e.methods |= bit
	}
	if others != nil || len(r.Headers)+len(r.Query)+len(r.Listeners) > 0 {
		x := extras{methods: others, headers: r.Headers, query: r.Query}
		if len(r.Listeners) > 0 {
			x.listeners = r.Listeners
		}
		e.more = uint32(len(b.table.more))
		b.table.more = append(b.table.more, x)
	}
	return e, nil
}

// weigh counts the conditions of a rule. Of two rules on the same host and path
// the heavier one goes first: the one with more conditions, where a list of methods
// is one, then the one that is bound to listeners.
func weigh(r *Rule) uint8 {
	n := 2 * (len(r.Headers) + len(r.Query))
	if len(r.Methods) > 0 {
		n += 2
	}
	if len(r.Listeners) > 0 {
		n++
	}
	return uint8(n)
}

// host returns the id of a host's group.
func (b *builder) host(text string) (uint32, error) {
	if text == b.lastHost && text != "" {
		return b.lastGroup, nil
	}
	host, err := ParseHost(text)
	if err != nil {
		return 0, err
	}
	wild := host[0] == '*'
	if wild {
		host = host[1:]
	}
	b.lastHost, b.lastGroup = text, b.group(host, wild)
	return b.lastGroup, nil
}

func (b *builder) group(host string, wild bool) uint32 {
	hash, texts := hashHost(host, b.table.seed), b.texts.String()
	tag := uint32(hash)
	i := place(hash, len(b.groupSlots))
	for ; b.groupSlots[i].ref != 0; i = (i + 1) % len(b.groupSlots) {
		if b.groupSlots[i].tag != tag {
			continue
		}
		id := b.groupSlots[i].ref - 1
		if g := &b.groups[id]; g.wild == wild && texts[g.text:g.text+uint32(g.size)] == host {
			return id
		}
	}
	id := uint32(len(b.groups))
	b.groups = append(b.groups, group{hash: hash, text: uint32(b.texts.Len()), size: uint8(len(host)), wild: wild})
	b.texts.WriteString(host)
	b.groupSlots[i] = buildSlot{tag, id + 1}
	return id
}

// addPath makes the entries of a rule for one of its paths.
func (b *builder) addPath(e entry, p *Pattern) error {
	id, err := b.form(formKey{p.params, p.count, p.kind})
	if err != nil {
		return err
	}
	if p.regex != nil {
		x := extras{}
		if e.more != 0 {
			x = b.table.more[e.more]
		}
		x.path = p.regex
		e.more = uint32(len(b.table.more))
		b.table.more = append(b.table.more, x)
	}
	e.names = b.nameList(nameKey{p.names, p.rest})
	b.cut.cut(p.text, b.table.seed)
	key := b.cut.key(&b.table.forms[id])
	text := -1
	for _, group := range b.hostIDs {
		n := b.node(draft{key: key, group: group, form: id, size: uint16(len(p.literals))}, p.literals, &text)
		b.nodes[n].count++
		b.items = append(b.items, item{e, n})
	}
	return nil
}

// form returns the id of a form, for now in the order in which they are met.
func (b *builder) form(key formKey) (uint32, error) {
	if id, ok := b.formIDs[key]; ok {
		return id, nil
	}
	if len(b.table.forms) == MaxForms {
		return 0, fmt.Errorf("brings the number of forms of paths (how many segments, which of them parameters) above %d: write some as regex, or give parameters the same places", MaxForms)
	}
	id := uint32(len(b.table.forms))
	b.formIDs[key] = id
	b.table.forms = append(b.table.forms, form{params: key.params, id: id, count: key.count, kind: key.kind})
	return id, nil
}

// nameList returns the index of a list of parameter names.
func (b *builder) nameList(key nameKey) uint32 {
	if key.names == "" {
		return 0
	}
	if key == b.lastName {
		return b.lastID
	}
	id, ok := b.nameIDs[key]
	if !ok {
		id = uint32(len(b.table.nameLists))
		b.nameIDs[key] = id
		first := len(b.table.names)
		b.table.names = append(b.table.names, strings.Split(key.names, ",")...)
		b.table.nameLists = append(b.table.nameLists, nameList{uint32(first), uint8(len(b.table.names) - first), key.rest})
	}
	b.lastName, b.lastID = key, id
	return id
}

// node returns the index of a node, which it makes if there is none yet. Text is
// where the literals stand in b.texts, -1 if nobody has put them there.
func (b *builder) node(d draft, literals string, text *int) uint32 {
	hash, texts := nodeHash(d.key, d.group, d.form), b.texts.String()
	tag := uint32(hash)
	i := place(hash, len(b.nodeSlots))
	for ; b.nodeSlots[i].ref != 0; i = (i + 1) % len(b.nodeSlots) {
		if b.nodeSlots[i].tag != tag {
			continue
		}
		id := b.nodeSlots[i].ref - 1
		if n := &b.nodes[id]; n.group == d.group && n.form == d.form && texts[n.text:n.text+uint32(n.size)] == literals {
			return id
		}
	}
	if *text < 0 {
		*text = b.texts.Len()
		b.texts.WriteString(literals)
	}
	d.text = uint32(*text)
	id := uint32(len(b.nodes))
	b.nodes = append(b.nodes, d)
	b.nodeSlots[i] = buildSlot{tag, id + 1}

	g := &b.groups[d.group]
	if d.form >= 64 || g.seen&(1<<d.form) == 0 {
		g.seen |= 1 << d.form
		g.pairs++
		b.pairs = append(b.pairs, pair{d.group, d.form})
	}
	if f := &b.table.forms[d.form]; f.kind == prefix && f.count == 0 {
		g.catchAll = id + 1
	}
	return id
}
