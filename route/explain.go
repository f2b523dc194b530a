package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// NearLimit is how many near misses an Explanation has at most.
const NearLimit = 10

// Explanation is why a request goes where it goes, for sluice explain.
type Explanation struct {
	// Rule is the index of the rule that wins, or -1.
	Rule int
	// Host and Path are the patterns through which it matched; "" for any.
	Host, Path string
	Params     []message.Param
	// Why says, one condition in each line, what made the rule match.
	Why []string
	// Near are rules that match too and lost, then rules that almost matched; the
	// best first, each once.
	Near []Miss
	// Methods are those that would have matched where no rule does (405).
	Methods []string
}

// Miss is a rule that did not win.
type Miss struct {
	Rule       int
	Host, Path string
	// Matched says that the rule matches and lost against a more specific one.
	Matched bool
	// Reason names the condition that failed, or what made the rule lose.
	Reason string
}

// trial is what came of one entry.
type trial struct {
	entry  *entry
	node   *node
	host   *hostSlot // nil for any
	failed []string
	// apart is 1 where the host or the path does not fit, which is further off than
	// another condition that failed; alike is how many bytes they have in common.
	apart, alike int
}

// Explain tells which rule wins for a request, why, and which ones nearly did: those
// that match and lost, those whose host and path match and a condition does not,
// and those of which only the host or only the path does not fit. It looks at
// every rule: off the hot path.
func (t *Table) Explain(r *message.Request, listener string) Explanation {
	x := Explanation{Rule: -1}
	var params message.Params
	if rule, ok := t.Match(r, listener, &params); ok {
		x.Rule = rule
		x.Params = slices.Clone(params.All())
	} else {
		x.Methods = t.Methods(r, listener)
	}
	trials := t.try(r, listener)
	slices.SortStableFunc(trials, t.compareTrials)
	if x.Rule >= 0 {
		won := &trials[0]
		x.Host, x.Path = t.hostText(won), t.pathText(won)
		x.Why = t.why(won, r, listener)
	}
	told := map[uint32]bool{}
	for i := range trials {
		tr := &trials[i]
		rule := tr.entry.rule
		if int(rule) == x.Rule || told[rule] {
			continue
		}
		if len(x.Near) == NearLimit {
			break
		}
		told[rule] = true
		m := Miss{Rule: int(rule), Host: t.hostText(tr), Path: t.pathText(tr), Matched: len(tr.failed) == 0}
		if m.Matched {
			m.Reason = t.whyLost(tr, &trials[0])
		} else {
			m.Reason = strings.Join(tr.failed, "; ")
		}
		x.Near = append(x.Near, m)
	}
	return x
}

// try puts the request to every entry and keeps what matches or nearly does.
func (t *Table) try(r *message.Request, listener string) []trial {
	groups := map[uint32]*hostSlot{}
	for i := range t.hosts {
		if t.hosts[i].tag != 0 {
			groups[t.hosts[i].group] = &t.hosts[i]
		}
	}
	host := message.LowerASCII(requestHost(r))
	var cut segments
	cut.cut(r.Path, t.seed)
	var trials []trial
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.tag == 0 {
			continue
		}
		for j := n.first; ; j++ {
			tr := trial{entry: &t.entries[j], node: n, host: groups[n.group]}
			if t.judge(&tr, r, host, &cut, listener) {
				trials = append(trials, tr)
			}
			if tr.entry.last {
				break
			}
		}
	}
	return trials
}

// judge fills in what failed and says whether the entry is worth telling about.
func (t *Table) judge(tr *trial, r *message.Request, host string, cut *segments, listener string) bool {
	hostFits, pathFits := t.hostFits(tr, host), t.pathFits(tr, r.Path, cut)
	if !hostFits && !pathFits {
		return false
	}
	tr.failed = t.failures(tr.entry, r, listener)
	if hostFits && pathFits {
		return true
	}
	if len(tr.failed) > 0 {
		return false
	}
	tr.apart = 1
	if !hostFits {
		tr.alike = commonSuffix(t.hostText(tr), host)
		tr.failed = append(tr.failed, fmt.Sprintf("host: %q is not %s", host, t.hostText(tr)))
		return true
	}
	pattern := t.pathText(tr)
	tr.alike = commonPrefix(pattern, r.Path)
	tr.failed = append(tr.failed, fmt.Sprintf("path: %q does not match %s", r.Path, pattern))
	return true
}

