package policytest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// Play plays the scenarios whose files match a pattern, such as
// "testdata/*.txtar". It fails where there is none. A scenario that uses a kind that
// is not among kinds is left to the test of package policies.
func Play(t *testing.T, pattern string, kinds ...policy.Kind) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Errorf("no scenario matches %s", pattern)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			report(t, file, playArchive(string(archive), kinds))
		})
	}
}

// report fails the test unless all that is wrong is that another kind is needed.
func report(t *testing.T, where string, err error) {
	t.Helper()
	var unknown *UnknownKindError
	if errors.As(err, &unknown) {
		t.Logf("%s: uses %s: left to the test of package policies", where, unknown.Kind)
		return
	}
	if err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

func playArchive(archive string, kinds []policy.Kind) error {
	files, calls := map[string]string{}, section{}
	for _, s := range sections(archive) {
		if s.name == "calls" {
			calls = s
			continue
		}
		files[s.name] = s.text
	}
	if _, ok := files["config.yaml"]; !ok || calls.name == "" {
		return errors.New("a scenario has the files config.yaml and calls")
	}
	return playCalls(files, calls.text, calls.line, kinds)
}

// playCalls builds the policies, makes all calls and closes the policies. It goes on
// after a call that went wrong, and says everything that did.
func playCalls(files map[string]string, calls string, first int, kinds []policy.Kind) error {
	steps, err := parseCalls(calls, first)
	if err != nil {
		return err
	}
	g := Idle(kinds...)
	if err := g.Reload("config.yaml", files["config.yaml"]); err != nil {
		return err
	}
	var errs []error
	var holding []*held
	as := ""
	for _, s := range steps {
		switch {
		case s.call != nil && s.call.origin.hold:
			holding = append(holding, g.hold(s.call, g.made(s.call, as)))
		case s.call != nil:
			errs = append(errs, g.play(s.call, as))
		case s.release:
			for _, h := range holding {
				errs = append(errs, h.end())
			}
			holding = nil
		case s.advance > 0:
			g.Advance(s.advance)
		case s.reload != "":
			text, ok := files[s.reload]
			if !ok {
				errs = append(errs, fmt.Errorf("line %d: the scenario has no file %s", s.line, s.reload))
			} else if err := g.Reload(s.reload, text); err != nil {
				errs = append(errs, fmt.Errorf("line %d: %w", s.line, err))
			}
		default:
			g.Client, as = s.client, s.as
		}
	}
	errs = append(errs, g.Close())
	if n := g.Keeper.Len(); n != 0 {
		errs = append(errs, fmt.Errorf("%d things are still kept after Close", n))
	}
	return errors.Join(errs...)
}

// play makes one call and compares.
func (g *Gateway) play(c *call, as string) error {
	x := g.made(c, as)
	g.Origin = c.origin.serve
	return c.check(g.Serve(x))
}

// made is the request of a call.
func (g *Gateway) made(c *call, as string) *message.Exchange {
	x := g.Exchange(c.method, c.target, c.fields...)
	for _, p := range c.params {
		x.Facts.Params.Add(p.Name, p.Value)
	}
	if as != "" {
		x.Facts.Consumer = g.Consumer(as)
	}
	if c.body.given {
		x.Request.Body = message.NewBytes([]byte(c.body.String()))
	}
	return x
}

func (o *origin) serve(x *message.Exchange) error {
	if o.problem != "" {
		return problemOf(o.problem)
	}
	x.Response.Status = 200
	if o.status != 0 {
		x.Response.Status = o.status
	}
	for i := 0; i < len(o.fields); i += 2 {
		x.Response.Header.Append(o.fields[i], o.fields[i+1])
	}
	if !x.Response.Header.Has("content-type") && !o.noBody {
		x.Response.Header.Append("Content-Type", "text/plain")
	}
	if o.noBody || !message.BodyAllowed(x.Request.Method, x.Response.Status) {
		return nil
	}
	body := "hello"
	if o.body.given {
		body = o.body.String()
	}
	x.Response.SetBody([]byte(body))
	return nil
}

// check compares an answer with what was expected.
func (c *call) check(a *Answer) error {
	var errs []error
	wrong := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("line %d: "+format, append([]any{line}, args...)...))
	}
	if c.closed != (a.Status == 0) || !c.closed && c.status != a.Status {
		wrong(c.line, "%s %s: the status is %d, not %d%s", c.method, c.target, a.Status, c.status, why(a))
	}
	if a.BodyError != nil {
		wrong(c.line, "the answer's body broke off: %v", a.BodyError)
	}
	if c.nothing && a.Asked != nil {
		wrong(c.line, "the origin was asked %s %s", a.Asked.Method, a.Asked.Target)
	}
	for _, e := range c.expects {
		if e.where == "origin" && a.Asked == nil {
			wrong(e.line, "the origin was not asked%s", why(a))
			break
		}
		if err := e.check(a); err != nil {
			wrong(e.line, "%w", err)
		}
	}
	return errors.Join(errs...)
}

