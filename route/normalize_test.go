package route

import (
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	keep, merge := NormalizeOptions{KeepEncodedSlash: true}, NormalizeOptions{MergeSlashes: true}
	for _, c := range []struct {
		rule     string // where it comes from
		opts     NormalizeOptions
		in, want string
	}{
		{"RFC 3986 §6.2.2.1: escapes are upper-cased", NormalizeOptions{}, "/a%3ab%c3%A9", "/a%3Ab%C3%A9"},
		{"RFC 3986 §6.2.2.2: unreserved characters are decoded", NormalizeOptions{}, "/%7Eann/%41%2d%5F%30", "/~ann/A-_0"},
		{"RFC 3986 §2.2: reserved characters stay encoded", NormalizeOptions{}, "/a%3Bb%3Fc%23d%25e", "/a%3Bb%3Fc%23d%25e"},
		{"RFC 3986 §2.4: nothing is decoded twice", NormalizeOptions{}, "/%2541/%252e%252e/%252F", "/%2541/%252e%252e/%252F"},
		{"RFC 3986 §5.2.4", NormalizeOptions{}, "/a/b/c/./../../g", "/a/g"},
		{"RFC 3986 §5.4.2: no way out of the root", NormalizeOptions{}, "/../../../g", "/g"},
		{"RFC 3986 §5.4.2: no way out of the root", NormalizeOptions{}, "/..", "/"},
		{"RFC 3986 §5.4.1: dots at the end leave a slash", NormalizeOptions{}, "/a/b/..", "/a/"},
		{"RFC 3986 §5.4.1: dots at the end leave a slash", NormalizeOptions{}, "/a/.", "/a/"},
		{"RFC 3986 §5.4.2: dots inside a name are text", NormalizeOptions{}, "/g./.g/g../..g/.../a..b", "/g./.g/g../..g/.../a..b"},
		{"RFC 3986 §6.2.2.3: encoded dots count as dots", NormalizeOptions{}, "/a/%2e%2E/b/%2e/.%2e/c", "/c"},
		{"RFC 3986 §3.3: empty segments are segments", NormalizeOptions{}, "//a//b//", "//a//b//"},
		{"RFC 3986 §5.2.4: '..' takes an empty segment away", NormalizeOptions{}, "/a//../b", "/a/b"},
		{"RFC 3986 §3.3: parameters are text", NormalizeOptions{}, "/a;v=1.1/b;/;c/a..;b", "/a;v=1.1/b;/;c/a..;b"},
		{"RFC 3986 §3.3: sub-delimiters, ':' and '@' are text", NormalizeOptions{}, "/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b"},
		{"the root", NormalizeOptions{}, "/", "/"},
		{"keep: an encoded slash stays, in upper case", keep, "/a%2fb/c%2Fd", "/a%2Fb/c%2Fd"},
		{"keep: it separates nothing", keep, "/a/b%2Fc/../d", "/a/d"},
		{"merge: empty segments go", merge, "//a///b", "/a/b"},
		{"merge: the slash at the end stays", merge, "/a//", "/a/"},
		{"merge: only slashes", merge, "////", "/"},
		{"merge: before the dots", merge, "/a//../b", "/b"},
		{"merge: dots between slashes", merge, "/a/.//./b", "/a/b"},
		{"merge: dots at the end", merge, "/a/b//..", "/a/"},
	} {
		got, err := Normalize(c.in, c.opts)
		if err != nil || got != c.want {
			t.Errorf("%s: Normalize(%q, %+v) = %q, %v; want %q", c.rule, c.in, c.opts, got, err, c.want)
		}
	}
}

func TestNormalizeRefuses(t *testing.T) {
	t.Parallel()
	keep := NormalizeOptions{KeepEncodedSlash: true}
	for _, c := range []struct {
		opts NormalizeOptions
		in   string
		want PathError
	}{
		{NormalizeOptions{}, "", PathNotAbsolute},
		{NormalizeOptions{}, "a/b", PathNotAbsolute},
		{NormalizeOptions{}, "*", PathNotAbsolute},
		{NormalizeOptions{}, "/a\x00", PathControl},
		{NormalizeOptions{}, "/a\tb", PathControl},
		{NormalizeOptions{}, "/./a\x7f", PathControl},
		{NormalizeOptions{}, "/a b", PathSpace},
		{NormalizeOptions{}, "/%41 b", PathSpace},
		{NormalizeOptions{}, "/é", PathNotASCII},
		{NormalizeOptions{}, "/\xff", PathNotASCII},
		{NormalizeOptions{}, "/a#b", PathDelimiter},
		{NormalizeOptions{}, "/a?b", PathDelimiter},
		{NormalizeOptions{}, "/%", PathBadEscape},
		{NormalizeOptions{}, "/%4", PathBadEscape},
		{NormalizeOptions{}, "/%4g", PathBadEscape},
		{NormalizeOptions{}, "/%G4/a", PathBadEscape},
		{NormalizeOptions{}, "/%%34%31", PathBadEscape},
		{NormalizeOptions{}, "/%u002e", PathBadEscape},
		{NormalizeOptions{}, "/a%00b", PathNUL},
		{keep, "/a%00b", PathNUL},
		{NormalizeOptions{}, "/a%2fb", PathEncodedSlash},
		{NormalizeOptions{}, "/..%2F", PathEncodedSlash},
		{NormalizeOptions{}, `/a\b`, PathBackslash},
		{NormalizeOptions{}, "/a%5cb", PathBackslash},
		{keep, `/a\b`, PathBackslash},
		{keep, "/a%5Cb", PathBackslash},
		{NormalizeOptions{}, "/a/..;/b", PathHiddenDots},
		{NormalizeOptions{}, "/a/..;x=1/b", PathHiddenDots},
		{NormalizeOptions{}, "/.;", PathHiddenDots},
		{NormalizeOptions{}, "/a/%2e%2e;/b", PathHiddenDots},
		{keep, "/a/..%2Fb", PathHiddenDots},
		{keep, "/a/b%2f%2e%2e", PathHiddenDots},
		{keep, "/a%2F..;x%2Fb", PathHiddenDots},
		{keep, "/a%2F.%2Fb", PathHiddenDots},
	} {
		got, err := Normalize(c.in, c.opts)
		if err != c.want || got != "" {
			t.Errorf("Normalize(%q, %+v) = %q, %v; want %v", c.in, c.opts, got, err, c.want)
		}
	}
}

func TestPathErrorsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{PathError(0).Error(): true}
	for e := PathNotAbsolute; e <= PathHiddenDots; e++ {
		if seen[e.Error()] {
			t.Errorf("error %d says what another one says: %q", e, e.Error())
		}
		seen[e.Error()] = true
	}
}

func TestNormalizeAllocates(t *testing.T) {
	for path, want := range map[string]float64{
		"/":                           0,
		"/v1/users/7f3a/orders.json":  0,
		"/v1/users/a%20b/.well-known": 0,
		"/a/../b":                     1,
		"/a%2Fb":                      0, // refused
	} {
		got := testing.AllocsPerRun(100, func() { _, _ = Normalize(path, NormalizeOptions{}) })
		if got != want {
			t.Errorf("Normalize(%q) allocates %v times; want %v", path, got, want)
		}
	}
	got := testing.AllocsPerRun(100, func() { _, _ = Normalize("/a%2Fb", NormalizeOptions{KeepEncodedSlash: true}) })
	if got != 0 {
		t.Errorf("an encoded slash that is kept costs %v allocations", got)
	}
}

// twinNormalize is the rule in the order in which one would say it: refuse, decode,
// upper-case, merge, resolve.
func twinNormalize(path string, opts NormalizeOptions) (string, bool) {
	if !strings.HasPrefix(path, "/") {
		return "", false
	}
	var decoded strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`\#?`, c) >= 0 {
			return "", false
		}
		if c != '%' {
			decoded.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		digits := strings.ToUpper(path[i+1 : min(i+3, len(path))])
		if len(digits) != 2 || strings.IndexByte(hex, digits[0]) < 0 || strings.IndexByte(hex, digits[1]) < 0 {
			return "", false
		}
		v := byte(strings.IndexByte(hex, digits[0])<<4 | strings.IndexByte(hex, digits[1]))
		i += 2
		switch {
		case v == 0 || v == '\\' || v == '/' && !opts.KeepEncodedSlash:
			return "", false
		case v != '/' && strings.IndexByte("-._~", v) >= 0 || 'a' <= v && v <= 'z' || 'A' <= v && v <= 'Z' || '0' <= v && v <= '9':
			decoded.WriteByte(v)
		default:
			decoded.WriteString("%" + digits)
		}
	}
	segments := strings.Split(decoded.String()[1:], "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "." || s == "..":
			if s == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
			continue
		case s == "" && opts.MergeSlashes && !last:
			continue
		}
		for _, part := range strings.Split(s, "%2F") {
			if name, _, _ := strings.Cut(part, ";"); name == "." || name == ".." {
				return "", false
			}
		}
		out = append(out, s)
	}
	return "/" + strings.Join(out, "/"), true
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%7e/%2E%2e/c", "//a//..//b", "/a%2fb/..%2f", "/..;/a", "/%00", "/a\\b", "/%", "/.%2e/;./"} {
		f.Add(s, true, false)
		f.Add(s, false, true)
	}
	f.Fuzz(func(t *testing.T, path string, keep, merge bool) {
		opts := NormalizeOptions{KeepEncodedSlash: keep, MergeSlashes: merge}
		got, err := Normalize(path, opts)
		want, ok := twinNormalize(path, opts)
		if (err == nil) != ok || got != want {
			t.Fatalf("Normalize(%q, %+v) = %q, %v; the twin says %q, %v", path, opts, got, err, want, ok)
		}
		if err != nil {
			return
		}
		if again, err := Normalize(got, opts); err != nil || again != got {
			t.Fatalf("Normalize(%q) = %q, and of that %q, %v", path, got, again, err)
		}
		for _, s := range strings.Split(got[1:], "/") {
			if s == "." || s == ".." {
				t.Fatalf("Normalize(%q) = %q has a dot segment", path, got)
			}
		}
	})
}
