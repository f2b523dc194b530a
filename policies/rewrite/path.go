package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

// MaxPath is how long a path may become, in bytes: as long as the longest request
// line that servers commonly take (RFC 9110 §4.1 recommends 8000).
const MaxPath = 8000

// pathRule is how a path changes: in exactly one of three ways.
type pathRule struct {
	whole   *template.Template
	regex   *regexp.Regexp
	replace string
	strip   string
	add     *template.Template
	needed  []*template.Template // values that may not be empty
}

// refusals is PathRefused with the detail for each fault.
var refusals = func() (problems [faults]*message.Problem) {
	for f := range faults {
		problems[f] = PathRefused.WithDetail(f.String())
	}
	return problems
}()

// compilePath returns nil where nothing changes the path.
func compilePath(c *Config) (*pathRule, error) {
	prefix := c.StripPrefix != "" || c.AddPrefix != ""
	if ways := count(c.Path != "", c.Regex != nil, prefix); ways == 0 {
		return nil, nil
	} else if ways > 1 {
		return nil, errors.New("only one of path, regex, and strip_prefix with add_prefix can say what the path becomes: remove the others")
	}
	r := &pathRule{}
	var err error
	switch {
	case c.Path != "":
		r.whole, err = r.compile("path", c.Path)
	case c.Regex != nil:
		r.regex, r.replace = c.Regex.Match.Regexp, c.Regex.Replace
		err = checkReplace(r.regex, r.replace)
	default:
		err = r.compilePrefixes(c)
	}
	return r, err
}

func (r *pathRule) compilePrefixes(c *Config) error {
	var errs []error
	if c.StripPrefix != "" {
		r.strip = strings.TrimSuffix(c.StripPrefix, "/")
		if r.strip == "" {
			errs = append(errs, unit.Problem("strip_prefix", `"/" alone would strip nothing: write whole segments, such as /api`))
		} else if f := faultOf(r.strip); f != fine {
			errs = append(errs, unit.Problem("strip_prefix", fmt.Sprintf("%q would never match: %s", c.StripPrefix, f)))
		}
	}
	if c.AddPrefix != "" {
		add, err := r.compile("add_prefix", strings.TrimSuffix(c.AddPrefix, "/"))
		r.add = add
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// compile reads a template that stands for a path.
func (r *pathRule) compile(key, text string) (*template.Template, error) {
	if text == "" {
		return nil, unit.Problem(key, `"/" alone would add nothing: write whole segments, such as /v2`)
	}
	t, err := template.Parse(text, template.Use{Escape: template.Path})
	if err != nil {
		return nil, unit.At(key, err)
	}
	shape := t.Shape()
	if strings.ContainsAny(shape, "?#") {
		return nil, unit.Problem(key, "a path has no query: set it under query.set; write ? and # as %3F and %23")
	}
	if f := faultOf(shape); f != fine {
		return nil, unit.Problem(key, fmt.Sprintf("%q cannot be forwarded: %s", text, f))
	}
	for _, name := range t.Variables() {
		if name == "request.path" || strings.HasPrefix(name, "path.") {
			continue
		}
		// An empty value would let the client's next segment slip into its place.
		needed, err := template.Parse("{"+name+"}", template.Use{})
		if err != nil {
			return nil, unit.At(key, err)
		}
		r.needed = append(r.needed, needed)
	}
	return t, nil
}

// checkReplace finds groups that the expression does not have: package regexp
// would take them for empty.
func checkReplace(match *regexp.Regexp, replace string) error {
	rest := replace
	for {
		_, after, ok := strings.Cut(rest, "$")
		if !ok {
			return nil
		}
		if strings.HasPrefix(after, "$") {
			rest = after[1:]
			continue
		}
		name := groupName(after)
		if name == "" {
			return unit.Problem("regex.replace", fmt.Sprintf("%q: $ needs a group behind it, $1 or ${name}; write $$ for a dollar sign", replace))
		}
		if !hasGroup(match, name) {
			return unit.Problem("regex.replace", fmt.Sprintf("the expression has no group %q: write ${1}x where letters follow a number", name))
		}
		rest = after
	}
}

// groupName reads a name as regexp.Expand does: the longest run of letters, digits and underscores.
func groupName(s string) string {
	if inside, ok := strings.CutPrefix(s, "{"); ok {
		name, _, closed := strings.Cut(inside, "}")
		if !closed {
			return ""
		}
		return name
	}
	end := strings.IndexFunc(s, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
	if end < 0 {
		return s
	}
	return s[:end]
}

func hasGroup(match *regexp.Regexp, name string) bool {
	number := 0
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return match.SubexpIndex(name) >= 0
		}
		number = min(number*10+int(name[i]-'0'), 1<<20)
	}
	return name != "" && number <= match.NumSubexp()
}

// rewrite returns the new path, or why there is none.
func (r *pathRule) rewrite(x *message.Exchange) (string, *message.Problem) {
	old := x.Request.Path
	if old == "*" {
		// OPTIONS * has no path (RFC 9112 §3.2.4).
		return old, nil
	}
	for _, n := range r.needed {
		if n.String(x) == "" {
			return "", refusals[emptyValue]
		}
	}
	path := r.change(x, old)
	if path == old {
		return old, nil
	}
	f := faultOf(path)
	switch {
	case f == fine:
	case f == encodedSlash && hasEncodedSlash(old):
		// The listener lets them through (encoded_slash: keep).
	default:
		return "", refusals[f]
	}
	return path, nil
}

func (r *pathRule) change(x *message.Exchange, old string) string {
	switch {
	case r.whole != nil:
		return r.whole.String(x)
	case r.regex != nil:
		if !r.regex.MatchString(old) {
			return old
		}
		return r.regex.ReplaceAllString(old, r.replace)
	}
	rest := old
	if r.strip != "" && strings.HasPrefix(old, r.strip) {
		switch after := old[len(r.strip):]; {
		case after == "":
			rest = "/"
		case after[0] == '/':
			rest = after
		}
	}
	if r.add == nil {
		return rest
	}
	prefix := r.add.String(x)
	if rest == "/" && old != "/" {
		// /api became nothing: the prefix alone is the path, without a slash that nobody wrote.
		if !strings.HasSuffix(old, "/") {
			return prefix
		}
	}
	return prefix + rest
}

func count(claims ...bool) int {
	n := 0
	for _, claim := range claims {
		if claim {
			n++
		}
	}
	return n
}
