package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/unit"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"{}":                              "needs requests and per",
		"{ requests: 5 }":                 "needs requests and per",
		"{ per: 1m }":                     "needs requests and per",
		"{ requests: 0, per: 1m }":        "at least 1",
		"{ requests: 1, per: 1ms }":       "at least 10ms",
		"{ requests: 1000001, per: 1s }":  "1000000 a second",
		"{ requests: 1, per: 1d, key: x}": "address, consumer, route, all, or { header: NAME }",
		"{ requests: 1, per: 1d, key: { header: 'a b' } }":                                   "is not the name of a field",
		"{ requests: 1, per: 1d, key: {} }":                                                  "is not the name of a field",
		"{ requests: 1, per: 1d, name: 'a\"b' }":                                             "characters other than",
		"{ requests: 1, per: 366d, burst: 1000000 }":                                         "centuries",
		"{ requests: 1, per: 1d, windows: [ { requests: 1, per: 1m } ] }":                    "in place of requests",
		"{ windows: [ { requests: 1, per: 1m }, { requests: 2, per: 60s } ] }":               "two windows have the name",
		"{ windows: [ { requests: 1 } ] }":                                                   `"per" is missing`,
		"{ windows: [ { requests: 2000000, per: 1s } ] }":                                    "1000000 a second",
		"{ requests: 1, per: 1s, ipv6_prefix: 129 }":                                         "at most 128",
		"{ requests: 1, per: 1s, max_keys: 1 }":                                              "at least 1000",
		"{ windows: [" + strings.Repeat(" { requests: 1, per: 1m, name: x },", 5) + " ] }":   "at most 4",
		"{ windows: [ { requests: 1, per: 1m }, { requests: 1, per: 1h, name: 'not ok' } ]}": "characters other than",
	} {
		g, err := policytest.Build("policies:\n  - rate_limit: "+settings+"\n", Kind)
		if err == nil {
			_ = g.Close()
			t.Errorf("%s was accepted", settings)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.yaml:2:") {
			t.Errorf("%s: the error is %v, expected %q and a place", settings, err, want)
		}
	}
}

// twin counts the slow and obvious way: one bucket for each caller and window, filled
// up to the moment of each request.
type twin struct {
	limits []limit
	left   map[string][]int64
	seen   map[string]int64
}

func (w *twin) take(caller string, now int64) bool {
	left, ok := w.left[caller]
	if !ok {
		for _, l := range w.limits {
			left = append(left, l.tolerance)
		}
	}
	passed := now - w.seen[caller]
	w.seen[caller] = now
	allowed := true
	for i, l := range w.limits {
		if left[i] = min(left[i]+passed, l.tolerance); left[i] < l.interval {
			allowed = false
		}
	}
	for i, l := range w.limits {
		if allowed {
			left[i] -= l.interval
		}
	}
	w.left[caller] = left
	return allowed
}

func TestLikeTheSlowTwin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		var limits []limit
		for i := range 1 + r.IntN(maxWindows) {
			l, err := newLimit(fmt.Sprint("w", i), 1+r.Int64N(50), unit.Duration(time.Duration(10+r.IntN(20))*time.Second), 1+r.Int64N(60))
			if err != nil {
				t.Fatal(err)
			}
			limits = append(limits, l)
		}
		fast, slow := newCells(), &twin{limits: limits, left: map[string][]int64{}, seen: map[string]int64{}}
		now := int64(time.Hour)
		admitted := 0
		for step := range 3000 {
			now += r.Int64N(int64(100 * time.Millisecond))
			caller := fmt.Sprint(r.IntN(4))
			var out [maxWindows]reading
			var evicted int64
			got := fast.take(fast.keyOf(byHeader, caller), now, 1, limits, 100_000, out[:], &evicted)
			if want := slow.take(caller, now); got != want || evicted != 0 {
				t.Fatalf("seed %d, step %d: allowed %v, the twin says %v; %d evicted", seed, step, got, want, evicted)
			}
			for i := range limits {
				if left := slow.left[caller][i]; limits[i].tolerance-out[i].debt != left {
					t.Fatalf("seed %d, step %d, window %d: %d left, the twin has %d", seed, step, i, limits[i].tolerance-out[i].debt, left)
				}
			}
			if got {
				admitted++
			}
		}
		if admitted == 0 || admitted == 3000 {
			t.Errorf("seed %d: %d of 3000 were allowed: the test says nothing", seed, admitted)
		}
	}
}

// TestRefusalSaysWhen comes back exactly after wait, and one nanosecond before it.
func TestRefusalSaysWhen(t *testing.T) {
	t.Parallel()
	l, err := newLimit("x", 7, unit.Duration(time.Second), 3)
	if err != nil {
		t.Fatal(err)
	}
	limits := []limit{l}
	c := newCells()
	k := c.keyOf(byHeader, "caller")
	var out [maxWindows]reading
	var evicted int64
	now := int64(time.Hour)
	for c.take(k, now, 1, limits, 1000, out[:], &evicted) {
	}
	wait := out[0].wait
	if c.take(k, now+wait-1, 1, limits, 1000, out[:], &evicted) {
		t.Error("allowed too early")
	}
	if !c.take(k, now+wait, 1, limits, 1000, out[:], &evicted) {
		t.Error("refused after the time that was said")
	}
}

