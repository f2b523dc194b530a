package cors

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/unit"
)

func origins(t testing.TB, list ...string) unit.List[Origin] {
	t.Helper()
	var all unit.List[Origin]
	for _, s := range list {
		var o Origin
		if err := o.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

func settings(t testing.TB, list ...string) Config {
	return Config{
		Origins: origins(t, list...),
		Methods: unit.List[string]{"GET", "PUT"},
		Headers: unit.List[string]{"Content-Type"},
		MaxAge:  unit.Duration(10 * time.Minute),
	}
}

func hooks(t testing.TB, c Config) policy.Hooks {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	rooms := 0
	h, err := build(&c, &policy.Env{Rooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// exchange runs one call; the origin server answers with the fields.
func exchange(h policy.Hooks, method string, fields []string, answer ...string) *message.Exchange {
	x := &message.Exchange{}
	x.Request.Method = method
	for i := 0; i < len(fields); i += 2 {
		x.Request.Header.Append(fields[i], fields[i+1])
	}
	if h.OnRequest(x) == message.Next {
		x.Response.Status = 200
		for i := 0; i < len(answer); i += 2 {
			x.Response.Header.Append(answer[i], answer[i+1])
		}
	}
	h.OnResponse(x)
	return x
}

func text(h *message.Header) string {
	var b strings.Builder
	for _, f := range h.Fields() {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	return b.String()
}

func preflight(origin string) []string {
	return []string{"Origin", origin, "Access-Control-Request-Method", "PUT"}
}

const (
	app   = "https://app.example.com"
	other = "https://evil.example.net"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	all := settings(t, "*")
	all.ExposedHeaders = unit.List[string]{"ETag", "Link"}
	named := settings(t, app, "https://*.apps.example.com")
	secret := named
	secret.Credentials = true
	secret.ExposedHeaders = unit.List[string]{"ETag"}
	for _, c := range []struct {
		name   string
		config Config
		method string
		fields []string
		answer []string
		status int
		want   string
	}{
		{"everybody, no origin", all, "GET", nil, nil, 200,
			"Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: ETag, Link\n"},
		{"everybody", all, "GET", []string{"Origin", other}, nil, 200,
			"Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: ETag, Link\n"},
		{"everybody, preflight", all, "OPTIONS", preflight(other), nil, 204,
			"Access-Control-Allow-Origin: *\nAccess-Control-Allow-Methods: GET, PUT\nAccess-Control-Allow-Headers: Content-Type\nAccess-Control-Max-Age: 600\n"},
		{"no origin", named, "GET", nil, nil, 200, "Vary: Origin\n"},
		{"another origin", named, "GET", []string{"Origin", other}, nil, 200, "Vary: Origin\n"},
		{"the origin", named, "PUT", []string{"Origin", app}, nil, 200,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\n"},
		{"below the domain", named, "GET", []string{"Origin", "https://a.b.apps.example.com"}, nil, 200,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://a.b.apps.example.com\n"},
		{"two origins", named, "GET", []string{"Origin", app, "Origin", other}, nil, 200, "Vary: Origin\n"},
		{"preflight", named, "OPTIONS", preflight(app), nil, 204,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\nAccess-Control-Allow-Methods: GET, PUT\nAccess-Control-Allow-Headers: Content-Type\nAccess-Control-Max-Age: 600\n"},
		{"preflight of another origin", named, "OPTIONS", preflight(other), nil, 0, "Vary: Origin\n"},
		{"preflight of null", named, "OPTIONS", preflight("null"), nil, 0, "Vary: Origin\n"},
		{"OPTIONS of the API", named, "OPTIONS", []string{"Origin", app}, nil, 200,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\n"},
		{"a method is asked for, but by POST", named, "POST", preflight(app), nil, 200,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\n"},
		{"with credentials", secret, "GET", []string{"Origin", app}, nil, 200,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\nAccess-Control-Allow-Credentials: true\nAccess-Control-Expose-Headers: ETag\n"},
		{"with credentials, preflight", secret, "OPTIONS", preflight(app), nil, 204,
			"Vary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\nAccess-Control-Allow-Credentials: true\nAccess-Control-Allow-Methods: GET, PUT\nAccess-Control-Allow-Headers: Content-Type\nAccess-Control-Max-Age: 600\n"},
		{"the origin server's own words", named, "GET", []string{"Origin", app},
			[]string{"access-control-allow-origin", "*", "A", "1", "Access-Control-Allow-Credentials", "true", "Vary", "Accept", "Access-Control-X", "y", "B", "2"}, 200,
			"A: 1\nVary: Accept\nB: 2\nVary: Origin\nAccess-Control-Allow-Origin: https://app.example.com\n"},
		{"varies already", named, "GET", nil, []string{"Vary", "Accept, origin"}, 200, "Vary: Accept, origin\n"},
		{"varies with everything", named, "GET", nil, []string{"Vary", "*"}, 200, "Vary: *\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := exchange(hooks(t, c.config), c.method, c.fields, c.answer...)
			if x.Response.Status != c.status {
				t.Errorf("status %d, want %d", x.Response.Status, c.status)
			}
			if refused := x.Problem() == notAllowed; refused != (c.status == 0) {
				t.Errorf("problem %v", x.Problem())
			}
			if got := text(&x.Response.Header); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// Policies in between may change the request; what the browser asked stays.
func TestOriginIsTakenOnArrival(t *testing.T) {
	t.Parallel()
	h := hooks(t, settings(t, app))
	x := &message.Exchange{}
	x.Request.Method = "GET"
	x.Request.Header.Append("Origin", app)
	h.OnRequest(x)
	x.Request.Header.Del("Origin")
	h.OnResponse(x)
	if got := x.Response.Header.Get("Access-Control-Allow-Origin"); got != app {
		t.Errorf("the origin allowed is %q", got)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"*", "*"},
		{"https://app.example.com", "https://app.example.com"},
		{"HTTPS://App.Example.COM:443", "https://app.example.com"},
		{"http://app.example.com:80", "http://app.example.com"},
		{"http://app.example.com:443", "http://app.example.com:443"},
		{"http://localhost:3000", "http://localhost:3000"},
		{"http://192.0.2.7:8080", "http://192.0.2.7:8080"},
		{"http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"},
		{"https://*.example.com:8443", "https://*.example.com:8443"},
		{"https://*.localhost", "https://*.localhost"},
		{"capacitor://localhost", "capacitor://localhost"},
		{"chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"},
		{"https://xn--bcher-kva.example.com", "https://xn--bcher-kva.example.com"},
	} {
		var o Origin
		if err := o.UnmarshalText([]byte(c.text)); err != nil || o.String() != c.want {
			t.Errorf("%q became %q, %v", c.text, o, err)
		}
	}
	for text, want := range map[string]string{
		"":                            "write scheme and host",
		"app.example.com":             "write scheme and host",
		"null":                        "sandboxed",
		"://a.example.com":            "write scheme and host",
		"https://":                    "is not a host",
		"https://app.example.com/":    "slash at its end",
		"https://app.example.com/a":   `leave out "/a"`,
		"https://u@app.example.com":   "ends behind the host",
		"https://app.example.com:0":   "is not a port",
		"https://app.example.com:":    "is not a port",
		"https://a.example.com:99999": "is not a port",
		"https://*":                   "whole labels at the front",
		"https://*.com":               "lets in too much",
		"https://app-*.example.com":   "whole labels at the front",
		"https://a.*.example.com":     "whole labels at the front",
		"https://bücher.example":      "xn--",
		"https://a..example.com":      "is not a host",
		"http://[::1%eth0]":           "is not an IPv6 address",
		"http://[2001:DB8:0::1]":      "browsers write the address as [2001:db8::1]",
		"https://a b.example.com":     "is not a host",
	} {
		var o Origin
		if err := o.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestBelowADomain(t *testing.T) {
	t.Parallel()
	d := domain{"https://", ".example.com:8443"}
	for origin, want := range map[string]bool{
		"https://a.example.com:8443":                 true,
		"https://a-1.b_2.example.com:8443":           true,
		"https://example.com:8443":                   false,
		"https://.example.com:8443":                  false,
		"https://a..example.com:8443":                false,
		"https://.a.example.com:8443":                false,
		"https://a.example.com":                      false,
		"http://a.example.com:8443":                  false,
		"https://evilexample.com:8443":               false,
		"https://evil.example.net/.example.com:8443": false,
		"https://evil:1@.example.com:8443":           false,
		"https://A.example.com:8443":                 false,
		"https://":                                   false,
		"":                                           false,
	} {
		if got := d.has(origin); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"no origin", func(c *Config) { c.Origins = nil }, "origins: there is no origin"},
		{"* and others", func(c *Config) { c.Origins = origins(t, app, "*") }, "origins[1]: * stands for every origin"},
		{"* with credentials", func(c *Config) { c.Origins, c.Credentials = origins(t, "*"), true }, "origins[0]: with credentials"},
		{"* for methods with credentials", func(c *Config) { c.Methods, c.Credentials = unit.List[string]{"*"}, true }, "methods[0]: with credentials"},
		{"* for headers with credentials", func(c *Config) { c.Headers, c.Credentials = unit.List[string]{"A", "*"}, true }, "headers[1]: with credentials"},
		{"* exposed with credentials", func(c *Config) { c.ExposedHeaders, c.Credentials = unit.List[string]{"*"}, true }, "exposed_headers[0]: with credentials"},
		{"no method", func(c *Config) { c.Methods = unit.List[string]{"GET", "A B"} }, `methods[1]: "A B" is not a method`},
		{"a method in lower case", func(c *Config) { c.Methods = unit.List[string]{"patch"} }, "upper case: PATCH"},
		{"a forbidden method", func(c *Config) { c.Methods = unit.List[string]{"Trace"} }, "browsers let no page send TRACE"},
		{"no field", func(c *Config) { c.Headers = unit.List[string]{"A: b"} }, `headers[0]: "A: b" is not the name`},
		{"no field exposed", func(c *Config) { c.ExposedHeaders = unit.List[string]{""} }, `exposed_headers[0]: "" is not the name`},
		{"parts of seconds", func(c *Config) { c.MaxAge = unit.Duration(1500 * time.Millisecond) }, "max_age: 1s500ms is not a whole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := settings(t, app)
			c.change(&config)
			if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAllocations(t *testing.T) {
	g := policytest.New(t, "policies:\n  - cors: { origins: ['"+app+"', 'https://*.apps.example.com'], credentials: true }\n", Kind)
	g.Client = netip.Addr{} // Fill would make a text of it.
	for _, origin := range []string{"", app, "https://a.apps.example.com", other} {
		for _, method := range []string{"GET", "OPTIONS"} {
			policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) {
				g.Fill(x, method, "/")
				x.Request.Header.Append("Access-Control-Request-Method", "PUT")
				if origin != "" {
					x.Request.Header.Append("Origin", origin)
				}
			})
		}
	}
}

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

// Whatever is let in by a pattern is, to a URL parser, a host below the domain.
func FuzzBelowADomain(f *testing.F) {
	for _, s := range []string{"https://a.example.com", "https://a@b.example.com", "https://a/.example.com", "https://a#.example.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		d := domain{"https://", ".example.com"}
		if !d.has(origin) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Path != "" || !strings.HasSuffix(u.Hostname(), ".example.com") || u.Port() != "" {
			t.Errorf("%q is let in: %v %v", origin, u, err)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://a.example.com:443", "http://[::1]:1", "*", "a://b", "https://*.example.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var o, again Origin
		if o.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(o.String())); err != nil || again != o {
			t.Errorf("%q became %q, which became %q (%v)", s, o, again, err)
		}
	})
}
