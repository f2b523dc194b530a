package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// world makes rules and requests out of few words, so that they meet often.
type world struct{ *rand.Rand }

func newWorld(seed uint64) world { return world{rand.New(rand.NewPCG(seed, 7))} }

func pick[T any](w world, from ...T) T { return from[w.IntN(len(from))] }

// some returns up to most different members of a list, often none.
func some[T comparable](w world, most int, from ...T) []T {
	var list []T
	for n := w.IntN(most + 1); n > 0; n-- {
		if x := pick(w, from...); !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return list
}

func (w world) segment() string {
	return pick(w, "a", "b", "users", "orders-of-the-day", "", "x%2Fy", "v1", "12345678")
}

func (w world) pattern() Pattern {
	if w.IntN(12) == 0 {
		p, err := RegexPattern(pick(w, "^/a", "users", "/b$", "."))
		if err != nil {
			panic(err)
		}
		return p
	}
	text, n := "", w.IntN(5)
	for i := range n {
		if w.IntN(3) == 0 {
			text += fmt.Sprintf("/{%s%d}", pick(w, "p", "q"), i)
		} else {
			text += "/" + w.segment()
		}
	}
	switch w.IntN(4) {
	case 0:
		text += "/**"
	case 1:
		text += "/{rest...}"
	}
	if text == "" {
		text = "/"
	}
	p, err := ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

func (w world) condition(names ...string) Condition {
	name := pick(w, names...)
	switch w.IntN(4) {
	case 0:
		return Condition{Name: name, Test: Present}
	case 1:
		return Condition{Name: name, Test: Absent}
	case 2:
		c, err := RegexCondition(name, pick(w, "^1", "2$", "o"))
		if err != nil {
			panic(err)
		}
		return c
	}
	return Condition{Name: name, Value: pick(w, "1", "2", "gold")}
}

func (w world) rule() Rule {
	r := Rule{
		Hosts:     some(w, 2, "a.example.com", "B.example.com.", "*.example.com", "*.b.example.com", "[::1]", "*.com"),
		Methods:   some(w, 2, "GET", "POST", "DELETE", "PURGE", "REPORT", "OPTIONS"),
		Listeners: some(w, 1, "web", "admin"),
	}
	for range w.IntN(4) {
		r.Paths = append(r.Paths, w.pattern())
	}
	if w.IntN(3) == 0 {
		r.Headers = append(r.Headers, w.condition("x-tier", "X-Beta"))
	}
	if w.IntN(3) == 0 {
		r.Query = append(r.Query, w.condition("v", "a b"))
	}
	return r
}

func (w world) rules(most int) []Rule {
	rules := make([]Rule, 1+w.IntN(most))
	for i := range rules {
		rules[i] = w.rule()
	}
	return rules
}

func (w world) request() *message.Request {
	r := &message.Request{
		Method:    pick(w, "GET", "POST", "DELETE", "PURGE", "PUT"),
		Authority: pick(w, "a.example.com", "a.example.com:8080", "b.example.com.", "c.b.example.com", "d.c.b.example.com:1", "example.com", "x.com", "[::1]:80", "[0:0::1]", "other.test", ""),
		Query:     pick(w, "", "v=1", "v=2&v=gold", "a+b=1&v", "a%20b=%31", "x&&=&v=%67old"),
	}
	for range w.IntN(6) {
		r.Path += "/" + w.segment()
	}
	if r.Path == "" {
		r.Path = pick(w, "/", "*")
	}
	if r.Path == "*" {
		r.Method = "OPTIONS" // a wire refuses others
	}
	for range w.IntN(3) {
		r.Header.Append(pick(w, "X-Tier", "x-beta"), pick(w, "1", "12", "gold", "no"))
	}
	return r
}

func checkAgainstTwin(t *testing.T, rules []Rule, table *Table, r *message.Request, listener string) (matched int) {
	t.Helper()
	var params message.Params
	got, ok := table.Match(r, listener, &params)
	want, wantOK := twinMatch(rules, r, listener)
	if ok != wantOK || ok && got != want.rule {
		t.Fatalf("%s %s%s?%s %v on %s: got rule %d, %v; the twin says %d, %v\n%s",
			r.Method, r.Authority, r.Path, r.Query, r.Header.Fields(), listener, got, ok, want.rule, wantOK, describe(rules))
	}
	checkExplanation(t, rules, table.Explain(r, listener), want, wantOK)
	if !slices.Equal(params.All(), want.params) {
		t.Fatalf("%s: got params %v; the twin says %v\n%s", r.Path, params.All(), want.params, describe(rules[got:got+1]))
	}
	if !ok {
		if got, want := table.Methods(r, listener), twinMethods(rules, r, listener); !slices.Equal(got, want) {
			t.Fatalf("%s: got methods %v; the twin says %v\n%s", r.Path, got, want, describe(rules))
		}
		return -1
	}
	return got
}

// checkExplanation: the explanation, which looks at every rule, names the same
// winner through the same host and path, and its other rules match or do not, as it
// says.
func checkExplanation(t *testing.T, rules []Rule, x Explanation, want candidate, ok bool) {
	t.Helper()
	if !ok {
		want = candidate{rule: -1}
	}
	host := want.host
	if host != "" {
		host, _ = ParseHost(host)
	}
	if x.Rule != want.rule || x.Host != host || x.Path != want.path.String() {
		t.Fatalf("explained: rule %d through %q %q; the twin says %d through %q %q\n%s",
			x.Rule, x.Host, x.Path, want.rule, host, want.path, describe(rules))
	}
	if len(x.Near) > NearLimit {
		t.Fatalf("%d near misses", len(x.Near))
	}
	for i, m := range x.Near {
		if m.Rule == x.Rule || m.Reason == "" || i > 0 && m.Matched && !x.Near[i-1].Matched || m.Matched && x.Rule < 0 {
			t.Fatalf("near miss %d is %+v\n%s", i, m, describe(rules))
		}
	}
}

func describe(rules []Rule) string {
	text := ""
	for i, r := range rules {
		text += fmt.Sprintf("%d: %v %v %v %v %v %v\n", i, r.Hosts, r.Paths, r.Methods, r.Headers, r.Query, r.Listeners)
	}
	return text
}

// runWorld plays one seed: the table agrees with the twin, and a shadowed rule
// never wins.
func runWorld(t *testing.T, seed uint64) (wins int) {
	t.Helper()
	w := newWorld(seed)
	rules := w.rules(pick(w, 3, 12, 40))
	table, shadows, err := Build(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		winner := checkAgainstTwin(t, rules, table, w.request(), pick(w, "web", "admin", "other"))
		if winner >= 0 {
			wins++
		}
		for _, s := range shadows {
			if s.Rule == winner {
				t.Fatalf("rule %d won although %d shadows it\n%s", s.Rule, s.By, describe(rules))
			}
		}
	}
	return wins
}

func TestTableAgreesWithTwin(t *testing.T) {
	t.Parallel()
	wins := 0
	for seed := range uint64(800) {
		wins += runWorld(t, seed)
	}
	// Rules and requests that never meet would prove nothing.
	if wins < 8_000 || wins > 38_000 {
		t.Errorf("%d of 40000 requests found a rule", wins)
	}
}

func FuzzTableAgreesWithTwin(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { runWorld(t, seed) })
}