func (t *Table) hostFits(tr *trial, host string) bool {
	if tr.host == nil {
		return true
	}
	text := t.texts[tr.host.text : tr.host.text+uint32(tr.host.size)]
	if tr.host.wild {
		return len(host) > len(text) && strings.HasSuffix(host, text)
	}
	return host == text
}

func (t *Table) pathFits(tr *trial, path string, cut *segments) bool {
	f := &t.forms[tr.node.form]
	if !f.reaches(cut.n) {
		return false
	}
	if f.kind == expression {
		return t.more[tr.entry.more].path.MatchString(path)
	}
	return f.kind == anyPath || cut.fits(path, f, t.literals(tr.node))
}

func (t *Table) literals(n *node) string { return t.texts[n.text : n.text+uint32(n.size)] }

// failures names every condition of an entry, apart from host and path, that a
// request does not meet.
func (t *Table) failures(e *entry, r *message.Request, listener string) []string {
	var failed []string
	x := &t.more[e.more]
	if x.listeners != nil && !slices.Contains(x.listeners, listener) {
		failed = append(failed, fmt.Sprintf("listener: %q is not %s", listener, oneOf(x.listeners)))
	}
	if e.methods != 0 && !t.allows(e, r.Method) {
		failed = append(failed, fmt.Sprintf("method: %q is not %s", r.Method, oneOf(t.methodsOf(e))))
	}
	for i := range x.headers {
		if c := &x.headers[i]; !c.holdsHeader(&r.Header) {
			failed = append(failed, fmt.Sprintf("header: not true that %s; %s", c, found(r.Header.Values(nil, c.Name))))
		}
	}
	for i := range x.query {
		if c := &x.query[i]; !c.holdsQuery(r.Query) {
			failed = append(failed, fmt.Sprintf("query: not true that %s; %s", c, found(queryValues(r.Query, c.Name))))
		}
	}
	return failed
}

// methodsOf are the methods of an entry, in alphabetical order.
func (t *Table) methodsOf(e *entry) []string {
	names := e.methods.names()
	if e.methods&otherMethod != 0 {
		names = append(names, t.more[e.more].methods...)
	}
	slices.Sort(names)
	return names
}

func oneOf(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "one of " + strings.Join(list, ", ")
}

func found(values []string) string {
	if len(values) == 0 {
		return "the request has none"
	}
	return fmt.Sprintf("the request has %q", values)
}

func queryValues(query, name string) []string {
	var values []string
	for _, pair := range strings.Split(query, "&") {
		n, value, _ := strings.Cut(pair, "=")
		if pair != "" && equalDecoded(n, name) {
			values = append(values, decode(value))
		}
	}
	return values
}

// compareTrials puts what matches first, in order of precedence; then what fails
// by the fewest conditions; among those, what has most in common with the request.
func (t *Table) compareTrials(a, b trial) int {
	return cmp.Or(
		cmp.Compare(len(a.failed), len(b.failed)),
		cmp.Compare(a.apart, b.apart),
		cmp.Compare(b.alike, a.alike),
		cmp.Compare(a.hostRank(), b.hostRank()),
		cmp.Compare(a.node.form, b.node.form),
		cmp.Compare(b.entry.weight, a.entry.weight),
		cmp.Compare(a.entry.rule, b.entry.rule),
	)
}

// hostRank is the precedence of hosts: the smaller number goes first.
func (tr *trial) hostRank() int {
	switch {
	case tr.host == nil:
		return 2 * maxHost
	case tr.host.wild:
		return 2*maxHost - int(tr.host.size)
	}
	return 0
}

