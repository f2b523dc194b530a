package route

import (
	"slices"
	"testing"
)

func TestShadows(t *testing.T) {
	t.Parallel()
	tier := func(c Condition) Rule {
		return Rule{Paths: []Pattern{mustPattern("/x")}, Headers: []Condition{c}}
	}
	bound := func(listeners ...string) Rule {
		return Rule{Paths: []Pattern{mustPattern("/x")}, Listeners: listeners}
	}
	for _, c := range []struct {
		why   string
		rules []Rule
		want  []Shadow
	}{
		{"the same path twice", []Rule{ruleOf("- /x"), ruleOf("- /x")}, []Shadow{{1, 0}}},
		{"another name of a parameter", []Rule{ruleOf("- /{a}"), ruleOf("- /{b}")}, []Shadow{{1, 0}}},
		{"another spelling of a host", []Rule{ruleOf("a.com /x"), ruleOf("A.com. /x")}, []Shadow{{1, 0}}},
		{"a named rest", []Rule{ruleOf("- /x/**"), ruleOf("- /x/{rest...}")}, []Shadow{{1, 0}}},
		{"fewer methods behind more", []Rule{ruleOf("- /x GET,PUT"), ruleOf("- /x PUT")}, []Shadow{{1, 0}}},
		{"more methods behind fewer", []Rule{ruleOf("- /x PUT"), ruleOf("- /x GET,PUT")}, nil},
		{"any method behind some", []Rule{ruleOf("- /x GET"), ruleOf("- /x")}, nil},
		{"some methods behind any go first", []Rule{ruleOf("- /x"), ruleOf("- /x GET")}, nil},
		{"another host", []Rule{ruleOf("a.com /x"), ruleOf("b.com /x")}, nil},
		{"a wildcard above", []Rule{ruleOf("*.com /x"), ruleOf("a.com /x")}, nil},
		{"one of two paths is left", []Rule{ruleOf("- /x"), ruleOf("- /x,/y")}, nil},
		{"both paths are taken", []Rule{ruleOf("- /x"), ruleOf("- /y"), ruleOf("- /x,/y")}, []Shadow{{2, 0}}},
		{"the same path twice in one rule", []Rule{ruleOf("- /x,/x")}, nil},
		{"one of two hosts is left", []Rule{ruleOf("a.com /x"), ruleOf("a.com,b.com /x")}, nil},
		{"a regex behind everything", []Rule{ruleOf("- ^/x"), ruleOf("- /**")}, []Shadow{{0, 1}}},
		{"a regex behind some methods", []Rule{ruleOf("- ^/x"), ruleOf("- /** GET")}, nil},
		{"a regex with methods behind them", []Rule{ruleOf("- ^/x GET"), ruleOf("- /** GET,PUT")}, []Shadow{{0, 1}}},
		{"a regex behind everything of another host", []Rule{ruleOf("a.com ^/x"), ruleOf("- /**")}, nil},
		{"two regexes", []Rule{ruleOf("- ^/x"), ruleOf("- ^/x")}, nil},
		{"no path behind everything: OPTIONS * is left", []Rule{ruleOf("- -"), ruleOf("- /**")}, nil},
		{"no path and no OPTIONS behind everything", []Rule{ruleOf("- - GET"), ruleOf("- /**")}, []Shadow{{0, 1}}},
		{"the same header", []Rule{tier(Condition{Name: "x", Value: "1"}), tier(Condition{Name: "X", Value: "1"})}, []Shadow{{1, 0}}},
		{"another value", []Rule{tier(Condition{Name: "x", Value: "1"}), tier(Condition{Name: "x", Value: "2"})}, nil},
		{"a value behind presence", []Rule{tier(Condition{Name: "x", Test: Present}), tier(Condition{Name: "x", Value: "2"})}, []Shadow{{1, 0}}},
		{"presence behind a value", []Rule{tier(Condition{Name: "x", Value: "2"}), tier(Condition{Name: "x", Test: Present})}, nil},
		{"absence behind presence", []Rule{tier(Condition{Name: "x", Test: Present}), tier(Condition{Name: "x", Test: Absent})}, nil},
		{"fewer listeners", []Rule{bound("a", "b"), bound("b")}, []Shadow{{1, 0}}},
		{"other listeners", []Rule{bound("a"), bound("b")}, nil},
		{"any listener before one", []Rule{bound(), bound("b")}, nil},
	} {
		_, got, err := Build(c.rules, nil)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.why, got, err, c.want)
		}
	}
}

// TestShadowReach: thousands of rules on one path are not compared each with each,
// and what is near is still found.
func TestShadowReach(t *testing.T) {
	t.Parallel()
	var rules []Rule
	for i := range 5000 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		rules = append(rules, Rule{Paths: []Pattern{mustPattern("/x")}, Headers: []Condition{{Name: "tenant", Value: name}}})
	}
	rules = append(rules, rules[shadowReach-1], rules[shadowReach])
	_, got, err := Build(rules, nil)
	if want := []Shadow{{5000, shadowReach - 1}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}
