package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// ruleOf reads "host path methods": '-' stands for none, a comma separates.
func ruleOf(text string) Rule {
	words := strings.Fields(text)
	r := Rule{Name: text}
	list := func(i int) []string {
		if i >= len(words) || words[i] == "-" {
			return nil
		}
		return strings.Split(words[i], ",")
	}
	r.Hosts, r.Methods = list(0), list(2)
	for _, p := range list(1) {
		r.Paths = append(r.Paths, mustPattern(p))
	}
	return r
}

func mustBuild(t testing.TB, rules []Rule) *Table {
	t.Helper()
	table, _, err := Build(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestPrecedence gives rules in the order in which they win, builds them in the
// opposite one, and takes the winner away again and again.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	gold, v2 := []Condition{{Name: "x-tier", Value: "gold"}}, []Condition{{Name: "v", Value: "2"}}
	for _, c := range []struct {
		why   string
		order []Rule
	}{
		{"hosts: exact, the longest wildcard, none, whatever the path", []Rule{
			ruleOf("a.b.example.com -"), ruleOf("*.b.example.com /**"), ruleOf("*.example.com /x/y/z"),
			ruleOf("*.com /x/y/z GET"), ruleOf("- /x/y/z GET"),
		}},
		{"paths: exact, segments, prefix, regex, none", []Rule{
			ruleOf("- /x/y/z"), ruleOf("- /x/y/{c}"), ruleOf("- /x/y/z/**"), ruleOf("- ^/x"), ruleOf("- -"),
		}},
		{"segments: the first literal from the left", []Rule{
			ruleOf("- /x/y/{c}"), ruleOf("- /x/{b}/z"), ruleOf("- /x/{b}/{c}"),
			ruleOf("- /{a}/y/z"), ruleOf("- /{a}/y/{c}"), ruleOf("- /{a}/{b}/z"), ruleOf("- /{a}/{b}/{c}"),
		}},
		{"prefixes: the longest, then the first literal from the left", []Rule{
			ruleOf("- /x/y/z/**"), ruleOf("- /{a}/y/z/**"), ruleOf("- /x/y/**"), ruleOf("- /x/{b}/{rest...}"),
			ruleOf("- /{a}/y/**"), ruleOf("- /x/**"), ruleOf("- /{a}/**"), ruleOf("- /**"),
		}},
		{"conditions: more before fewer", []Rule{
			{Paths: []Pattern{mustPattern("/x/y/z")}, Methods: []string{"GET", "PUT"}, Headers: gold, Query: v2},
			{Paths: []Pattern{mustPattern("/x/y/z")}, Headers: gold, Query: v2},
			{Paths: []Pattern{mustPattern("/x/y/z")}, Query: v2, Listeners: []string{"web"}},
			{Paths: []Pattern{mustPattern("/x/y/z")}, Headers: gold},
			{Paths: []Pattern{mustPattern("/x/y/z")}, Listeners: []string{"web"}},
			{Paths: []Pattern{mustPattern("/x/y/z")}},
		}},
	} {
		r := &message.Request{Method: "GET", Authority: "a.b.example.com", Path: "/x/y/z", Query: "v=2"}
		r.Header.Append("X-Tier", "gold")
		rules := slices.Clone(c.order)
		slices.Reverse(rules)
		for left := len(rules); left > 0; left-- {
			table := mustBuild(t, rules[:left])
			if got, ok := table.Match(r, "web", nil); !ok || got != left-1 {
				t.Errorf("%s: of %d rules %d wins; want %d\n%s", c.why, left, got, left-1, describe(rules[:left]))
			}
		}
	}
}

func TestEqualRulesGoByOrder(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"- /files/**", "- /files/{rest...}"},
		{"- /files/{rest...}", "- /files/**"},
		{"- /u/{a}", "- /u/{b}"},
		{"- ^/files/longer/expression", "- ^/f"},
		{"- /files/longer/expression GET", "- /files/longer/expression GET,PUT"},
	} {
		table := mustBuild(t, []Rule{ruleOf(pair[0]), ruleOf(pair[1])})
		r := &message.Request{Method: "GET", Path: "/files/longer/expression"}
		if strings.Contains(pair[0], "/u/") {
			r.Path = "/u/1"
		}
		if got, ok := table.Match(r, "", nil); !ok || got != 0 {
			t.Errorf("%q: rule %d wins, %v", pair, got, ok)
		}
	}
}

