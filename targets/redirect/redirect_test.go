package redirect

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
)

func handler(t *testing.T, c Config) target.Handler {
	t.Helper()
	if c.Status == 0 {
		c.Status = 307
	}
	h, err := build(&c, &target.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func exchange(path string) *message.Exchange {
	x := &message.Exchange{}
	x.Request.Method, x.Request.Scheme, x.Request.Authority = "GET", "http", "api.example.com:8080"
	x.Request.Path, x.Request.Query, x.Request.HasQuery = strings.Cut(path, "?")
	x.Request.Header.Append("X-Next", "//evil.example.net/?a#b")
	x.Request.Header.Append("X-Tenant", "acme")
	x.Facts.Params.Add("id", "7%2F8")
	x.Facts.Params.Add("rest", "/evil.example.net/")
	return x
}

func TestLocations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		to, path string
		drop     bool // the query is not kept
		want     string
	}{
		{"/new", "/old", false, "/new"},
		{"/new", "/old?a=1", false, "/new?a=1"},
		{"/new", "/old?", false, "/new?"},
		{"/new", "/old?a=1", true, "/new"},
		{"/new?b=2", "/old?a=1", false, "/new?b=2"},
		{"/new#part", "/old?a=1", false, "/new?a=1#part"},
		{"/new?", "/old?a=1", false, "/new?"},
		{"https://www.example.com", "/old?a=1", false, "https://www.example.com?a=1"},
		{"https://{request.host}{request.path}", "/a%20b?c=%20", false, "https://api.example.com/a%20b?c=%20"},
		{"{request.scheme}://{request.authority}/x{request.path}", "/a", false, "http://api.example.com:8080/x/a"},
		{"https://{request.header.x-tenant}.example.com/", "/", false, "https://acme.example.com/"},
		{"/c/{path.id}?q={path.id}&r={request.query}", "/?a=1&b=%20", false, "/c/7%2F8?q=7%252F8&r=a=1&b=%20"},
		{"/s?q={request.query.q}#{request.query.q}", "/?q=a%26b+c", false, "/s?q=a%26b%20c#a%26b%20c"},
		{"/to/{request.header.x-next}", "/", false, "/to/%2F%2Fevil.example.net%2F%3Fa%23b"},
		// Nobody is sent to a host that a client chose.
		{"{request.path}/", "//evil.example.net", false, "/evil.example.net/"},
		{"/{path.rest}", "/", false, "/evil.example.net/"},
		{"/{path.none}/{path.rest}", "/", false, "/evil.example.net/"},
		{"https://www.example.com{request.path}", "//evil.example.net", false, "https://www.example.com//evil.example.net"},
	}
	for _, test := range tests {
		h, x := handler(t, Config{To: test.to, KeepQuery: !test.drop}), exchange(test.path)
		if err := h.Serve(x); err != nil {
			t.Errorf("%s of %s: %v", test.to, test.path, err)
			continue
		}
		if got := x.Response.Header.Get("Location"); got != test.want || x.Response.Status != 307 || x.Response.Body != nil {
			t.Errorf("%s of %s: %d %q, want %q", test.to, test.path, x.Response.Status, got, test.want)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		x := exchange("/")
		if err := handler(t, Config{To: "/x", Status: status}).Serve(x); err != nil || x.Response.Status != status {
			t.Errorf("status %d: %d, %v", status, x.Response.Status, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ to, path string }{
		{"https://www.example.com{request.path}", "*"},
		{"{request.path}", "*"},
		{"https://{request.header.x-next}.example.com/", "/"},
		{"https://{request.header.none}.example.com/", "/"},
		{"/x{request.path}", "/" + strings.Repeat("a", MaxLocation)},
	}
	for _, test := range tests {
		x := exchange(test.path)
		err := handler(t, Config{To: test.to, KeepQuery: true}).Serve(x)
		if err != Refused || x.Response.Header.Len() != 0 {
			t.Errorf("%s of %.40s: %v, %q", test.to, test.path, err, x.Response.Header.Get("Location"))
		}
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		config Config
		want   string
	}{
		{Config{To: "/x", Status: 304}, "status: 304 does not lead elsewhere"},
		{Config{To: "/x", Status: 200}, "200 does not lead elsewhere"},
		{Config{}, "to: the location is missing"},
		{Config{To: "x"}, "neither a path nor a URL"},
		{Config{To: "?a=1"}, "neither a path nor a URL"},
		{Config{To: "{request.header.x-next}"}, "neither a path nor a URL"},
		{Config{To: "ftp://example.com/"}, "neither a path nor a URL"},
		{Config{To: "javascript:alert(1)"}, "neither a path nor a URL"},
		{Config{To: "//example.com"}, "another host"},
		{Config{To: "/{request.path}x{"}, "without"},
		{Config{To: "/a b"}, `character 3 of "/a b"`},
		{Config{To: "/\\example.com"}, "may not stand in a URL"},
		{Config{To: "/{{x}}"}, "%7B"},
		{Config{To: "https://{request.header.host2}/"}, "would choose the host"},
		{Config{To: "https://www.example.com{request.query}"}, "would choose the host"},
		{Config{To: "https://{path.a}.{path.b}/"}, "would choose the host"},
		{Config{To: "https://{path.a}./"}, "would choose the host"},
		{Config{To: "https://user@example.com/"}, "is no host"},
		{Config{To: "https://a..example.com/"}, "is no host"},
		{Config{To: "https:///x"}, "is no host"},
		{Config{To: "https://{request.hosts}.example.com/"}, "did you mean {request.host}?"},
		{Config{To: "/x?{nope"}, "template"},
		{Config{To: "/x#{upstream}"}, "not known before"},
		{Config{To: "/" + strings.Repeat("a", MaxLocation)}, "longer than 16384"},
	}
	for _, test := range tests {
		if test.config.Status == 0 {
			test.config.Status = 307
		}
		_, err := build(&test.config, &target.Env{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: error %v lacks %q", test.config.To, err, test.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	for _, test := range []struct {
		to, path string
		want     float64
	}{
		{"/new", "/old", 0},
		{"https://www.example.com/", "/old", 0},
		{"/new", "/old?a=1", 1},
		{"https://{request.host}{request.path}", "/old?a=1", 1},
	} {
		h, x := handler(t, Config{To: test.to, KeepQuery: true}), exchange(test.path)
		run := func() { _ = h.Serve(x) }
		run()
		if got := testing.AllocsPerRun(100, run); got > test.want {
			t.Errorf("%s of %s: %v allocations, %v is the budget", test.to, test.path, got, test.want)
		}
	}
}

// FuzzHost looks for values that lead to another host.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"", "/", "//evil", "/%2F/evil", "/..//evil", "evil.example.net#", "a@b", "a:b@c", "\x00", "a?b"} {
		f.Add(seed)
	}
	var handlers []target.Handler
	for _, to := range []string{"/{path.v}", "{request.path}", "/{request.header.v}{request.path}", "{request.path}{path.v}?{request.header.v}", "https://www.example.com{request.path}", "https://{path.v}.example.com/{request.header.v}", "https://{request.header.v}.example.com"} {
		c := Config{To: to, Status: 307, KeepQuery: true}
		h, err := build(&c, &target.Env{})
		if err != nil {
			f.Fatal(err)
		}
		handlers = append(handlers, h)
	}
	base := &url.URL{Scheme: "https", Host: "www.example.com", Path: "/"}
	f.Fuzz(func(t *testing.T, value string) {
		x := &message.Exchange{}
		x.Request.Authority = "www.example.com"
		x.Request.Header.Add("V", value)
		// A wire lets only these through.
		if !strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("\\?#%", c) }) {
			x.Request.Path = "/" + value
			x.Facts.Params.Add("v", value)
		}
		for _, h := range handlers {
			x.Response.Header.Reset()
			if h.Serve(x) != nil {
				continue
			}
			to := x.Response.Header.Get("Location")
			u, err := base.Parse(to)
			if err != nil {
				t.Fatalf("%q leads to %q, which is no URL: %v", value, to, err)
			}
			if host := u.Hostname(); host != "example.com" && !strings.HasSuffix(host, ".example.com") || u.User != nil {
				t.Fatalf("%q leads to %q", value, to)
			}
		}
	})
}
