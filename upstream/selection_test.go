package upstream

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// standing makes an upstream whose endpoints are described as "a", "b@1" (priority),
// "c/z" (zone) and "d!" (ill).
func standing(c Config, described string) *Upstream {
	var ill []string
	for word := range strings.FieldsSeq(described) {
		e := EndpointConfig{Weight: 1}
		word, sick := strings.CutSuffix(word, "!")
		word, e.Zone, _ = strings.Cut(word, "/")
		word, level, _ := strings.Cut(word, "@")
		_, _ = fmt.Sscan(level, &e.Priority)
		e.Address = word
		if sick {
			ill = append(ill, word)
		}
		c.Endpoints = append(c.Endpoints, e)
	}
	u := New(c, &counts{}, nil)
	for _, e := range u.Endpoints() {
		u.Mark(e, Ejected, slices.Contains(ill, e.address))
	}
	return u
}

// shares picks often and says which share of the requests each endpoint got, in tenths.
func shares(u *Upstream, h hint) string {
	const n = 20_000
	counts := map[string]int{}
	for range n {
		if e := u.chosen.Load().pick(u, h, triedSet{}); e != nil {
			counts[e.address]++
		}
	}
	var out []string
	for _, e := range u.Endpoints() {
		if tenths := math.Round(float64(counts[e.address]) / n * 10); tenths > 0 {
			out = append(out, fmt.Sprintf("%s%v", e.address, tenths))
		}
	}
	return strings.Join(out, " ")
}

func TestSelection(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, endpoints, want string
		config                Config
	}{
		{"all well", "a b", "a5 b5", Config{}},
		{"one ill", "a b!", "a10", Config{}},
		{"none well, no threshold", "a! b!", "", Config{}},
		{"none well", "a! b!", "a5 b5", Config{PanicThreshold: 0.2}},
		{"fewer than the threshold", "a b! c! d! e!", "a2 b2 c2 d2 e2", Config{PanicThreshold: 0.3}},
		{"second level rests", "a b c@1", "a5 b5", Config{}},
		{"second level helps", "a b! c@1", "a7 c3", Config{}}, // half is ill: 1.4 × 0.5
		{"second level takes over", "a! b! c@1", "c10", Config{}},
		{"a small loss needs no help", "a b c d! e@1", "a3 b3 c3", Config{}},
		{"third level", "a! b@1! c@1 d@2", "c7 d3", Config{}},
		{"every level is ill", "a! b@1!", "a10", Config{PanicThreshold: 0.5}},
		{"those of another level are well", "a b! c! d! e! f@1", "a3 f7", Config{PanicThreshold: 0.3}},
		{"those of another level are too few", "a b! c! d! e! f@1 g@1! h@1!", "a1 b1 c1 d1 e1 f6", Config{PanicThreshold: 0.3}},
		{"near", "a/x b/y c/y", "b5 c5", Config{Zone: "y"}},
		{"near ones are ill, and nearly all others", "a/x b/x! c/x! d/y! e/y!", "a2 b2 c2 d2 e2", Config{Zone: "y", ZoneMinimum: 0.7, PanicThreshold: 0.3}},
		{"nothing is near", "a/x b/x", "a5 b5", Config{Zone: "y"}},
		{"near ones are ill", "a/x b/y c/y!", "a5 b5", Config{Zone: "y", ZoneMinimum: 0.7}},
		{"enough near ones are well", "a/x b/y c/y!", "b10", Config{Zone: "y", ZoneMinimum: 0.5}},
		{"no endpoint", "", "", Config{}},
	}
	for _, test := range tests {
		for _, balance := range []Balance{RoundRobin, LeastRequest, Random} {
			test.config.Balance = balance
			if got := shares(standing(test.config, test.endpoints), hint{}); got != test.want {
				t.Errorf("%s (%s): %s gets %q, want %q", test.name, balance, test.endpoints, got, test.want)
			}
		}
	}
}

// TestTriedLevels is a request whose tries have used up a level.
func TestTriedLevels(t *testing.T) {
	t.Parallel()
	for _, described := range []string{"a b! c@1", "a c@1", "a@1 b@3!"} {
		u := standing(Config{PanicThreshold: 0.2}, described)
		if described == "a@1 b@3!" {
			if n := len(u.chosen.Load().levels); n != 1 {
				t.Errorf("%d levels, though one has nobody who is well", n)
			}
			continue
		}
		tryTwice(t, u)
	}
}

// TestTriedZone is a request whose tries have used up the gateway's own zone: those of other zones share what
// is left.
func TestTriedZone(t *testing.T) {
	t.Parallel()
	for balance := range ConsistentHash + 1 {
		u := standing(Config{Zone: "y", Balance: balance, Hash: Hash{Key: "{request.header.x-user}", Bound: 1.25}}, "a/y b/y c/x d/x e/z! f@1/y")
		thirds := map[string]int{}
		for i := range 1000 {
			x, tried := fromUser(fmt.Sprint("user-", i)), []*Endpoint{}
			order := ""
			for range 5 {
				tried = append(tried, u.chosenFor(x, tried...))
				order += tried[len(tried)-1].address
			}
			if order = strings.Map(nearOrFar, order); order != "nnffl" {
				t.Fatalf("%s: the order is %s", balance, order)
			}
			thirds[tried[2].address]++
		}
		if thirds["c"] < 300 || thirds["d"] < 300 {
			t.Errorf("%s: the third tries go to %v", balance, thirds)
		}
	}
}

