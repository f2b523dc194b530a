package rewrite

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/route"
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

func regex(match, replace string) *Regex {
	return &Regex{Match: unit.Regexp{Regexp: regexp.MustCompile(match)}, Replace: replace}
}

func request(path string) *message.Exchange {
	x := &message.Exchange{}
	x.Request.Method, x.Request.Authority = "GET", "api.example.com"
	x.Request.Path = path
	return x
}

func TestPaths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		config    Config
		path      string
		want      string // "" where it is refused
		wantFault fault
	}{
		{"whole", Config{Path: "/new"}, "/old", "/new", fine},
		{"whole from the path", Config{Path: "{request.path}/x"}, "/old", "/old/x", fine},
		{"asterisk", Config{Path: "/new"}, "*", "*", fine},
		{"strip", Config{StripPrefix: "/api"}, "/api/x", "/x", fine},
		{"strip all", Config{StripPrefix: "/api"}, "/api", "/", fine},
		{"strip half a segment", Config{StripPrefix: "/api"}, "/apix", "/apix", fine},
		{"strip keeps empty segments", Config{StripPrefix: "/api"}, "/api//x", "//x", fine},
		{"add", Config{AddPrefix: "/v2"}, "/x", "/v2/x", fine},
		{"add to the root", Config{AddPrefix: "/v2/"}, "/", "/v2/", fine},
		{"strip and add", Config{StripPrefix: "/api", AddPrefix: "/v2"}, "/api", "/v2", fine},
		{"strip and add below", Config{StripPrefix: "/api", AddPrefix: "/v2"}, "/api/x/", "/v2/x/", fine},
		{"regex", Config{Regex: regex("/v[0-9]+/(?P<rest>.*)", "/${rest}/$1")}, "/v1/a", "/a/a", fine},
		{"regex without a match", Config{Regex: regex("^/v[0-9]+/", "/")}, "/a/v1/", "/a/v1/", fine},
		{"regex, every match", Config{Regex: regex("_", "-")}, "/a_b_c", "/a-b-c", fine},
		{"regex that takes the slash", Config{Regex: regex("^/", "")}, "/a", "", notAbsolute},
		{"regex that makes dots", Config{Regex: regex("x", "")}, "/a/.x./b", "", dotSegment},
		{"regex that makes an escape", Config{Regex: regex("x", "")}, "/a%x41", "", notNormal},
		{"regex that breaks an escape", Config{Regex: regex("20", "")}, "/a%20", "", badEscape},
		{"an encoded slash that was there", Config{StripPrefix: "/api"}, "/api/a%2Fb", "/a%2Fb", fine},
		{"too long", Config{AddPrefix: "/v2"}, "/" + strings.Repeat("a", MaxPath-3), "", tooLong},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := request(test.path)
			x.Request.Query, x.Request.HasQuery = "q=1", true
			verdict := hooks(t, test.config).OnRequest(x)
			if test.want == "" {
				if verdict != message.Reply || x.Problem() != refusals[test.wantFault] || x.Request.Path != test.path {
					t.Errorf("verdict %v, problem %v, path %q", verdict, x.Problem(), x.Request.Path)
				}
				return
			}
			if verdict != message.Next || x.Request.Path != test.want || x.Request.Query != "q=1" {
				t.Errorf("verdict %v (%v), path %q, want %q", verdict, x.Problem(), x.Request.Path, test.want)
			}
		})
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	set := unit.Map[string]{{Key: "a b", Value: "1&{request.method}"}, {Key: "user", Value: "{consumer.name}"}}
	tests := []struct {
		query   string
		given   bool
		config  Query
		want    string
		wantHas bool
	}{
		{"", false, Query{Set: set}, "a%20b=1%26GET", true},
		{"a+b=0&c=%zz&user=root", true, Query{Set: set}, "c=%zz&a%20b=1%26GET", true},
		{"user=root", true, Query{Remove: unit.List[string]{"user"}}, "", false},
		{"", true, Query{Remove: unit.List[string]{"user"}}, "", true},
		{"users=1", true, Query{Remove: unit.List[string]{"user"}}, "users=1", true},
	}
	for _, test := range tests {
		x := request("/")
		x.Request.Query, x.Request.HasQuery = test.query, test.given
		hooks(t, Config{Query: test.config}).OnRequest(x)
		if x.Request.Query != test.want || x.Request.HasQuery != test.wantHas {
			t.Errorf("%q became %q, %v; want %q, %v", test.query, x.Request.Query, x.Request.HasQuery, test.want, test.wantHas)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Orders.Example.com:8080":             "orders.example.com:8080",
		"{request.header.x}.example.com":      "tenant.example.com",
		"{request.header.bad}.example.com":    "",
		"{request.header.absent}.example.com": "",
		"{request.header.absent}":             "",
	} {
		x := request("/")
		x.Request.Header.Append("X", "Tenant")
		x.Request.Header.Append("Bad", "evil.example.net/")
		verdict := hooks(t, Config{Host: host}).OnRequest(x)
		if want == "" {
			if verdict != message.Reply || x.Problem() != HostRefused || x.Request.Authority != "api.example.com" {
				t.Errorf("%s: verdict %v, host %q", host, verdict, x.Request.Authority)
			}
			continue
		}
		if verdict != message.Next || x.Request.Authority != want {
			t.Errorf("%s: verdict %v, host %q, want %q", host, verdict, x.Request.Authority, want)
		}
	}
}

