package split

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
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

// plainArm is an arm without a condition.
func plainArm(name string, weight int) Arm { return Arm{Upstream: name, Weight: &weight} }

func listOf(arms ...Arm) *Config { return &Config{Arms: arms, list: true} }

// weights gives a, b, c … their weights.
func weights(key string, all ...int) *Config {
	c := &Config{Key: key}
	for i, w := range all {
		c.Arms = append(c.Arms, plainArm(string(rune('a'+i)), w))
	}
	return c
}

func compiled(t *testing.T, c *Config) *splitter {
	t.Helper()
	s, _, err := compile(c, env())
	if err != nil {
		t.Fatal(err)
	}
	return s
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
		s := compiled(t, weights("", test.weights...))
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
	h, err := build(weights("", 5, 0, 5), env())
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

func one(name string, values ...string) unit.Map[unit.List[string]] {
	return unit.Map[unit.List[string]]{{Key: name, Value: values}}
}

// exchange has fields, "Name: value", and a caller in groups if there are any.
func exchange(fields []string, groups ...string) *message.Exchange {
	x := &message.Exchange{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Header.Add(name, value)
	}
	if len(groups) > 0 {
		x.Facts.Consumer = &message.Consumer{Name: "ann", Groups: groups}
	}
	return x
}

func TestWhen(t *testing.T) {
	t.Parallel()
	c := weights("", 1)
	c.Arms = append(c.Arms,
		Arm{Upstream: "b", When: &When{Header: one("x-canary", "yes", "1")}},
		Arm{Upstream: "c", When: &When{Cookie: one("canary", "always")}},
		Arm{Upstream: "d", When: &When{Group: unit.List[string]{"testers", "staff"}}},
		Arm{Upstream: "e", When: &When{Header: one("x-team", "blue"), Cookie: one("side", "new"), Group: unit.List[string]{"gold"}}},
		Arm{Upstream: "b", When: &When{Cookie: one("side", "b")}},
	)
	tests := []struct {
		fields []string
		groups []string
		want   string
	}{
		{nil, nil, "a"},
		{[]string{"X-Canary: yes"}, nil, "b"},
		{[]string{"X-Canary: no", "x-canary: 1"}, nil, "b"},
		{[]string{"X-Canary: Yes"}, nil, "a"},
		{[]string{"X-Canary-2: yes"}, nil, "a"},
		{[]string{"Cookie: a=b; canary=always"}, nil, "c"},
		{[]string{"Cookie: a=b", "Cookie: canary=no; canary=always ;"}, nil, "c"},
		{[]string{"Cookie: Canary=always"}, nil, "a"},
		{[]string{"Cookie: a=canary=always; canary"}, nil, "a"},
		{[]string{"Canary: always"}, nil, "a"},
		{nil, []string{"free", "staff"}, "d"},
		{nil, []string{"gold"}, "a"},
		{[]string{"X-Canary: yes", "Cookie: canary=always"}, []string{"staff"}, "b"},
		{[]string{"X-Team: blue", "Cookie: side=new"}, []string{"gold"}, "e"},
		{[]string{"X-Team: blue", "Cookie: side=old"}, []string{"gold"}, "a"},
		{[]string{"X-Team: red", "Cookie: side=new"}, []string{"gold"}, "a"},
		{[]string{"X-Team: blue", "Cookie: side=new"}, []string{"free"}, "a"},
		{[]string{"Cookie: side=b"}, nil, "b"},
	}
	h, err := build(c, env())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c", "d", "e"}; !slices.Equal(h.Upstreams, want) {
		t.Errorf("upstreams %q, want each once", h.Upstreams)
	}
	for _, test := range tests {
		x := exchange(test.fields, test.groups...)
		if err := h.Serve(x); err != nil || x.Facts.Upstream != test.want {
			t.Errorf("%q in %q: %s, %v, want %s", test.fields, test.groups, x.Facts.Upstream, err, test.want)
		}
	}
}

// users is how many keys a property is tried with.
const users = 20_000

// sides asks for each user once.
func sides(t *testing.T, c *Config) []string {
	t.Helper()
	s, x := compiled(t, c), exchange(nil, "any")
	all := make([]string, users)
	for i := range all {
		x.Facts.Consumer.Name = fmt.Sprint("user-", i)
		all[i] = s.choose(x).Name()
	}
	return all
}

// TestKeyIsStable: a user stays on one side, whatever the order of the list, for the
// same weights in other numbers, and in another process, and shares are right.
func TestKeyIsStable(t *testing.T) {
	t.Parallel()
	first := sides(t, weights("{consumer.name}", 70, 20, 10))
	turned := weights("{consumer.name}", 70, 20, 10)
	slices.Reverse(turned.Arms)
	for name, c := range map[string]*Config{
		"again":   weights("{consumer.name}", 70, 20, 10),
		"turned":  turned,
		"smaller": weights("{consumer.name}", 7, 2, 1),
		"larger":  weights("{consumer.name}", 700_000, 200_000, 100_000),
	} {
		if !slices.Equal(first, sides(t, c)) {
			t.Errorf("%s: users change sides", name)
		}
	}
	count := map[string]int{}
	for _, side := range first {
		count[side]++
	}
	for name, share := range map[string]float64{"a": 0.7, "b": 0.2, "c": 0.1} {
		if got := float64(count[name]) / users; math.Abs(got-share) > 0.02 {
			t.Errorf("%s has %.3f of the users, want about %.3f", name, got, share)
		}
	}
}

