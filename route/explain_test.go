package route

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// tell writes an explanation down.
func tell(x Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule %d through %q %q %v %v\n", x.Rule, x.Host, x.Path, x.Params, x.Methods)
	for _, why := range x.Why {
		fmt.Fprintln(&b, " ", why)
	}
	for _, m := range x.Near {
		fmt.Fprintf(&b, "near %d %q %q %v: %s\n", m.Rule, m.Host, m.Path, m.Matched, m.Reason)
	}
	return b.String()
}

func TestExplain(t *testing.T) {
	t.Parallel()
	gold := ruleOf("api.example.com,*.example.com /orders/{id},/orders GET,POST")
	gold.Headers = []Condition{{Name: "x-tier", Value: "gold"}}
	gold.Query = []Condition{{Name: "v", Test: Present}}
	gold.Listeners = []string{"web"}
	beta := ruleOf("api.example.com /orders/{number}")
	beta.Headers = []Condition{{Name: "x-beta", Test: Present}}
	beta.Query = []Condition{regexCondition("v", "^3")}
	table := mustBuild(t, []Rule{
		gold, ruleOf("api.example.com /orders/{number} GET"), ruleOf("api.example.com /orders/{rest...}"), ruleOf("*.example.com /orders/7"),
		ruleOf("- ^/orders"), ruleOf("- -"), beta, ruleOf("api.example.com /orders/{id} PUT"), ruleOf("shop.example.com /orders/{id}"),
		ruleOf("api.example.com /ordres/{id}"), ruleOf("other.example.org /ordres"), ruleOf("api.example.com /orders/{id} GET"),
	})
	r := &message.Request{Method: "GET", Authority: "api.example.com:8080", Path: "/orders/7", Query: "v=2"}
	r.Header.Append("X-Tier", "gold")
	want := `rule 0 through "api.example.com" "/orders/{id}" [{id 7}] []
  host: api.example.com, exactly
  path: /orders/{id}, segment by segment
  method: GET is one of GET, POST
  header: x-tier is "gold"
  query: v is present
  listener: web is web
near 1 "api.example.com" "/orders/{number}" true: matches too, but has fewer conditions on method, headers and query: 1, the winner 3
near 11 "api.example.com" "/orders/{id}" true: matches too, but has fewer conditions on method, headers and query: 1, the winner 3
near 2 "api.example.com" "/orders/{rest...}" true: matches too, but its path (/orders/{rest...}, a prefix of 1 segment) is less specific than the winner's (/orders/{id}, segment by segment)
near 3 "*.example.com" "/orders/7" true: matches too, but its host (*.example.com, a wildcard) is less specific than the winner's (api.example.com, exactly)
near 4 "" "^/orders" true: matches too, but its host (any) is less specific than the winner's (api.example.com, exactly)
near 5 "" "" true: matches too, but its host (any) is less specific than the winner's (api.example.com, exactly)
near 7 "api.example.com" "/orders/{id}" false: method: "GET" is not PUT
near 8 "shop.example.com" "/orders/{id}" false: host: "api.example.com" is not shop.example.com
near 9 "api.example.com" "/ordres/{id}" false: path: "/orders/7" does not match /ordres/{id}
near 6 "api.example.com" "/orders/{number}" false: header: not true that x-beta is present; the request has none; query: not true that v matches "^3"; the request has ["2"]
`
	if got := tell(table.Explain(r, "web")); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := table.Explain(r, "admin"); got.Rule != 1 || !strings.Contains(got.Near[0].Reason, "written behind") {
		t.Errorf("on another listener:\n%s", tell(got))
	}
}

func TestExplainNoRule(t *testing.T) {
	t.Parallel()
	table := mustBuild(t, []Rule{ruleOf("a.example.com /x PUT,PURGE"), ruleOf("a.example.com /x/** POST")})
	r := &message.Request{Method: "GET", Authority: "a.example.com", Path: "/x"}
	want := `rule -1 through "" "" [] [POST PURGE PUT]
near 0 "a.example.com" "/x" false: method: "GET" is not one of PURGE, PUT
near 1 "a.example.com" "/x/**" false: method: "GET" is not POST
`
	if got := tell(table.Explain(r, "web")); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