func TestAllPartsSpeakOfTheRequestAsItCame(t *testing.T) {
	t.Parallel()
	h := hooks(t, Config{
		Path:  "/{request.host}",
		Host:  "inner.example.com",
		Query: Query{Set: unit.Map[string]{{Key: "was", Value: "{request.path}"}, {Key: "at", Value: "{request.host}"}}},
	})
	x := request("/old")
	h.OnRequest(x)
	if got := x.Request.Authority + x.Request.Target(); got != "inner.example.com/api.example.com?was=%2Fold&at=api.example.com" {
		t.Errorf("the origin is asked for %s", got)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		config Config
		want   string
	}{
		{Config{}, "nothing to do"},
		{Config{Path: "/a", StripPrefix: "/b"}, "only one of"},
		{Config{Path: "/a", Regex: regex("a", "b")}, "only one of"},
		{Config{AddPrefix: "/a", Regex: regex("a", "b")}, "only one of"},
		{Config{Path: "a"}, "does not begin with a slash"},
		{Config{Path: "/a?b=1"}, "query.set"},
		{Config{Path: "/a/../b"}, "dot segment"},
		{Config{Path: "/a b"}, "must be percent-encoded"},
		{Config{Path: "/a%2fb"}, "normal form"},
		{Config{Path: "/{path.id"}, "path: template: character 2"},
		{Config{Path: "/{upstream}"}, "not known before"},
		{Config{StripPrefix: "/"}, "strip nothing"},
		{Config{StripPrefix: "api"}, "does not begin with a slash"},
		{Config{AddPrefix: "/"}, "add nothing"},
		{Config{AddPrefix: "v2"}, "does not begin with a slash"},
		{Config{Regex: regex("(a)", "$2")}, `no group "2"`},
		{Config{Regex: regex("(a)", "$1x")}, `no group "1x"`},
		{Config{Regex: regex("(a)", "${1")}, "$ needs a group"},
		{Config{Regex: regex("(a)", "$$$1$")}, "$ needs a group"},
		{Config{Host: "http://a"}, "this is no host"},
		{Config{Host: "{nope}"}, "host: template"},
		{Config{Query: Query{Remove: unit.List[string]{""}}}, "query.remove[0]"},
		{Config{Query: Query{Remove: unit.List[string]{"a"}, Set: unit.Map[string]{{Key: "a", Value: "1"}}}}, "removed too"},
		{Config{Query: Query{Set: unit.Map[string]{{Key: "a"}}}}, "under remove"},
		{Config{Query: Query{Set: unit.Map[string]{{Key: "a", Value: "{"}}}}, `query.set["a"]: template`},
		{Config{Query: Query{Remove: make(unit.List[string], MaxParameters+1)}}, "limit is 100"},
	}
	for _, test := range tests {
		_, err := build(&test.config, &policy.Env{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v lacks %q", test.config, err, test.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   float64
	}{
		{"literal", Config{Path: "/new", Host: "a.example.com"}, 0},
		{"strip", Config{StripPrefix: "/api"}, 0},
		{"regex without a match", Config{Regex: regex("^/v1/", "/")}, 0},
		{"nothing to remove", Config{Query: Query{Remove: unit.List[string]{"debug"}}}, 0},
		{"add", Config{AddPrefix: "/v2"}, 1},
		{"template", Config{Path: "/users/{path.id}/{consumer.name}"}, 1},
		{"query", Config{Query: Query{Set: unit.Map[string]{{Key: "user", Value: "{consumer.name}"}}}}, 1},
	}
	x := request("/api/users/7")
	x.Request.Query, x.Request.HasQuery = "a=1", true
	x.Facts.Params.Add("id", "7")
	x.Facts.Consumer = &message.Consumer{Name: "ada"}
	for _, test := range tests {
		h := hooks(t, test.config)
		got := testing.AllocsPerRun(100, func() {
			x.Request.Path, x.Request.Query, x.Request.Authority = "/api/users/7", "a=1", "api.example.com"
			h.OnRequest(x)
		})
		if x.Problem() != nil || got > test.want {
			t.Errorf("%s: %v allocations, %v is the budget; problem %v", test.name, got, test.want, x.Problem())
		}
	}
}

// FuzzFault compares with what happens to a path on arrival: what is fine here is
// left alone there, and the other way round.
func FuzzFault(f *testing.F) {
	for _, seed := range []string{"", "/", "/a/b", "/a/../b", "/a/..;x/b", "/%2E", "/%2F..", "/..%2Fa", "/a%2fb", "/%00", "/%5C", "/a\\b", "/a%2", "/a b", "/é", "//", "/a//b/.", "/%zz", "/%C3%A9", "/.a/..b/...", "/;a/.;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if len(path) > MaxPath {
			return
		}
		got := faultOf(path)
		normal, err := route.Normalize(path, route.NormalizeOptions{KeepEncodedSlash: true})
		kept := err == nil && normal == path
		if fit := got == fine || got == encodedSlash; fit != kept {
			t.Fatalf("%q: %v here; on arrival it becomes %q, %v", path, got, normal, err)
		}
		if _, err := route.Normalize(path, route.NormalizeOptions{}); got == encodedSlash && err != route.PathEncodedSlash {
			t.Fatalf("%q: an encoded slash here; on arrival %v", path, err)
		}
	})
}