// why adds to a wrong status what is known of its reason.
func why(a *Answer) string {
	if len(a.Faults) > 0 {
		return fmt.Sprintf(" (%v)", a.Faults[0])
	}
	if a.Problem != nil {
		return fmt.Sprintf(" (%v)", a.Problem)
	}
	return ""
}

func (e *expect) check(a *Answer) error {
	switch e.what {
	case "field":
		if e.where == "origin" {
			return e.checkField(&a.Asked.Header)
		}
		return e.checkField(&a.Header)
	case "body":
		if e.where == "origin" {
			return e.checkText("the origin's body", a.Asked.Body)
		}
		plain, err := decoded(a)
		if err != nil {
			return err
		}
		return e.checkText("the body", plain)
	case "code":
		if a.Problem == nil {
			return fmt.Errorf("there was no problem, expected %s", e.value)
		}
		return e.checkText("the code", a.Problem.Code)
	case "method":
		return e.checkText("the origin's method", a.Asked.Method)
	case "path":
		return e.checkText("the origin's path", a.Asked.Path)
	case "query":
		return e.checkText("the origin's query", a.Asked.Query)
	case "host":
		return e.checkText("the origin's host", a.Asked.Authority)
	}
	return e.checkText("the origin's target", a.Asked.Target)
}

func (e *expect) checkText(what, got string) error {
	switch {
	case e.absent && got != "":
		return fmt.Errorf("%s is %q, expected none", what, clip(got))
	case e.pattern != nil && !e.pattern.MatchString(got):
		return fmt.Errorf("%s is %q, which does not match %s", what, clip(got), e.pattern)
	case e.pattern == nil && !e.absent && got != e.value:
		return fmt.Errorf("%s is %q, expected %q", what, clip(got), clip(e.value))
	}
	return nil
}

func (e *expect) checkField(h *message.Header) error {
	values := h.Values(nil, e.name)
	if e.absent {
		if len(values) > 0 {
			return fmt.Errorf("%s is there: %q", e.name, values)
		}
		return nil
	}
	for _, v := range values {
		if e.pattern == nil && v == e.value || e.pattern != nil && e.pattern.MatchString(v) {
			return nil
		}
	}
	if e.pattern != nil {
		return fmt.Errorf("%s is %q, none matches %s", e.name, values, e.pattern)
	}
	return fmt.Errorf("%s is %q, expected %q", e.name, values, e.value)
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// decoded is the body of an answer with gzip and deflate undone.
func decoded(a *Answer) (string, error) {
	var r io.Reader
	var err error
	switch a.Header.Get("content-encoding") {
	case "gzip":
		r, err = gzip.NewReader(strings.NewReader(a.Body))
	case "deflate":
		r, err = zlib.NewReader(strings.NewReader(a.Body))
	default:
		return a.Body, nil
	}
	var plain bytes.Buffer
	if err == nil {
		_, err = io.Copy(&plain, r)
	}
	if err != nil {
		return "", fmt.Errorf("undoing the content coding: %w", err)
	}
	return plain.String(), nil
}