// TestConcurrently counts what many goroutines get through at a moment that stands
// still, and while time goes by for some and not for others.
func TestConcurrently(t *testing.T) {
	t.Parallel()
	const burst, workers = 500, 8
	a, err := newLimit("a", burst, unit.Duration(time.Second), burst)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newLimit("b", 10*burst, unit.Duration(time.Second), 10*burst)
	if err != nil {
		t.Fatal(err)
	}
	limits := []limit{a, b}
	c := newCells()
	k := c.keyOf(byHeader, "caller")
	start := int64(time.Hour)
	var admitted atomic.Int64
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			var out [maxWindows]reading
			var evicted int64
			for i := range 2 * burst {
				now := start
				if w%2 == 1 {
					now += int64(i) * int64(time.Millisecond)
				}
				if c.take(k, now, 1, limits, 100_000, out[:], &evicted) {
					admitted.Add(1)
				}
			}
		})
	}
	wait.Wait()
	// One second went by, less a millisecond: the burst, and what came back.
	if n := admitted.Load(); n < burst || n > 2*burst {
		t.Errorf("%d requests were allowed, expected from %d to %d", n, burst, 2*burst)
	}
}

func TestForgetsThoseWhoUsedLeast(t *testing.T) {
	t.Parallel()
	l, err := newLimit("x", 10, unit.Duration(10*time.Second), 10)
	if err != nil {
		t.Fatal(err)
	}
	limits := []limit{l}
	c := newCells()
	const capacity = 1024 // 16 to a shard
	now := int64(time.Hour)
	var out [maxWindows]reading
	var evicted int64
	heavy := c.keyOf(byHeader, "heavy")
	for range 10 {
		c.take(heavy, now, 1, limits, capacity, out[:], &evicted)
	}
	for i := range 20 * capacity {
		c.take(c.keyOf(byHeader, fmt.Sprint(i)), now, 1, limits, capacity, out[:], &evicted)
	}
	if evicted < 18*capacity {
		t.Errorf("%d were counted as forgotten", evicted)
	}
	held := 0
	for i := range c.shards {
		held += len(c.shards[i].slots)
		if len(c.shards[i].slots) != len(c.shards[i].keys) {
			t.Errorf("shard %d: %d slots, %d keys", i, len(c.shards[i].slots), len(c.shards[i].keys))
		}
	}
	if held > capacity {
		t.Errorf("%d callers are remembered, at most %d may be", held, capacity)
	}
	if c.take(heavy, now, 1, limits, capacity, out[:], &evicted) {
		t.Error("who used all of the limit was forgotten before those who used a tenth")
	}

	// Callers who are as good as absent are replaced without being counted.
	evicted = 0
	now += int64(time.Minute)
	for i := range capacity {
		c.take(c.keyOf(byHeader, fmt.Sprint("late", i)), now, 1, limits, 4*capacity, out[:], &evicted)
	}
	if evicted != 0 {
		t.Errorf("%d were counted as forgotten", evicted)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, "policies:\n  - rate_limit: { requests: 2, per: 1m, dry_run: true }\n", Kind)
	for range 5 {
		if a := g.Serve(g.Exchange("GET", "/")); a.Status != 200 || a.Header.Has(limitField) {
			t.Errorf("a dry run answered %d %v", a.Status, a.Header.Fields())
		}
	}
	if n := g.Metrics.Value("sluice_rate_limit_allowed_total,route=example"); n != 2 {
		t.Errorf("%d allowed", n)
	}
	if n := g.Metrics.Value("sluice_rate_limit_refused_total,route=example"); n != 3 {
		t.Errorf("%d refused", n)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address string
		prefix  int
		want    string
	}{
		{"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"},
		{"2001:db8:1:2ff:3:4:5:6", 56, "2001:db8:1:200::"},
		{"2001:db8:ffff::", 36, "2001:db8:f000::"},
		{"2001:db8::1", 128, "2001:db8::1"},
		{"fe80::1%eth0", 128, "fe80::1"},
		{"192.0.2.7", 64, "::ffff:192.0.2.7"},
		{"::ffff:192.0.2.7", 16, "::ffff:192.0.2.7"},
	} {
		x := &message.Exchange{}
		x.Client.Address = netip.MustParseAddr(c.address)
		got := netip.AddrFrom16((&limiter{ipv6Prefix: c.prefix}).network(x))
		if got != netip.MustParseAddr(c.want) {
			t.Errorf("%s/%d is counted as %s, expected %s", c.address, c.prefix, got, c.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	for _, settings := range []string{
		"{ requests: 1000, per: 1s }",
		"{ requests: 1, per: 1h }", // refused
		"{ requests: 1000, per: 1s, key: consumer }",
		"{ requests: 1000, per: 1s, key: { header: x-tenant } }",
		"{ windows: [ { requests: 10, per: 1s }, { requests: 100, per: 1m }, { requests: 1000, per: 1h } ] }",
	} {
		g := policytest.New(t, "policies:\n  - rate_limit: "+settings+"\n", Kind)
		acme := g.Consumer("acme")
		// The one on the way back is the string that the fields are cut from.
		policytest.Allocs(t, g, 0, 1, func(x *message.Exchange) {
			g.Fill(x, "GET", "/orders", "x-tenant", "blue")
			x.Facts.Consumer = acme
		})
	}
}

func BenchmarkTake(b *testing.B) {
	l, err := newLimit("x", 1000, unit.Duration(time.Second), 1000)
	if err != nil {
		b.Fatal(err)
	}
	limits := []limit{l}
	c := newCells()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var out [maxWindows]reading
		var evicted int64
		address := netip.MustParseAddr("2001:db8::").As16()
		for now := int64(time.Hour); pb.Next(); now += 1000 {
			address[7] = byte(now >> 10)
			c.take(c.keyOfBits(byAddress, address), now, 1, limits, 100_000, out[:], &evicted)
		}
	})
}
