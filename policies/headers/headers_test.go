package headers

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/unit"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func hooks(t *testing.T, c Config) policy.Hooks {
	t.Helper()
	h, err := build(&c, &policy.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func one(name, value string) unit.Map[string] {
	return unit.Map[string]{{Key: name, Value: value}}
}

func some(name string, values ...string) unit.Map[unit.List[string]] {
	return unit.Map[unit.List[string]]{{Key: name, Value: values}}
}

// shown writes a header in one line.
func shown(h *message.Header) string {
	var b strings.Builder
	for _, f := range h.Fields() {
		b.WriteString(f.Name + "=" + f.Value + ";")
	}
	return b.String()
}

func TestChanges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		changes Changes
		want    string
	}{
		{"set replaces all, in the first place", Changes{Set: one("x-a", "9")}, "X-A=9;X-B=2;"},
		{"set adds", Changes{Set: one("X-C", "9")}, "X-A=1;X-B=2;x-a=3;X-C=9;"},
		{"set to nothing removes", Changes{Set: one("X-A", "{consumer.name}")}, "X-B=2;"},
		{"add", Changes{Add: some("X-A", "4", "5")}, "X-A=1;X-B=2;x-a=3;X-A=4;X-A=5;"},
		{"add nothing", Changes{Add: some("X-A", "{consumer.name}")}, "X-A=1;X-B=2;x-a=3;"},
		{"default where there is one", Changes{Default: one("x-b", "9")}, "X-A=1;X-B=2;x-a=3;"},
		{"default", Changes{Default: one("X-C", "{request.method}")}, "X-A=1;X-B=2;x-a=3;X-C=GET;"},
		{"remove", Changes{Remove: unit.List[string]{"x-A"}}, "X-B=2;"},
		{"remove a prefix", Changes{Remove: unit.List[string]{"x-*"}}, ""},
		{"remove what is not there", Changes{Remove: unit.List[string]{"X", "X-A-*"}}, "X-A=1;X-B=2;x-a=3;"},
		{"values are read before anything is removed", Changes{Remove: unit.List[string]{"X-B"}, Set: one("X-C", "{request.header.x-b}")}, "X-A=1;x-a=3;X-C=2;"},
		{"several values are one list", Changes{Set: one("X-C", "{request.header.x-a}")}, "X-A=1;X-B=2;x-a=3;X-C=1, 3;"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := hooks(t, Config{Request: test.changes})
			if h.OnResponse != nil {
				t.Error("a request change has a response hook")
			}
			x := &message.Exchange{}
			x.Request.Method = "GET"
			for _, f := range []message.Field{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}, {Name: "x-a", Value: "3"}} {
				x.Request.Header.Append(f.Name, f.Value)
			}
			if v := h.OnRequest(x); v != message.Next {
				t.Errorf("verdict %v", v)
			}
			if got := shown(&x.Request.Header); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAValueCannotSplitAMessage(t *testing.T) {
	t.Parallel()
	h := hooks(t, Config{Request: Changes{Set: one("X-Q", "{request.query.q}")}})
	x := &message.Exchange{}
	x.Request.Query = "q=a%0d%0aHost:%20evil"
	h.OnRequest(x)
	if got := x.Request.Header.Get("X-Q"); got != "a  Host: evil" {
		t.Errorf("the field is %q", got)
	}
}

func TestManyChanges(t *testing.T) {
	t.Parallel()
	var changes Changes
	for i := range MaxChanges {
		changes.Add = append(changes.Add, some("X-N", strings.Repeat("n", i+1))...)
	}
	h := hooks(t, Config{Response: changes})
	if h.OnRequest != nil {
		t.Error("a response change has a request hook")
	}
	x := &message.Exchange{}
	h.OnResponse(x)
	if n := x.Response.Header.Count("X-N"); n != MaxChanges {
		t.Errorf("%d fields", n)
	}
	changes.Add = append(changes.Add, some("X-N", "more")...)
	if _, err := build(&Config{Response: changes}, &policy.Env{}); err == nil || !strings.Contains(err.Error(), "limit is 100") {
		t.Errorf("101 changes: %v", err)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		changes Changes
		want    string
	}{
		{"nothing", Changes{}, "nothing to do"},
		{"no name", Changes{Set: one("X A", "1")}, `request.set["X A"]: "X A" is no header name`},
		{"host", Changes{Set: one("host", "a")}, "the policy rewrite"},
		{"length", Changes{Add: some("Content-Length", "1")}, "frames the message"},
		{"hop by hop", Changes{Remove: unit.List[string]{"Connection"}}, "request.remove[0]: Connection cannot"},
		{"wildcard alone", Changes{Remove: unit.List[string]{"*"}}, "every field"},
		{"wildcard in the middle", Changes{Remove: unit.List[string]{"X-*-Y*"}}, "one * at the very end"},
		{"twice", Changes{Set: unit.Map[string]{{Key: "X-A", Value: "1"}, {Key: "x-a", Value: "2"}}}, "given twice, as X-A"},
		{"default and set", Changes{Set: one("X-A", "1"), Default: one("x-a", "2")}, "never absent"},
		{"default and add", Changes{Add: some("X-A", "1"), Default: one("x-a", "2")}, "never absent"},
		{"empty", Changes{Set: one("X-A", "")}, "under remove"},
		{"control", Changes{Set: one("X-A", "a\nb")}, "control character"},
		{"space at the end", Changes{Set: one("X-A", "a ")}, "space at an end"},
		{"unknown variable", Changes{Default: one("X-A", "{client.adress}")}, `request.default["X-A"]: template: character 1 of "{client.adress}": unknown variable {client.adress}; did you mean {client.address}?`},
		{"too early", Changes{Set: one("X-A", "{response.status}")}, "not known before the answer"},
	}
	for _, test := range tests {
		_, err := build(&Config{Request: test.changes}, &policy.Env{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v lacks %q", test.name, err, test.want)
		}
	}
	both := Config{Request: Changes{Set: one("Host", "a")}, Response: Changes{Set: one("X-A", "{nope")}}
	_, err := build(&both, &policy.Env{})
	if err == nil || !strings.Contains(err.Error(), "request.set") || !strings.Contains(err.Error(), "response.set") {
		t.Errorf("not every fault is reported: %v", err)
	}
}

func TestAllocations(t *testing.T) {
	h := hooks(t, Config{
		Request: Changes{
			Remove:  unit.List[string]{"X-Old", "X-Internal-*"},
			Set:     unit.Map[string]{{Key: "X-User", Value: "{consumer.name}"}, {Key: "X-Fixed", Value: "1"}},
			Default: one("Accept", "*/*"),
			Add:     some("X-Hop", "{request.host}"),
		},
		Response: Changes{Set: one("X-Status", "{response.status}"), Remove: unit.List[string]{"Server"}},
	})
	x := &message.Exchange{}
	x.Facts.Consumer = &message.Consumer{Name: "ada"}
	x.Request.Authority = "api.example.com:80"
	x.Response.Status = 200
	run := func() {
		x.Request.Header.Reset()
		x.Response.Header.Reset()
		x.Request.Header.Append("X-Old", "1")
		x.Request.Header.Append("x-internal-role", "1")
		x.Response.Header.Append("Server", "origin")
		h.OnRequest(x)
		h.OnResponse(x)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
	if got := shown(&x.Request.Header); got != "X-User=ada;X-Fixed=1;Accept=*/*;X-Hop=api.example.com;" {
		t.Errorf("the request has %s", got)
	}
}
