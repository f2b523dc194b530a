package route

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

func regexCondition(name, expr string) Condition {
	c, err := RegexCondition(name, expr)
	if err != nil {
		panic(err)
	}
	return c
}

func TestHeaderConditions(t *testing.T) {
	t.Parallel()
	var h message.Header
	h.Append("X-Tier", "silver")
	h.Append("x-tier", "gold")
	h.Append("X-Empty", "")
	for _, c := range []struct {
		condition Condition
		want      bool
	}{
		{Condition{Name: "X-TIER", Value: "gold"}, true},
		{Condition{Name: "x-tier", Value: "silver"}, true},
		{Condition{Name: "x-tier", Value: "Gold"}, false},
		{Condition{Name: "x-tier", Value: "silver, gold"}, false},
		{Condition{Name: "x-tier", Test: Present}, true},
		{Condition{Name: "x-tier", Test: Absent}, false},
		{Condition{Name: "x-empty", Test: Present}, true},
		{Condition{Name: "x-empty", Value: ""}, true},
		{Condition{Name: "x-other", Value: ""}, false},
		{Condition{Name: "x-other", Test: Present}, false},
		{Condition{Name: "x-other", Test: Absent}, true},
		{regexCondition("x-tier", "^g"), true},
		{regexCondition("x-tier", "^x"), false},
		{regexCondition("x-other", ".*"), false},
	} {
		if got := c.condition.holdsHeader(&h); got != c.want {
			t.Errorf("%s: %v; want %v", c.condition, got, c.want)
		}
	}
}

func TestQueryConditions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query     string
		condition Condition
		want      bool
	}{
		{"v=2", Condition{Name: "v", Value: "2"}, true},
		{"v=1&v=2", Condition{Name: "v", Value: "2"}, true},
		{"V=2", Condition{Name: "v", Value: "2"}, false},
		{"vv=2&=2&v", Condition{Name: "v", Value: "2"}, false},
		{"v=22", Condition{Name: "v", Value: "2"}, false},
		{"v=2", Condition{Name: "v", Value: "22"}, false},
		{"v", Condition{Name: "v", Value: ""}, true},
		{"v=", Condition{Name: "v", Test: Present}, true},
		{"a&&v", Condition{Name: "v", Test: Present}, true},
		{"", Condition{Name: "v", Test: Present}, false},
		{"", Condition{Name: "v", Test: Absent}, true},
		{"a=v", Condition{Name: "v", Test: Absent}, true},
		{"a=1&v", Condition{Name: "v", Test: Absent}, false},
		{"%76=%32", Condition{Name: "v", Value: "2"}, true},
		{"a+b=c%2Bd", Condition{Name: "a b", Value: "c+d"}, true},
		{"a+b=c+d", Condition{Name: "a+b", Value: "c+d"}, false},
		{"v=%c3%A9", Condition{Name: "v", Value: "é"}, true},
		{"v=100%", Condition{Name: "v", Value: "100%"}, true},
		{"v=%zz%4", Condition{Name: "v", Value: "%zz%4"}, true},
		{"v=a=b", Condition{Name: "v", Value: "a=b"}, true},
		{"v=1;w=2", Condition{Name: "w", Test: Present}, false},
		{"v=a%20b", regexCondition("v", "^a b$"), true},
		{"v=x&v=12", regexCondition("v", "^[0-9]+$"), true},
		{"v=x", regexCondition("v", "^[0-9]+$"), false},
	} {
		if got := c.condition.holdsQuery(c.query); got != c.want {
			t.Errorf("%q, %s: %v; want %v", c.query, c.condition, got, c.want)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{Headers: []Condition{{Name: ""}}}, "has no name"},
		{Rule{Headers: []Condition{{Name: "a b"}}}, "is not a field name"},
		{Rule{Headers: []Condition{{Name: "Host"}}}, "match the host with host"},
		{Rule{Headers: []Condition{{Name: "content-length"}}}, "taken away on arrival"},
		{Rule{Headers: []Condition{{Name: "x", Test: Regex, Value: "a"}}}, "not made by RegexCondition"},
		{Rule{Query: []Condition{{Name: ""}}}, "has no name"},
		{Rule{Query: []Condition{{Name: "v", Test: 9}}}, "unknown test"},
		{Rule{Query: make([]Condition, MaxConditions+1)}, "at most 64"},
	} {
		c.rule.Name = "orders"
		_, _, err := Build([]Rule{{}, c.rule}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `rule 1 "orders"`) {
			t.Errorf("%v: %v; want %s", c.rule, err, c.want)
		}
	}
	for _, expr := range []string{"", "("} {
		if _, err := RegexCondition("x", expr); err == nil {
			t.Errorf("the expression %q was taken", expr)
		}
	}
}

// FuzzQueryAgreesWithNetURL: what net/url can parse, we read as it does.
func FuzzQueryAgreesWithNetURL(f *testing.F) {
	f.Add("a=1&b=%20+", "b", "  ")
	f.Add("a", "a", "")
	f.Fuzz(func(t *testing.T, query, name, value string) {
		values, err := url.ParseQuery(query)
		if err != nil || name == "" {
			return
		}
		want := false
		for _, v := range values[name] {
			want = want || v == value
		}
		if got := (&Condition{Name: name, Value: value}).holdsQuery(query); got != want {
			t.Fatalf("%q: %q = %q: %v; net/url says %v", query, name, value, got, want)
		}
		if got := (&Condition{Name: name, Test: Present}).holdsQuery(query); got != values.Has(name) {
			t.Fatalf("%q: %q present: %v; net/url says %v", query, name, got, values.Has(name))
		}
	})
}
