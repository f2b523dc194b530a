package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/unit"
)

// settings has every kind of field.
type settings struct {
	Name     string            `required:"true" min:"2" max:"8" doc:"Who."`
	Per      unit.Duration     `default:"10s" min:"1ms" max:"1h"`
	Size     unit.Size         `yaml:"max_size" default:"1MiB"`
	Share    *unit.Share       ``
	Count    int               `default:"3" min:"1" max:"10"`
	Small    uint8             ``
	Rate     float64           ``
	On       bool              `default:"true"`
	Mode     string            `enum:"deny,allow" default:"deny"`
	Path     string            `pattern:"^/" form:"an absolute path"`
	Methods  unit.List[string] `enum:"GET,POST" default:"[GET]"`
	Words    []string          `max:"2"`
	Set      unit.Map[string]  ``
	Windows  []window          ``
	Key      unit.Secret       ``
	Body     unit.Any          ``
	Rest     Node              ``
	Cond     condition         ``
	Timeouts struct {
		Connect unit.Duration `default:"1s"`
	}
	Short shorter ``
}

type window struct {
	Requests int           `required:"true"`
	Per      unit.Duration `default:"1m"`
}

func (w *window) Validate() error {
	if w.Requests > 100 {
		return unit.At("requests", errors.New("more than anybody needs"))
	}
	return nil
}

// condition is an exact text or {present: bool}.
type condition struct {
	Exact   string
	Present *bool
}

func (*condition) Alternatives() []any {
	return []any{"", struct {
		Present bool `required:"true" doc:"Whether it must be there."`
	}{}}
}

func (c *condition) DecodeSetting(n unit.Node) error {
	if n.Kind() == unit.Mapping {
		form := struct {
			Present *bool `required:"true"`
		}{}
		err := n.Decode(&form)
		c.Present = form.Present
		return err
	}
	return n.Decode(&c.Exact)
}

// shorter is a word or a mapping.
type shorter struct {
	URL    string `required:"true"`
	Weight int    `default:"1"`
}

func (s *shorter) UnmarshalText(text []byte) error {
	if !strings.HasPrefix(string(text), "http") {
		return fmt.Errorf("%q is no address", text)
	}
	s.URL = string(text)
	return nil
}

func decode(t *testing.T, text string, into any) error {
	t.Helper()
	n, err := ParseNode("x.yaml", []byte(text))
	if err != nil {
		return err
	}
	return n.Decode(into)
}

func TestDecodeFillsEveryKind(t *testing.T) {
	t.Setenv("SLUICE_TEST", "from the environment")
	var s settings
	err := decode(t, `
name: abc
per: 30s
max_size: 64KiB
share: 20%
count: 7
small: 255
rate: 0.5
on: false
mode: allow
path: /x
methods: POST
words: [a, b]
set: {x-b: "1", x-a: "${env:SLUICE_TEST}!", x-c: "$${env:X}"}
windows: [{requests: 5}, {requests: 6, per: 1s}]
key: "${env:SLUICE_TEST}"
body: {b: [1, 0x10, 1.50, true, null, ~, "1", 007, <&>], a: {}}
rest: {anything: [goes]}
cond: {present: false}
short: http://a
`, &s)
	if err != nil {
		t.Fatal(err)
	}
	if s.Key.Reveal() != "from the environment" || string(s.Body) != `{"b":[1,16,1.5,true,null,null,"1",7,"<&>"],"a":{}}` {
		t.Errorf("got %q %s", s.Key.Reveal(), s.Body)
	}
	want := unit.Map[string]{{Key: "x-b", Value: "1"}, {Key: "x-a", Value: "from the environment!"}, {Key: "x-c", Value: "${env:X}"}}
	if !reflect.DeepEqual(s.Set, want) {
		t.Errorf("got %v", s.Set)
	}
	if s.Share.Fraction() != 0.2 || s.On || *s.Cond.Present || len(s.Windows) != 2 || s.Windows[1].Per.String() != "1s" || s.Windows[0].Per.String() != "1m" {
		t.Errorf("got %+v", s)
	}
	if s.Timeouts.Connect.String() != "1s" || s.Short != (shorter{"http://a", 1}) || s.Methods[0] != "POST" {
		t.Errorf("got %+v", s)
	}
	var rest struct{ Anything []string }
	if err := s.Rest.Decode(&rest); err != nil || rest.Anything[0] != "goes" {
		t.Errorf("got %v, %v", rest, err)
	}
}