func (t *Table) hostText(tr *trial) string {
	if tr.host == nil {
		return ""
	}
	text := t.texts[tr.host.text : tr.host.text+uint32(tr.host.size)]
	if tr.host.wild {
		return "*" + text
	}
	return text
}

// pathText puts the pattern together again from its form, its literals and its
// names.
func (t *Table) pathText(tr *trial) string {
	f := &t.forms[tr.node.form]
	switch f.kind {
	case anyPath:
		return ""
	case expression:
		return t.more[tr.entry.more].path.String()
	}
	list := t.nameLists[tr.entry.names]
	names := t.names[list.first : list.first+uint32(list.count)]
	literals := strings.Split(t.literals(tr.node), "/")[1:]
	if t.literals(tr.node) == "" {
		literals = nil
	}
	var text strings.Builder
	for i := range int(f.count) {
		text.WriteByte('/')
		if f.params>>i&1 != 0 {
			text.WriteString("{" + names[0] + "}")
			names = names[1:]
			continue
		}
		text.WriteString(literals[0])
		literals = literals[1:]
	}
	if f.kind == prefix && list.rest {
		text.WriteString("/{" + names[0] + "...}")
	} else if f.kind == prefix {
		text.WriteString("/**")
	}
	return text.String()
}

// why says for each condition of the rule that won how the request meets it.
func (t *Table) why(tr *trial, r *message.Request, listener string) []string {
	why := []string{
		fmt.Sprintf("host: %s", t.hostWords(tr)),
		fmt.Sprintf("path: %s", t.pathWords(tr)),
	}
	x := &t.more[tr.entry.more]
	if tr.entry.methods != 0 {
		why = append(why, fmt.Sprintf("method: %s is %s", r.Method, oneOf(t.methodsOf(tr.entry))))
	}
	for i := range x.headers {
		why = append(why, fmt.Sprintf("header: %s", &x.headers[i]))
	}
	for i := range x.query {
		why = append(why, fmt.Sprintf("query: %s", &x.query[i]))
	}
	if x.listeners != nil {
		why = append(why, fmt.Sprintf("listener: %s is %s", listener, oneOf(x.listeners)))
	}
	return why
}

func (t *Table) hostWords(tr *trial) string {
	switch {
	case tr.host == nil:
		return "any"
	case tr.host.wild:
		return t.hostText(tr) + ", a wildcard"
	}
	return t.hostText(tr) + ", exactly"
}

func (t *Table) pathWords(tr *trial) string {
	f, text := &t.forms[tr.node.form], t.pathText(tr)
	switch {
	case f.kind == anyPath:
		return "any"
	case f.kind == expression:
		return text + ", a regular expression"
	case f.kind == prefix && f.count == 1:
		return text + ", a prefix of 1 segment"
	case f.kind == prefix:
		return fmt.Sprintf("%s, a prefix of %d segments", text, f.count)
	case f.params != 0:
		return text + ", segment by segment"
	}
	return text + ", exactly"
}

// whyLost names the first thing in the order of precedence in which two rules that
// both match differ.
func (t *Table) whyLost(tr, won *trial) string {
	switch {
	case tr.hostRank() != won.hostRank():
		return fmt.Sprintf("matches too, but its host (%s) is less specific than the winner's (%s)", t.hostWords(tr), t.hostWords(won))
	case tr.node.form != won.node.form:
		return fmt.Sprintf("matches too, but its path (%s) is less specific than the winner's (%s)", t.pathWords(tr), t.pathWords(won))
	case tr.entry.weight/2 != won.entry.weight/2:
		return fmt.Sprintf("matches too, but has fewer conditions on method, headers and query: %d, the winner %d", tr.entry.weight/2, won.entry.weight/2)
	case tr.entry.weight != won.entry.weight:
		return "matches too, but is not bound to a listener"
	}
	return "matches too and is as specific, but is written behind the winner"
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
