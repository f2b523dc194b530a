package fallback

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"a", "f.yaml:1:1: this must be a mapping"},
		{"{ to: { upstream: b } }", "f.yaml:1:1: a target is missing here"},
		{"{ upstream: a }", `f.yaml:1:1: "to" is missing here`},
		{"{ upstream: a, to: [] }", "f.yaml:1:20: this must have at least 1 entry"},
		{"{ upstream: a, to: [{}] }", "f.yaml:1:21: a target is missing here"},
		{"{ upstream: a, to: b }", "f.yaml:1:20: this must be a target such as { upstream: NAME }, not a text"},
		{"{ upstream: a, to: [b] }", "f.yaml:1:21: this must be a target such as { upstream: NAME }, not a text"},
		{"{ upstream: a, to: { upstream: a } }", "f.yaml:1:20: a is the upstream that has failed by then"},
		{"{ upstream: a, to: [{ upstream: b }, { upstream: x }] }", "f.yaml:1:50: there is no upstream x"},
		{"{ upstream: a, to: { nothing: x } }", "f.yaml:1:22: no such kind"},
		{"{ upstream: a, to: { upstream: b }, on: [] }", "f.yaml:1:41: the list is empty"},
		{"{ upstream: a, to: { upstream: b }, on: [timeout, slow] }", `f.yaml:1:51: "slow" is not connect_failure`},
		{"{ upstream: a, to: { upstream: b }, on: 503 }", `f.yaml:1:41: this must be a text, not a number: write it in quotes`},
		{"{ upstream: a, to: { upstream: b }, on: '200' }", `f.yaml:1:41: "200" is not connect_failure`},
		{"{ upstream: a, to: { upstream: b }, on: 'grpc:gone' }", `f.yaml:1:41: gRPC has no failure "gone"`},
		{"{ upstream: a, to: { upstream: b }, methods: post }", "f.yaml:1:46: "},
		{"{ upstream: a, to: { upstream: b }, header: content-length }", "f.yaml:1:45: content-length cannot be set here"},
		{"{ upstream: a, to: { upstream: b }, header: 'x y' }", "f.yaml:1:45: "},
		{"{ upstream: a, to: { upstream: b }, body: 1GiB }", "f.yaml:1:43: this must be at most 16MiB"},
	} {
		node, err := config.ParseNode("f.yaml", []byte(test.text))
		if err == nil {
			_, err = Kind.Build(node, envOf(counters{}, &origin{name: "a"}, &origin{name: "b"}))
			err = node.Locate(err)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got %v\nwant %s", test.text, err, test.want)
		}
	}
	// All that is wrong is said at once.
	node, err := config.ParseNode("f.yaml", []byte("{ upstream: x, to: [{ upstream: y }, { z: 1 }], on: [], header: host }"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Kind.Build(node, envOf(counters{}, &origin{name: "a"}))
	if text := node.Locate(err).Error(); strings.Count(text, "f.yaml:1:") != 5 {
		t.Errorf("got %s", text)
	}
}