// TestOnlyTheNeededPartMoves: of two arms the one that grows keeps whom it had, and
// the others move only into it, no more than its share has grown.
func TestOnlyTheNeededPartMoves(t *testing.T) {
	t.Parallel()
	before, old := sides(t, weights("{consumer.name}", 100, 0)), 0.0
	for _, canary := range []int{1, 5, 10, 30, 50, 51, 100} {
		after, moved := sides(t, weights("{consumer.name}", 100-canary, canary)), 0
		for i := range after {
			if before[i] == after[i] {
				continue
			}
			moved++
			if before[i] != "a" {
				t.Fatalf("%d%%: user %d went back from %s to %s", canary, i, before[i], after[i])
			}
		}
		share := float64(canary) / 100
		if got := float64(moved) / users; math.Abs(got-(share-old)) > 0.02 {
			t.Errorf("%d%%: %.3f of the users moved, want about %.3f", canary, got, share-old)
		}
		before, old = after, share
	}
}

// TestEmptyKey: who has no key is chosen for at random, also where the template has
// a text around its variables.
func TestEmptyKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"{consumer.name}", "orders {request.cookie.uid}", "{consumer.name}/{request.header.x-team}"} {
		s, x, seen := compiled(t, weights(key, 1, 1)), exchange(nil), map[string]bool{}
		for range 200 { // All on one side has a chance of 2 in 2^200.
			seen[s.choose(x).Name()] = true
		}
		if len(seen) != 2 {
			t.Errorf("%s without a value: all go to %v", key, seen)
		}
		x, seen = exchange([]string{"Cookie: uid=7", "X-Team: blue"}, "any"), map[string]bool{}
		for range 200 {
			seen[s.choose(x).Name()] = true
		}
		if len(seen) != 1 {
			t.Errorf("%s with a value: one user goes to %v", key, seen)
		}
	}
}

func TestAllocations(t *testing.T) {
	c := weights("{request.cookie.uid} {consumer.name}", 1, 1)
	c.Arms = append(c.Arms, Arm{Upstream: "c", When: &When{Header: one("x-canary", "yes"), Cookie: one("canary", "yes")}},
		Arm{Upstream: "d", When: &When{Group: unit.List[string]{"testers"}, Cookie: one("canary", "yes")}})
	h, err := build(c, env())
	if err != nil {
		t.Fatal(err)
	}
	x := exchange([]string{"X-Canary: yes", "Cookie: a=b; uid=0123456789abcdef0123456789abcdef; canary=no"}, "testers")
	if n := testing.AllocsPerRun(100, func() { _ = h.Serve(x) }); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	many := make([]Arm, MaxArms+1)
	when := &When{Group: unit.List[string]{"testers"}}
	tests := []struct {
		config *Config
		want   string
	}{
		{listOf(), "the list is empty"},
		{listOf(many...), "the limit is 32"},
		{listOf(plainArm("a", 0), plainArm("b", 0)), "all weights are 0"},
		{listOf(Arm{Upstream: "a", When: when}), "all weights are 0"},
		{listOf(plainArm("a", 1), plainArm("a", 2)), `[1].upstream: "a" stands in this list already, at place 1`},
		{weights("", 1, -1), "arms[1].weight: -1 is no weight"},
		{listOf(plainArm("a", -1)), "[0].weight: -1 is no weight"},
		{listOf(plainArm("a", MaxWeight+1)), "is no weight"},
		{listOf(plainArm("a", 1), plainArm("bb", 2)), "[1].upstream: no upstream bb"},
		{weights("everybody", 1), `key: "everybody" is the same for all requests`},
		{weights("{consumer.nam}", 1), "key: "},
		{weights("{response.status}", 1), "key: "},
	}
	for _, test := range tests {
		_, err := build(test.config, env())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v lacks %q", test.config, err, test.want)
		}
	}
	if _, err := build(listOf(plainArm("xx", 1), plainArm("yy", 1)), env()); err == nil || !strings.Contains(err.Error(), "xx") || !strings.Contains(err.Error(), "yy") {
		t.Errorf("not every fault is reported: %v", err)
	}
}

// FuzzCookie: what a template reads as a cookie is found as one, and what is found
// stands in the field.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{"", "a=b", "uid=7; canary=always", "; ;=;uid=;uid=8", "uid", " uid = 7 "} {
		f.Add(seed, "7")
	}
	uid, err := template.Parse("{request.cookie.uid}", template.Use{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		x := exchange([]string{"Cookie: " + text})
		if read := uid.String(x); read != "" && !hasCookie(&x.Request.Header, "uid", []string{read}) {
			t.Errorf("%q: uid is %q, and is not found", text, read)
		}
		if hasCookie(&x.Request.Header, "uid", []string{value}) && !strings.Contains(text, "uid") {
			t.Errorf("%q: uid=%q is found", text, value)
		}
	})
}

// TestWords: explain says who goes where, conditions in their order.
func TestWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[{ upstream: a, weight: 19 }, { upstream: b, weight: 1 }]": "sends requests to a (95%) or b (5%)",
		"[{ upstream: b, weight: 2 }, { upstream: a, weight: 1 }]":  "sends requests to a (33.33%) or b (66.67%)",
		"{ key: '{request.cookie.uid}', arms: [{ upstream: a, weight: 1 }, { upstream: b, weight: 1, when: { header: { x-a: [b, c] }, group: g } }, { upstream: b, when: { cookie: { d: e } } }] }": "sends to b what has the header x-a: b or c and a caller of the group g\n" +
			"sends to b what has the cookie d=e\n" +
			"sends all other requests to a (50%) or b (50%), those of one {request.cookie.uid} to the same",
	} {
		node, err := config.ParseNode("s.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		h, err := Kind.Build(node, env())
		if got := strings.Join(h.Words, "\n"); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", text, err, got, want)
		}
	}
}
