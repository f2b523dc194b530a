package policytest

import (
	"embed"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

type stampConfig struct {
	Text   string `yaml:"text" default:"stamped" doc:"What is written."`
	Refuse bool   `yaml:"refuse" doc:"Refuse everything."`
	Fault  bool   `yaml:"fault" doc:"Decide nothing."`
	Abort  bool   `yaml:"abort" doc:"Close the connection."`
}

var refused = &message.Problem{Status: 403, Code: "stamp_refused", Title: "No stamp", Source: message.SourcePolicy}

// stamp is a policy that does a little of everything.
func stamp(name string, stage policy.Stage) policy.Kind {
	return policy.Define(name, stage, embed.FS{}, func(c *stampConfig, env *policy.Env) (policy.Hooks, error) {
		env.Vouch("X-Vouched")
		seen := env.Metrics.Counter("sluice_stamp_total", "Requests.")
		return policy.Hooks{
			OnRequest: func(x *message.Exchange) message.Verdict {
				seen.Add(x.Shard, 1)
				switch {
				case c.Abort:
					return message.Abort
				case c.Refuse:
					return x.Deny(refused)
				case c.Fault:
					return x.Fault(errors.New("no ink"))
				}
				x.Request.Header.Append("X-Stamp", name+" "+c.Text)
				return message.Next
			},
			OnResponse: func(x *message.Exchange) message.Verdict {
				x.Response.Header.Append("X-Stamp", name+" "+c.Text)
				return message.Next
			},
		}, nil
	}, policy.Problems(refused))
}

func play(t *testing.T, policies, calls string) error {
	t.Helper()
	archive := "-- config.yaml --\nconsumers: [{ name: acme, groups: [gold] }]\npolicies:\n" + policies + "-- calls --\n" + calls
	return playArchive(archive, []policy.Kind{stamp("late", policy.Transform), stamp("early", policy.Edge)})
}

func TestPlay(t *testing.T) {
	t.Parallel()
	err := play(t, "  - late: { text: b }\n  - early: { text: a }\n", `
# Stages decide the order; answers go through in reverse.
> POST https://shop.example.com/a/b?c=d
> x-thing: one
> x-thing: two
> X_Vouched: forged
> {id}: 42
> body first
> body*2 again
~ 201
~ x-origin: yes
~ body made
~ body*2 up
< 201
< x-origin: yes
< x-origin ~ ^y
< !x-other
< x-stamp: early a
< body made
< body up
< body up
< body ~ (?s)^made.*up$
= POST /a/b?c=d
= path /a/b
= query c=d
= method POST
= host shop.example.com
= x-thing: two
= x-stamp: early a
= x-stamp: late b
= !x_vouched
= body first
= body again
= body again

> GET /
~ !body
< 200
< !body
= !body

> GET /
~ problem upstream_response_timeout
< 504
< code upstream_response_timeout
< x-stamp: late b

+ 30s
@ 2001:db8::1 as acme
* reload
> GET /
< 200
< body hello
`)
	if err != nil {
		t.Error(err)
	}
}

// TestPlayHolds has two calls go on while a third comes and goes.
func TestPlayHolds(t *testing.T) {
	t.Parallel()
	err := play(t, "  - early: { text: x }\n", `
> GET /first
~ hold
~ 201
< 201
= path /first
> GET /second
~ hold
~ problem upstream_closed
< 502
> GET /third
~ 202
< 202
* release
> GET /fourth
< 200
`)
	if err != nil {
		t.Error(err)
	}
}

func TestPlayRefusals(t *testing.T) {
	t.Parallel()
	for policies, calls := range map[string]string{
		"  - early: { refuse: true }\n":                      "> GET /\n< 403\n< code stamp_refused\n< content-type: application/problem+json\n= nothing\n",
		"  - early: { abort: true }\n":                       "> GET /\n< closed\n= nothing\n",
		"  - early: { fault: true }\n":                       "> GET /\n< 503\n< code policy_fault\n= nothing\n",
		"  - early: { fault: true }\n    on_fault: allow\n":  "> GET /\n< 200\n",
		"  - early: { fault: true }\n    on_fault: deny\n":   "> GET /\n< 503\n",
		"  - early: { text: x }\n  - early: { text: y }\n":   "> GET /\n< 200\n= x-stamp: early x\n= x-stamp: early y\n",
		"  - early: { text: \"\" }\n  - late: { text: z }\n": "> HEAD /\n< 200\n< !body\n",
	} {
		if err := play(t, policies, calls); err != nil {
			t.Errorf("%s%v", policies, err)
		}
	}
}

// TestPlayNotices is the other half: an expectation that is not met is an error
// with its line.
func TestPlayNotices(t *testing.T) {
	t.Parallel()
	for expectation, want := range map[string]string{
		"< 201":                  "the status is 200, not 201",
		"< closed":               "the status is 200",
		"< 200\n< x-stamp: z":    `x-stamp is ["early stamped"], expected "z"`,
		"< 200\n< !x-stamp":      "x-stamp is there",
		"< 200\n< x-no: z":       "x-no is []",
		"< 200\n< x-stamp ~ ^z$": "none matches",
		"< 200\n< body bye":      `the body is "hello", expected "bye"`,
		"< 200\n< !body":         "expected none",
		"< 200\n< body ~ ^bye":   "does not match",
		"< 200\n< code x":        "there was no problem",
		"< 200\n= nothing":       "the origin was asked GET /a?b",
		"< 200\n= GET /other":    "the origin's target",
		"< 200\n= POST /a?b":     "the origin's method",
		"< 200\n= path /b":       "the origin's path",
		"< 200\n= query c":       "the origin's query",
		"< 200\n= host x":        "the origin's host",
		"< 200\n= body x":        "the origin's body",
		"< 200\n= !x-stamp":      "x-stamp is there",
		"~ content-encoding: gzip\n< 200\n< body hello":      "undoing the content coding",
		"< 200\n* reload missing.yaml":                       "no file missing.yaml",
		"~ hold\n~ body bye\n< 200\n< body hello\n* release": `the body is "bye"`,
	} {
		err := play(t, "  - early: {}\n", "> GET /a?b\n"+expectation+"\n")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: the error is %v, expected %q", expectation, err, want)
		}
	}
}

