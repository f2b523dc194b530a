package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

func mustPattern(text string) Pattern {
	parse := ParsePattern
	if strings.HasPrefix(text, "^") {
		parse = RegexPattern
	}
	p, err := parse(text)
	if err != nil {
		panic(err)
	}
	return p
}

func TestPatternMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		ok            bool
		params        string
	}{
		{"/", "/", true, ""},
		{"/", "//", false, ""},
		{"/orders", "/orders", true, ""},
		{"/orders", "/orders/", false, ""},
		{"/orders", "/Orders", false, ""},
		{"/orders/", "/orders/", true, ""},
		{"/orders/", "/orders", false, ""},
		{"/a//b", "/a//b", true, ""},
		{"/a//b", "/a/b", false, ""},
		{"/users/{id}", "/users/7", true, "id=7"},
		{"/users/{id}", "/users/", false, ""},
		{"/users/{id}", "/users/7/", false, ""},
		{"/users/{id}", "/users/a%20b;v=1", true, "id=a%20b;v=1"},
		{"/users/{id}/", "/users/7/", true, "id=7"},
		{"/{a}/{b}", "/x/y", true, "a=x b=y"},
		{"/{a}/x/{b}", "/1/x/2", true, "a=1 b=2"},
		{"/{a}/x/{b}", "/1/y/2", false, ""},
		{"/**", "/", true, ""},
		{"/**", "/a/b", true, ""},
		{"/**", "*", false, ""},
		{"/orders/**", "/orders", true, ""},
		{"/orders/**", "/orders/", true, ""},
		{"/orders/**", "/orders//", true, ""},
		{"/orders/**", "/orders/1/2", true, ""},
		{"/orders/**", "/orders2", false, ""},
		{"/orders/**", "/order", false, ""},
		{"/files/{rest...}", "/files", true, "rest="},
		{"/files/{rest...}", "/files/", true, "rest="},
		{"/files/{rest...}", "/files/a/b", true, "rest=a/b"},
		{"/files/{rest...}", "/files//a", true, "rest=/a"},
		{"/{rest...}", "/", true, "rest="},
		{"/{rest...}", "/a", true, "rest=a"},
		{"/{user}/files/{rest...}", "/ann/files/a/", true, "user=ann rest=a/"},
		{"/{user}/**", "//a", false, ""},
		{"^/v[0-9]+/", "/v12/x", true, ""},
		{"^/v[0-9]+/", "/v/x", false, ""},
		{"^/v[0-9]+/", "*", false, ""},
		{"^/v1$", "/v1/", false, ""},
	} {
		table, _, err := Build([]Rule{{Paths: []Pattern{mustPattern(c.pattern)}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var params message.Params
		_, ok := table.Match(&message.Request{Method: "GET", Path: c.path}, "", &params)
		var got []string
		for _, p := range params.All() {
			got = append(got, p.Name+"="+p.Value)
		}
		if ok != c.ok || strings.Join(got, " ") != c.params {
			t.Errorf("%s on %s: %v %q; want %v %q", c.pattern, c.path, ok, got, c.ok, c.params)
		}
		if _, twin := twinPath(mustPattern(c.pattern), c.path); twin != c.ok {
			t.Errorf("%s on %s: the twin says %v", c.pattern, c.path, twin)
		}
	}
}

func TestLongPaths(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("/s", MaxSegments-1)
	table, _, err := Build([]Rule{
		{Paths: []Pattern{mustPattern(longest + "/{last}")}},
		{Paths: []Pattern{mustPattern(longest + "/s/{rest...}")}},
		{Paths: []Pattern{mustPattern("/s/**")}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		longest:                             2,
		longest + "/x":                      0,
		longest + "/x/y":                    2,
		longest + "/s/y/z":                  1,
		strings.Repeat("/s", 2000):          1,
		"/s" + strings.Repeat("/", 100_000): 2,
	} {
		got, ok := table.Match(&message.Request{Path: path}, "", nil)
		if !ok || got != want {
			t.Errorf("%.80s: rule %d, %v; want %d", path, got, ok, want)
		}
	}
}

func TestParsePatternErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               `path "" does not begin with a slash: write "/"`,
		"orders":         `write "/orders"`,
		"/a/../b":        `write "/b"`,
		"/%7Eann":        `write "/~ann"`,
		"/a%2fb":         `write "/a%2Fb"`,
		"/é":             `write "/%C3%A9"`,
		"/a b":           `write "/a%20b"`,
		"/a?x=1":         `has a query`,
		"/a%zz":          `two hexadecimal digits`,
		`/a\b`:           `backslash`,
		"/**/a":          `put it at the end`,
		"/{rest...}/a":   `put it at the end`,
		"/a**":           `the star is no wildcard`,
		"/a/*":           `write {name} for one segment`,
		"/a{id}":         `mixes a parameter with other text`,
		"/{id}.json":     `mixes a parameter with other text`,
		"/{a}{b}":        `mixes a parameter with other text`,
		"/{a":            `mixes a parameter with other text`,
		"/a}":            `mixes a parameter with other text`,
		"/{}":            `"{}" is not a parameter`,
		"/{...}":         `is not a parameter`,
		"/{1a}":          `does not begin with a digit`,
		"/{a,b}":         `is not a parameter`,
		"/{id}/x/{id}":   `names two parameters "id"`,
		"/{id}/{id...}":  `names two parameters "id"`,
		params(17):       `has 17 parameters: at most 16`,
		segmentsOf(33):   `more than 32 segments`,
		"/" + long(4096): `at most 4096 are allowed`,
	} {
		_, err := ParsePattern(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePattern(%.60q): %v; want %s", text, err, want)
		}
	}
	for _, text := range []string{params(16), segmentsOf(32), segmentsOf(32) + "/**", "/" + long(4095)} {
		if _, err := ParsePattern(text); err != nil {
			t.Errorf("ParsePattern(%.60q): %v", text, err)
		}
	}
	for expr, want := range map[string]string{
		"":         "is empty",
		"(":        "is not valid",
		long(5000): "at most 4096",
	} {
		if _, err := RegexPattern(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("RegexPattern(%.60q): %v; want %s", expr, err, want)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func segmentsOf(n int) string { return strings.Repeat("/s", n) }

func params(n int) string {
	text := ""
	for i := range n {
		text += "/{p" + string(rune('a'+i)) + "}"
	}
	return text
}

func TestPatternNames(t *testing.T) {
	t.Parallel()
	if got := mustPattern("/{a}/b/{c}/{d...}").Names(); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("got %q", got)
	}
	if got := mustPattern("/a/**").Names(); got != nil {
		t.Errorf("got %q", got)
	}
}

// FuzzParsePattern: what is accepted is in its normal form, and matches itself
// where it has no parameters.
func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"/a/{b}/**", "/{a}/{rest...}", "/%7e", "/a//b", "/{", "/a;b=.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		if p.String() != text || len(p.Names()) > message.MaxParams {
			t.Fatalf("%q became %q with %q", text, p.String(), p.Names())
		}
		table, _, err := Build([]Rule{{Paths: []Pattern{p}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		path := strings.NewReplacer("{", "", "}", "", "...", "x", "**", "y").Replace(text)
		_, want := twinPath(p, path)
		if _, got := table.Match(&message.Request{Path: path}, "", nil); got != want {
			t.Fatalf("%q on %q: %v; the twin says %v", text, path, got, want)
		}
	})
}