func TestDecodeGivesDefaults(t *testing.T) {
	t.Parallel()
	var s settings
	if err := decode(t, "name: abc", &s); err != nil {
		t.Fatal(err)
	}
	if s.Per.String() != "10s" || s.Size.String() != "1MiB" || s.Count != 3 || !s.On || s.Mode != "deny" || s.Methods[0] != "GET" || s.Share != nil || s.Timeouts.Connect.String() != "1s" {
		t.Errorf("got %+v", s)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Setenv("SLUICE_TEST", "hunter2")
	for _, c := range []struct{ text, want string }{
		{"nmae: abc", `x.yaml:1:1: unknown key "nmae": did you mean "name"?`},
		{"nmae: abc", "    1 | nmae: abc\n      | ^"},
		{"count: 3", `x.yaml:1:1: "name" is missing here`},
		{"name: abc\nname: def", `x.yaml:2:1: "name" is given twice (x.yaml:1:1)`},
		{"name: 5", `x.yaml:1:7: this must be a text, not a number: write it in quotes, "5"`},
		{"name: [a]", `x.yaml:1:7: this must be a text, not a list`},
		{"name:", `x.yaml:1:6: nothing stands here`},
		{"name: a", `x.yaml:1:7: this must be at least 2 characters long`},
		{"per: 30", `x.yaml:1:6: "30" has no unit: write 30ms`},
		{"per: 2h", `x.yaml:1:6: this must be at most 1h`},
		{"per: {a: 1}", `this must be a duration such as 250ms, 30s, 5m, 2h or 1d, not a mapping`},
		{"count: 11", `this must be at most 10`},
		{"count: 010", `this must be a whole number in plain decimal digits, not 010`},
		{"count: \"3\"", `this must be a whole number, not a text`},
		{"small: 256", `this number is too large`},
		{"small: -1", `this must not be negative`},
		{"rate: .inf", `this must be a number`},
		{"on: yes", `this must be true or false, not "yes": write true`},
		{"on: Off", `this must be true or false, not "Off": write false`},
		{"on: 1", `this must be true or false, not a number`},
		{"mode: alow", `"alow" is not one of deny, allow; did you mean "allow"?`},
		{"path: x", `"x" is not an absolute path`},
		{"methods: [GET, PUT]", `x.yaml:1:16: "PUT" is not one of GET, POST`},
		{"words: a", `this must be a list, not a text`},
		{"words: [a, b, c]", `this must have at most 2 entries`},
		{"set: {a: b, a: c}", `x.yaml:1:13: "a" is given twice (x.yaml:1:7)`},
		{"set: [a]", `this must be a mapping, not a list`},
		{"windows: [{requests: 500}]", `x.yaml:1:22: more than anybody needs`},
		{"windows: [{per: 1s}]", `x.yaml:1:11: "requests" is missing here`},
		{"cond: {present: 1}", `x.yaml:1:17: this must be true or false`},
		{"short: x", `"x" is no address`},
		{"short: [x]", `this must be a mapping, not a list`},
		{"timeouts: {conect: 1s}", `did you mean "connect"?`},
		{"per: ${env:SLUICE_TEST}", `what "${env:SLUICE_TEST}" stands for is not a duration`},
		{"mode: ${env:SLUICE_TEST}", `what "${env:SLUICE_TEST}" stands for is not one of deny, allow`},
		{"path: ${env:NO_SUCH}", `x.yaml:1:7: the environment has no variable "NO_SUCH"`},
		{"path: ${file:/no/such}", `x.yaml:1:7: ${file:/no/such}: there is no such file`},
		{"path: ${x}", `${x} is no reference`},
		{"path: \"${\"", `has no "}"`},
		{"- a", `this must be a mapping, not a list`},
		{"", `nothing stands here`},
		{"a: !!str 3", `tags are not used here`},
		{"a: &x {b: 1}\nc: {<<: *x}", `merge keys are not used here`},
		{"? [a]\n: b", `a key is a single word, not a list`},
		{"? \n: b", `a key is missing here`},
		{"a: b\n---\nc: d", `x.yaml:2:1: a second document begins here`},
		{"a: [", `this is not YAML`},
		{"a: \xff", `x.yaml:1:4: this is not UTF-8`},
		{"a: b\nc: \x01", `x.yaml:2:4: a control character cannot stand here`},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), `this is nested too deeply`},
		{"a: &a [*a]", `x.yaml:1:`},
		{"body: {a: 1, a: 2}", `"a" is given twice`},
		{"body: .nan", `.nan is no number that JSON has`},
	} {
		err := decode(t, c.text, new(settings))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error shows the secret: %v", c.text, err)
		}
	}
}

func TestDecodeReportsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	err := decode(t, "count: 99\nname: x\nzzz: 1\nwindows:\n  - per: 5\n", new(settings))
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var places []string
	for _, p := range problems {
		places = append(places, fmt.Sprintf("%d:%d", p.Line, p.Column))
	}
	if got := strings.Join(places, " "); got != "1:8 2:7 3:1 5:5 5:10" {
		t.Errorf("got %s: %v", got, err)
	}
}

func TestSecretsAreNotQuoted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"key: hunter2\nzzz: 1", "{key: hunter2, zzz: 1}", "windows: [{per: 5}]\nkey: \"hunter2\""} {
		err := decode(t, text, new(settings))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	var s struct{ A, B unit.Map[int] }
	if err := decode(t, "a: &x {b: 1}\nb: *x", &s); err != nil || s.B[0].Value != 1 {
		t.Errorf("got %v, %v", s, err)
	}
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	if err := decode(t, bomb, new(unit.Any)); err == nil || !strings.Contains(err.Error(), "aliases repeat too much") {
		t.Errorf("got %v", err)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	n, err := ParseNode("x.yaml", []byte("windows:\n  - per: 1s\n  - per: 2s\nset: {\"x.y\": z}\n"))
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no")
	for _, c := range []struct {
		err  error
		want string
	}{
		{cause, "x.yaml:1:1: no"},
		{unit.At("windows[1].per", cause), "x.yaml:3:10: no"},
		{fmt.Errorf("kind: %w", unit.At("windows[1].per", cause)), "x.yaml:3:10: no"},
		{unit.At("windows", unit.At("[1]", cause)), "x.yaml:3:5: no"},
		{unit.At(`set["x.y"]`, cause), "x.yaml:4:14: no"},
		{unit.At("windows[7].per", cause), "x.yaml:2:3: [7].per: no"},
		{errors.Join(unit.At("windows[0]", cause), unit.At("set", cause)), "x.yaml:2:5: no"},
		{errors.Join(unit.At("windows[0]", cause), unit.At("set", cause)), "x.yaml:4:6: no"},
	} {
		if err := n.Locate(c.err); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s", c.err, err, c.want)
		}
	}
	if n.Locate(nil) != nil {
		t.Error("no error became one")
	}
}

func FuzzParseNode(f *testing.F) {
	f.Add("name: abc\nwindows: [{per: 1s}]")
	f.Add("a: &x 1\nb: *x\nc: |\n  d\n")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNode("x.yaml", []byte(text))
		if err == nil {
			err = n.Decode(new(settings))
			_ = n.Decode(new(unit.Any))
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		var problems Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("%q: an error without a place: %v", text, err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029")+1 || p.Column < 1 {
				t.Fatalf("%q: a place that is not there: %v", text, p)
			}
		}
	})
}