func TestBadScenarios(t *testing.T) {
	t.Parallel()
	for calls, want := range map[string]string{
		"":                         "there is no call",
		"# nothing\n":              "there is no call",
		"> GET /\n":                "expects no status",
		"> GET /\n= nothing\n":     "expects no status",
		"< 200\n":                  "there is none above it",
		"> x: y\n":                 "there is none above it",
		"+ 1s\n= nothing\n":        "there is none above it",
		"> GET /\n< 200\n< 201\n":  "one status",
		"> GET /\n< 99\n":          "one status",
		"> GET /\n< hello\n":       "expected name: value",
		"> GET /\n< a b: c\n":      "is no name of a field",
		"> GET /\n< a ~ (\n":       "missing closing",
		"> GET /\nhello\n":         "a sign, a space",
		"> GET /\n? x\n":           "begins with one of",
		"> GET /\n> no field\n":    "expected METHOD /path",
		"> GET /\n~ no field\n":    "expected a status",
		"> GET /\n~ problem x\n":   `no code "x"`,
		"> GET /\n> body*0 x\n":    "from 1 to",
		"> GET /\n~ body*x x\n":    "from 1 to",
		"+ soon\n":                 "a time such as 30s",
		"+ -1s\n":                  "a time such as 30s",
		"@ nowhere\n":              "nowhere",
		"* restart\n":              "expected reload",
		"> GET /\n~ hold\n< 200\n": "never let go",
		"> GET /\n~ hold\n< 200\n* reload\n* release\n": `"* release" before`,
		"> GET /\n< 200\n@ 1.2.3.4\n> GET /\n":          "expects no status",
	} {
		err := play(t, "  - early: {}\n", calls)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, expected %q", calls, err, want)
		}
	}
}

func TestBadArchives(t *testing.T) {
	t.Parallel()
	kinds := []policy.Kind{stamp("early", policy.Edge)}
	for archive, want := range map[string]string{
		"":                          "config.yaml and calls",
		"-- calls --\n> GET /\n":    "config.yaml and calls",
		"-- config.yaml --\na: b\n": "config.yaml and calls",
		"-- config.yaml --\npolices: []\n-- calls --\n> GET /\n< 200\n":                                `"policies"`,
		"-- config.yaml --\npolicies: [{ other: {} }]\n-- calls --\n> GET /\n< 200\n":                  `no kind "other"`,
		"-- config.yaml --\npolicies: [{ on_fault: deny }]\n-- calls --\n> GET /\n< 200\n":             "names no kind",
		"-- config.yaml --\npolicies: [{ early: {}, on_fault: maybe }]\n-- calls --\n> GET /\n< 200\n": "allow or deny",
		"-- config.yaml --\npolicies: [{ early: {}, other: {} }]\n-- calls --\n> GET /\n< 200\n":       "stand in one item",
		"-- config.yaml --\npolicies: [{ early: { textt: x } }]\n-- calls --\n> GET /\n< 200\n":        "config.yaml:1:",
	} {
		err := playArchive(archive, kinds)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, expected %q", archive, err, want)
		}
	}
}