// TestFallsBack: a more specific rule whose conditions fail makes way for each less
// specific one, over paths and hosts.
func TestFallsBack(t *testing.T) {
	t.Parallel()
	rules := []Rule{
		ruleOf("a.example.com /x/y PUT"), ruleOf("a.example.com /x/{b} POST"), ruleOf("a.example.com /x/** DELETE"),
		ruleOf("a.example.com ^/x PATCH"), ruleOf("a.example.com - PURGE"), ruleOf("*.example.com /x/{b} TRACE"),
		ruleOf("*.com /** OPTIONS"), ruleOf("- /x/y GET"),
	}
	table := mustBuild(t, rules)
	for i, rule := range rules {
		r := &message.Request{Method: rule.Methods[0], Authority: "a.example.com", Path: "/x/y"}
		if got, ok := table.Match(r, "", nil); !ok || got != i {
			t.Errorf("%s: rule %d, %v; want %d", r.Method, got, ok, i)
		}
	}
	r := &message.Request{Method: "MKCOL", Authority: "a.example.com", Path: "/x/y"}
	if got, ok := table.Match(r, "", nil); ok {
		t.Errorf("MKCOL found rule %d", got)
	}
	want := []string{"DELETE", "GET", "OPTIONS", "PATCH", "POST", "PURGE", "PUT", "TRACE"}
	if got := table.Methods(r, ""); !slices.Equal(got, want) {
		t.Errorf("methods %q; want %q", got, want)
	}
	r.Path = "/z"
	if got, want := table.Methods(r, ""), []string{"OPTIONS", "PURGE"}; !slices.Equal(got, want) {
		t.Errorf("methods of /z %q; want %q", got, want)
	}
	r.Authority = "example.org"
	if got := table.Methods(r, ""); len(got) != 0 {
		t.Errorf("methods of an unknown path: %q", got)
	}
}

func TestParamsAreReplaced(t *testing.T) {
	t.Parallel()
	table := mustBuild(t, []Rule{ruleOf("- /u/{id} PUT"), ruleOf("- /u/{user} GET"), ruleOf("- /plain")})
	var params message.Params
	params.Add("old", "value")
	if rule, _ := table.Match(&message.Request{Method: "GET", Path: "/u/7"}, "", &params); rule != 1 || params.Get("user") != "7" || params.Len() != 1 {
		t.Errorf("rule %d with %v", rule, params.All())
	}
	if rule, _ := table.Match(&message.Request{Method: "GET", Path: "/plain"}, "", &params); rule != 2 || params.Len() != 0 {
		t.Errorf("rule %d with %v", rule, params.All())
	}
	if _, ok := table.Match(&message.Request{Method: "GET", Path: "/none"}, "", &params); ok || params.Len() != 0 {
		t.Errorf("%v with %v", ok, params.All())
	}
}

