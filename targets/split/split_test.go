package split

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
)

// origin notes its name in the exchange.
type origin string

func (o origin) Name() string { return string(o) }

func (o origin) RoundTrip(x *message.Exchange, _ *message.Request, resp *message.Response) error {
	x.Facts.Upstream, resp.Status = string(o), 200
	return nil
}

// env knows every upstream whose name is one letter.
func env() *target.Env {
	return &target.Env{Upstream: func(name string) (target.RoundTripper, error) {
		if len(name) != 1 {
			return nil, errors.New("no upstream " + name)
		}
		return origin(name), nil
	}}
}

// TestShares hands out every number once, so that shares are exact.
func TestShares(t *testing.T) {
	t.Parallel()
	tests := []struct {
		weights []int
		want    string
	}{
		{[]int{1}, "a"},
		{[]int{3, 1}, "aaab"},
		{[]int{0, 2, 0, 1, 0}, "bbd"},
	}
	for _, test := range tests {
		var c Config
		for i, w := range test.weights {
			c = append(c, Arm{Upstream: string(rune('a' + i)), Weight: w})
		}
		s, _, err := compile(c, env())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for n := range s.total {
			got += s.pick(n).Name()
		}
		if got != test.want {
			t.Errorf("%v: %s, want %s", test.weights, got, test.want)
		}
	}
}

func TestServe(t *testing.T) {
	c := Config{{"a", 5}, {"b", 0}, {"c", 5}}
	h, err := build(&c, env())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.Upstreams, []string{"a", "b", "c"}) {
		t.Errorf("upstreams %q", h.Upstreams)
	}
	x := &message.Exchange{}
	asked := map[string]int{}
	// Missing one of two equal shares 200 times has a chance of 2 in 2^200.
	for range 200 {
		if err := h.Serve(x); err != nil {
			t.Fatal(err)
		}
		asked[x.Facts.Upstream]++
	}
	if asked["a"] == 0 || asked["c"] == 0 || asked["b"] != 0 || asked["a"]+asked["c"] != 200 {
		t.Errorf("asked %v", asked)
	}
	if n := testing.AllocsPerRun(100, func() { _ = h.Serve(x) }); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	many := make(Config, MaxArms+1)
	tests := []struct {
		config Config
		want   string
	}{
		{nil, "the list is empty"},
		{many, "the limit is 32"},
		{Config{{"a", 0}, {"b", 0}}, "all weights are 0"},
		{Config{{"a", 1}, {"a", 2}}, `[1].upstream: "a" stands in this list already, at place 1`},
		{Config{{"a", -1}}, "[0].weight: -1 is no weight"},
		{Config{{"a", MaxWeight + 1}}, "is no weight"},
		{Config{{"a", 1}, {"bb", 2}}, "[1].upstream: no upstream bb"},
	}
	for _, test := range tests {
		_, err := build(&test.config, env())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v lacks %q", test.config, err, test.want)
		}
	}
	if _, err := build(&Config{{"xx", 1}, {"yy", 1}}, env()); err == nil || !strings.Contains(err.Error(), "xx") || !strings.Contains(err.Error(), "yy") {
		t.Errorf("not every fault is reported: %v", err)
	}
}