const readme = "# early\n\n## Name\n\n## When to use it\n\n```yaml\nnot: an example\n```\n\n## Examples\n\n" +
	"```yaml\na: 1\n```\n\nwords\n\n```text\n> GET /\n```\n\n### More\n\n```yaml\nb: 2\n```\n\n```sh\n# no heading\n```\n\n```yaml\nc: 3\n```\n\n" +
	"## Settings\n\n## Problems\n\n## Metrics\n\n`sluice_x`\n\n## Limits\n"

func TestReadme(t *testing.T) {
	t.Parallel()
	if err := checkSections(readme, "early"); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		strings.Replace(readme, "# early", "# late", 1):               "# early",
		strings.Replace(readme, "## Metrics\n", "", 1):                "## Metrics",
		strings.Replace(readme, "## Limits\n", "", 1):                 "## Limits",
		strings.Replace(readme, "## Name\n", "", 1) + "\n\n## Name\n": "## When to use it",
	} {
		if err := checkSections(text, "early"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, expected %q", err, want)
		}
	}
	if text := sectionOf(readme, "Metrics"); !strings.Contains(text, "`sluice_x`") || strings.Contains(text, "Limits") {
		t.Errorf("the section is %q", text)
	}
	list := examples(readme)
	if len(list) != 3 || list[0].config != "a: 1\n" || list[0].calls != "> GET /\n" || list[1].config != "b: 2\n" || list[1].calls != "" || list[2].config != "c: 3\n" {
		t.Fatalf("%+v", list)
	}
	lines := strings.Split(readme, "\n")
	if lines[list[0].line-1] != "a: 1" || lines[list[0].callsLine-1] != "> GET /" {
		t.Errorf("%+v: the lines are wrong", list[0])
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	kind := stamp("early", policy.Edge)
	page := PageOf(&kind)
	have := "a\n<!-- settings -->\nold\n<!-- /settings -->\nb\n<!-- problems -->\n<!-- /problems -->\nc\n"
	got, err := page.Readme([]byte(have))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a\n<!-- settings -->\n|", "| `text` |", "<!-- /settings -->\nb\n", "| `stamp_refused` | 403 | No stamp | policy | no |", "<!-- /problems -->\nc\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if again, err := page.Readme(got); err != nil || string(again) != string(got) {
		t.Errorf("writing it twice changes it: %v", err)
	}
	if _, err := page.Readme([]byte("no markers")); err == nil {
		t.Error("a README without markers was accepted")
	}
}

func TestOddRequestsFindPanicsAndBadFields(t *testing.T) {
	t.Parallel()
	broken := policy.Define("broken", policy.Edge, embed.FS{}, func(*stampConfig, *policy.Env) (policy.Hooks, error) {
		return policy.Hooks{OnRequest: func(x *message.Exchange) message.Verdict {
			x.Request.Header.Append("X-Copy", x.Request.Path+"\r\nX-Split: yes")
			_ = x.Client.AddressText[0] // Panics where the address is not known.
			return message.Next
		}}, nil
	})
	g := New(t, "policies: [{ broken: {} }]", broken)
	panics, splits := 0, 0
	for _, a := range oddAnswers(g) {
		if a.err != nil && strings.Contains(a.err.Error(), "panic: ") {
			panics++
		}
		if a.err != nil && strings.Contains(a.err.Error(), "may not be sent") {
			splits++
		}
	}
	if panics == 0 || splits == 0 {
		t.Errorf("%d panics and %d split messages were found", panics, splits)
	}
}

func TestMetricsAreRead(t *testing.T) {
	t.Parallel()
	g := New(t, "policies: [{ early: {} }]", stamp("early", policy.Edge))
	g.Serve(g.Exchange("GET", "/"))
	if n := g.Metrics.Value("sluice_stamp_total"); n != 1 {
		t.Errorf("%d", n)
	}
	if n := g.Metrics.Value("sluice_other_total"); n != -1 {
		t.Errorf("%d", n)
	}
	if names := g.Metrics.Names(); len(names) != 1 || names[0] != "sluice_stamp_total" {
		t.Errorf("%q", names)
	}
}

func FuzzParseCalls(f *testing.F) {
	f.Add("> GET /\n> a: b\n> body x\n~ 200\n< 200\n< a ~ b\n= nothing\n+ 1s\n@ ::1 as x\n* reload\n")
	f.Fuzz(func(t *testing.T, calls string) {
		steps, err := parseCalls(calls, 1)
		if err == nil && len(steps) == 0 {
			t.Error("no steps and no error")
		}
	})
}