func TestEmptyTable(t *testing.T) {
	t.Parallel()
	table := mustBuild(t, nil)
	r := &message.Request{Method: "GET", Authority: "example.com", Path: "/"}
	if _, ok := table.Match(r, "", nil); ok || len(table.Methods(r, "")) != 0 || table.Explain(r, "").Rule != -1 {
		t.Error("no rules match something")
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	rules := shapesOfRoutes[4].rules(1000)
	rules = append(rules,
		Rule{
			Hosts: []string{"*.wild.example.com", "[::1]"}, Paths: []Pattern{mustPattern("/{a}/{b}/{rest...}"), mustPattern("^/regex")},
			Headers: []Condition{{Name: "x-tier", Value: "gold"}, regexCondition("x-tier", "^g")},
			Query:   []Condition{{Name: "a b", Value: "c d"}, {Name: "n", Test: Absent}}, Methods: []string{"GET", "PURGE"}, Listeners: []string{"web"},
		},
		ruleOf("- /only/post POST"))
	table := mustBuild(t, rules)
	var params message.Params
	for _, c := range []struct {
		method, host, path string
		want               int
	}{
		{"GET", "tenant-3.example.com", "/v1/service-121/users/7", 121},
		{"PURGE", "x.y.wild.example.com:8443", "/1/2/3/4", 1000},
		{"GET", "[::1]:80", "/regex", 1000},
		{"GET", "tenant-3.example.com.", "/none", -1},
		{"GET", "", "/only/post", -1},
	} {
		r := &message.Request{Method: c.method, Authority: c.host, Path: c.path, Query: "x=1&a+b=c%20d"}
		r.Header.Append("X-Tier", "gold")
		got := -1
		allocations := testing.AllocsPerRun(100, func() {
			got = -1
			if rule, ok := table.Match(r, "web", &params); ok {
				got = rule
			}
		})
		if got != c.want || allocations != 0 {
			t.Errorf("%s%s: rule %d, %v allocations; want rule %d", c.host, c.path, got, allocations, c.want)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	var forms []Rule
	for i := range MaxForms + 1 {
		path := ""
		for bit := range 13 {
			if i>>bit&1 != 0 {
				path += fmt.Sprintf("/{p%d}", bit)
			} else {
				path += "/x"
			}
		}
		forms = append(forms, Rule{Paths: []Pattern{mustPattern(path)}})
	}
	many := Rule{Hosts: make([]string, 1<<13), Paths: make([]Pattern, 1<<12)}
	for _, c := range []struct {
		rules []Rule
		want  string
	}{
		{[]Rule{{}, {Name: "b", Hosts: []string{"a:1"}}}, `route: rule 1 "b": host "a:1" has a port`},
		{[]Rule{{Name: "a", Methods: []string{"GET,PUT"}}}, `method "GET,PUT" is not a token`},
		{[]Rule{{Name: "a", Methods: []string{""}}}, `method "" is not a token`},
		{[]Rule{{Name: "a", Paths: []Pattern{{}}}}, "path 0 is empty"},
		{[]Rule{many}, "more than 16777216 pairs"},
		{forms, "above 4096"},
	} {
		table, _, err := Build(c.rules, nil)
		if table != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v; want %s", err, c.want)
		}
	}
	table := mustBuild(t, forms[:MaxForms])
	for i, rule := range forms[:MaxForms] {
		path := strings.NewReplacer("{", "", "}", "").Replace(rule.Paths[0].String())
		if got, ok := table.Match(&message.Request{Path: path}, "", nil); !ok || got != i {
			t.Fatalf("%s: rule %d, %v; want %d", path, got, ok, i)
		}
	}
}

func TestBuildPaces(t *testing.T) {
	t.Parallel()
	calls := 0
	rules := shapesOfRoutes[4].rules(10_000)
	if _, _, err := Build(rules, func() { calls++ }); err != nil {
		t.Fatal(err)
	}
	// Each rule is at least counted, added, placed and looked at for shadows.
	if least := 4 * len(rules) / paceEvery; calls < least {
		t.Errorf("pace was called %d times; want at least %d", calls, least)
	}
}

// TestTableIsDense keeps the sizes of what there is one of for each route.
func TestTableIsDense(t *testing.T) {
	t.Parallel()
	table := mustBuild(t, shapesOfRoutes[4].rules(10_000))
	if n := len(table.more) + len(table.names) + len(table.nameLists); n > 10 {
		t.Errorf("%d values with pointers for rules without conditions", n)
	}
	if len(table.forms) != 4 || len(table.lists) > 4 {
		t.Errorf("%d forms, %d in the hosts' lists; the hosts' lists are equal", len(table.forms), len(table.lists))
	}
	if len(table.nodes) != roomFor(10_000) || len(table.entries) != 10_000 || len(table.hosts) != roomFor(250) {
		t.Errorf("%d nodes, %d entries, %d hosts", len(table.nodes), len(table.entries), len(table.hosts))
	}
}