// nearOrFar says where the endpoints of TestTriedZone stand: near, far, or at the last level.
func nearOrFar(address rune) rune {
	return map[rune]rune{'a': 'n', 'b': 'n', 'c': 'f', 'd': 'f', 'e': 'i', 'f': 'l'}[address]
}

func tryTwice(t *testing.T, u *Upstream) {
	t.Helper()
	for range 100 {
		var tried triedSet
		first := u.chosen.Load().pick(u, hint{}, tried)
		tried.add(first)
		if second := u.chosen.Load().pick(u, hint{}, tried); second == first {
			t.Fatalf("%s was chosen twice though another level has an endpoint", first.address)
		}
	}
}

func TestSlowStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		balance Balance
		weight  int     // of the new one; the other one has 1
		whole   float64 // its share when it is grown
	}{{Random, 1, 0.5}, {RoundRobin, 1, 0.5}, {LeastRequest, 1, 0.75}, {PeakEWMA, 1, 0.75}, {Random, 9, 0.9}, {RoundRobin, 9, 0.9}} {
		u := standing(Config{SlowStart: time.Minute, Balance: c.balance}, "a")
		u.SetEndpoints([]EndpointConfig{{Address: "a"}, {Address: "b", Weight: c.weight}})
		began := message.Clock()
		// The new one is always preferred: the other one is busy.
		u.Endpoints()[0].active.Store(100)
		u.Endpoints()[0].latency.Observe(began, time.Second, time.Hour)
		for age, part := range map[time.Duration]float64{0: 0.1, 30 * time.Second: 0.5, 2 * time.Minute: 1} {
			const n = 20_000
			counts := map[string]float64{}
			for range n {
				counts[u.chosen.Load().pick(u, hint{now: began + int64(age)}, triedSet{}).address]++
			}
			if got, want := counts["b"]/n, part*c.whole; math.Abs(got-want) > 0.03 {
				t.Errorf("%s, weight %d, after %v: a new endpoint gets %.3f of the requests, want %.3f", c.balance, c.weight, age, got, want)
			}
		}
	}
	u := standing(Config{SlowStart: time.Hour, Balance: Random}, "a b")
	if got := shares(u, hint{now: message.Clock()}); got != "a5 b5" {
		t.Errorf("those with which all has begun are spared: %s", got)
	}
	u.Mark(u.Endpoints()[1], Unhealthy, true)
	u.Mark(u.Endpoints()[1], Unhealthy, false)
	if got := shares(u, hint{now: message.Clock()}); got != "a9 b1" && got != "a10" {
		t.Errorf("who is well again is not spared: %s", got)
	}
	u = standing(Config{SlowStart: time.Minute}, "a")
	// Where all are new none is spared for long: there is nobody else.
	u.SetEndpoints([]EndpointConfig{{Address: "c"}})
	if u.chosen.Load().pick(u, hint{now: message.Clock()}, triedSet{}) == nil {
		t.Error("the only endpoint is not chosen")
	}
}

func TestSetEndpoints(t *testing.T) {
	t.Parallel()
	u := standing(Config{}, "a b! c")
	kept := u.Endpoints()[1]
	added, removed := u.SetEndpoints([]EndpointConfig{{Address: "b", Weight: 1}, {Address: "c", Weight: 5}, {Address: "d"}})
	if !slices.Equal(added, []string{"c", "d"}) || !slices.Equal(removed, []string{"a", "c"}) {
		t.Errorf("added %q, removed %q", added, removed)
	}
	if u.Endpoints()[0] != kept || kept.State() != "ejected" {
		t.Errorf("what did not change is %s now", u.Endpoints()[0].State())
	}
	if !u.Mark(kept, Ejected, false) || u.Mark(kept, Ejected, false) || kept.State() != "healthy" {
		t.Error("getting well is news once")
	}
	_ = u.Close()
	if added, removed := u.SetEndpoints(nil); added != nil || removed != nil || len(u.Endpoints()) != 3 {
		t.Error("a closed upstream takes new endpoints")
	}
}

// TestDrained is an endpoint that leaves while it answers.
func TestDrained(t *testing.T) {
	t.Parallel()
	half := make(chan struct{})
	o := newOrigin(t, func(c *played) {
		_, _, _ = c.request()
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"))
		<-half
		_, _ = c.Write([]byte("cd"))
		_, _, _ = c.request() // The end: it is not used again.
	})
	u, _ := newUpstream(t, to(o.address))
	x := exchange(&wire{}, "GET", nil)
	if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
		t.Fatal(err)
	}
	leaving := u.Endpoints()[0]
	u.SetEndpoints(nil)
	again := exchange(&wire{}, "GET", nil)
	if err := u.RoundTrip(again, &again.Request, &again.Response); err != message.UpstreamNoEndpoint {
		t.Errorf("asked when there is no endpoint: %v", err)
	}
	close(half)
	if body, err := message.ReadAll(x.Response.Body, 10); string(body) != "abcd" || err != nil {
		t.Errorf("the answer was cut: %q, %v", body, err)
	}
	x.Response.CloseBody()
	if open, _ := leaving.Connections(); open != 0 || leaving.Active() != 0 {
		t.Errorf("%d connections are open", open)
	}
}
