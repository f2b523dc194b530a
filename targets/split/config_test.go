package split

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
)

func decode(t *testing.T, text string) error {
	t.Helper()
	node, err := config.ParseNode("s.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Kind.Build(node, env())
	return err
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"[{ upstream: a, weight: 1 }, { upstream: b, weight: 0 }]",
		"{ arms: [{ upstream: a, weight: 1 }] }",
		"{ key: '{request.cookie.uid}', arms: [{ upstream: a, weight: 1 }, { upstream: b, when: { header: { x-a: b } } }] }",
		"[{ upstream: a, weight: 1, when: { cookie: { c: [d, e] }, group: [f, g] } }, { upstream: a, weight: 2 }]",
	} {
		if err := decode(t, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	values := strings.Repeat("v, ", MaxValues) + "v"
	headers := ""
	for i := range 17 {
		headers += fmt.Sprintf("x-%d: v, ", i)
	}
	tests := []struct{ text, want string }{
		{"word", "1:1: this must be a list"},
		{"{ key: a }", `"arms" is missing`},
		{"[{ upstream: a }]", `1:2: "weight" is missing`},
		{"{ arms: [{ upstream: a, weight: -1 }] }", "at least 0"},
		{"{ arms: [{ upstream: a, weight: 1 }, { upstream: bb, weight: 1 }] }", "arms[1].upstream: no upstream bb"},
		{"{ key: '{nothing}', arms: [{ upstream: a, weight: 1 }] }", "key: template: character 1"},
		{"[{ upstream: a, when: {} }]", "takes every request"},
		{"[{ upstream: a, when: { header: { 'x y': v } } }]", "not the name of a header field"},
		{"[{ upstream: a, when: { header: { host: v } } }]", "the match of the route"},
		{"[{ upstream: a, when: { header: { x-consumer-groups: v } } }]", "write group"},
		{"[{ upstream: a, when: { header: { x-a: ' v' } } }]", "1:40: \" v\" cannot be"},
		{"[{ upstream: a, when: { header: { x-a: [] } } }]", "a value is missing"},
		{"[{ upstream: a, when: { header: { x-a: [" + values + "] } } }]", "33 values; the limit is 32"},
		{"[{ upstream: a, when: { header: { " + headers + "} } }]", "at most 16 entries"},
		{"[{ upstream: a, when: { cookie: { 'a=b': v } } }]", "not the name of a cookie"},
		{"[{ upstream: a, when: { cookie: { a: 'v;w' } } }]", "cannot be the value of a cookie"},
		{"[{ upstream: a, when: { group: '' } }]", "a group has a name"},
		{"[{ upstream: a, when: { group: g }, weight: 0 }]", "all weights are 0"},
	}
	for _, test := range tests {
		if err := decode(t, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s: error %v lacks %q", test.text, err, test.want)
		}
	}
}
