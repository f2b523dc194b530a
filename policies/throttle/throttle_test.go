package throttle

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
	"github.com/sluice-gateway/sluice/unit"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"{}":                                       `"requests" is missing`,
		"{ requests: 0 }":                          "at least 1",
		"{ requests: 100001, per: 100ms }":         "1000000 a second",
		"{ requests: 1, per: 2d }":                 "at most 1d",
		"{ requests: 1, max_wait: 0s }":            "at least 1ms",
		"{ requests: 1, max_wait: 61s }":           "at most 1m",
		"{ requests: 1, max_waiting: 0 }":          "at least 1",
		"{ requests: 1, max_keys: 1 }":             "at least 1000",
		"{ requests: 1, burst: 0 }":                "at least 1",
		"{ requests: 1, key: '{endpoint}' }":       "endpoint",
		"{ requests: 1, per: 1d, burst: 1000000 }": "centuries",
	} {
		g, err := policytest.Build("policies:\n  - throttle: "+settings+"\n", Kind)
		if err == nil {
			_ = g.Close()
			t.Errorf("%s was accepted", settings)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.yaml:2:") {
			t.Errorf("%s: the error is %v, expected %q and a place", settings, err, want)
		}
	}
}

func newPace(t testing.TB, requests, burst int64) pace {
	t.Helper()
	p, err := (&Config{Requests: requests, Per: unit.Duration(time.Second), Burst: burst}).pace()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// twin is a leaky bucket as one is drawn: every request pours one interval into it, it runs out
// as time goes by, and a request waits until it fits into what a burst may fill.
type twin struct {
	interval int64
	burst    int64
	level    int64 // what is in the bucket, in nanoseconds of its outflow
	seen     int64
}

// take returns how long a request waits, or -1 where that is longer than longest.
func (w *twin) take(now, longest int64) int64 {
	w.level = max(w.level-(now-w.seen), 0)
	w.seen = now
	wait := max(w.level+w.interval-w.burst*w.interval, 0)
	if wait > longest {
		return -1
	}
	w.level += w.interval
	return wait
}

func TestLikeTheSlowTwin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := newPace(t, 1+r.Int64N(50), 1+r.Int64N(5))
		b := bounds{longest: (1 + r.Int64N(4)) * p.interval, waiting: 1 << 40, keys: 100_000}
		fast := newLanes()
		slow := map[string]*twin{}
		now, outcomes := int64(time.Hour), map[string]int{}
		for step := range 2000 {
			now += r.Int64N(p.interval / 2)
			who := fmt.Sprint(r.IntN(3))
			if slow[who] == nil {
				slow[who] = &twin{interval: p.interval, burst: 1 + p.slack/p.interval, seen: now}
			}
			got, want := fast.take(fast.keyOf([]byte(who)), now, b.longest, p, b), slow[who].take(now, b.longest)
			switch {
			case got.refused:
				outcomes["refused"]++
				got.wait = -1
			case got.wait == 0:
				outcomes["at once"]++
			default:
				outcomes["later"]++
			}
			if got.wait != want || got.crowded || got.evicted {
				t.Fatalf("seed %d, step %d: %+v, the twin says %d", seed, step, got, want)
			}
		}
		if outcomes["later"] == 0 || outcomes["at once"] == 0 {
			t.Errorf("seed %d: %v: the test says little", seed, outcomes)
		}
	}
}

func TestRefusalSaysWhen(t *testing.T) {
	t.Parallel()
	p, b := newPace(t, 10, 1), bounds{longest: int64(250 * time.Millisecond), waiting: 100, keys: 1000}
	l, now := newLanes(), int64(time.Hour)
	k := l.keyOf([]byte("x"))
	for range 3 {
		if got := l.take(k, now, b.longest, p, b); got.refused {
			t.Fatalf("%+v", got)
		}
	}
	got := l.take(k, now, b.longest, p, b)
	if !got.refused || got.crowded {
		t.Fatalf("%+v", got)
	}
	now += got.wait - b.longest
	if l.take(k, now-1, b.longest, p, b).refused == false || l.take(k, now, b.longest, p, b).refused {
		t.Error("the refusal does not say when there is room again")
	}
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	p, b := newPace(t, 1, 1), bounds{longest: int64(time.Minute), waiting: 100_000, keys: 1024}
	l, now, evicted := newLanes(), int64(time.Hour), 0
	patient := l.keyOf([]byte("patient"))
	for range 20 {
		l.take(patient, now, b.longest, p, b)
	}
	for i := range 20 * b.keys {
		if l.take(l.keyOf([]byte(fmt.Sprint(i))), now, b.longest, p, b).evicted {
			evicted++
		}
	}
	held := 0
	for i := range l.shards {
		held += len(l.shards[i].empty)
	}
	if held > b.keys || evicted < 18*b.keys {
		t.Errorf("%d keys are held, %d were forgotten too early", held, evicted)
	}
	// Who is as good as absent is forgotten without being counted.
	now += int64(time.Hour)
	for _, i := range slices.Collect(maps.Keys(l.shards[0].empty)) {
		if l.take(key{i[0] + shardCount, i[1]}, now, b.longest, p, b).evicted {
			t.Error("a key whose bucket is empty counts as forgotten too early")
		}
	}
}

// client is the wire of a client that can go away.
type client struct {
	message.Wire
	mu sync.Mutex
	on message.Canceler
}

func (c *client) Await(on message.Canceler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

func (c *client) Arrived() { c.Await(nil) }

// leave is the client's going away.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on != nil {
		c.on.Cancel()
	}
}

// rig is a gateway in a bubble, whose clock goes as that of the bubble does.
type rig struct {
	*policytest.Gateway
	began, last time.Time
}

func newRig(t *testing.T, settings string) *rig {
	return &rig{Gateway: policytest.New(t, "policies:\n  - throttle: "+settings+"\n", Kind), began: time.Now(), last: time.Now()}
}

// request is one that comes now.
func (r *rig) request(c *client, fields ...string) *message.Exchange {
	r.Advance(time.Since(r.last))
	r.last = time.Now()
	x := r.Exchange("GET", "/", fields...)
	x.Begin(c)
	return x
}

// TestSimulation sends requests at random, some of whose clients go away, and looks at the origin
// at when they came: evenly, in order, and nobody waited for too long.
func TestSimulation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const interval, longest, calls = 100 * time.Millisecond, 350 * time.Millisecond, 500
		r := newRig(t, "{ requests: 10, per: 1s, max_wait: 350ms }")
		var mu sync.Mutex
		var arrivals []time.Duration
		r.Origin = func(x *message.Exchange) error {
			mu.Lock()
			arrivals = append(arrivals, time.Since(r.began))
			mu.Unlock()
			x.Response.Status = 200
			return nil
		}
		random := rand.New(rand.NewPCG(4, 5))
		statuses := map[int]int{}
		for range calls {
			c := &client{}
			x, came := r.request(c), time.Now()
			go func() {
				a := r.Serve(x)
				mu.Lock()
				defer mu.Unlock()
				statuses[a.Status]++
				if waited := time.Since(came); waited > longest {
					t.Errorf("a request waited for %s", waited)
				}
			}()
			if random.IntN(8) == 0 {
				go func() {
					time.Sleep(50 * time.Millisecond)
					c.leave()
				}()
			}
			time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.IsSorted(arrivals) {
			t.Error("requests overtook each other")
		}
		for i := 1; i < len(arrivals); i++ {
			if d := arrivals[i] - arrivals[i-1]; d < interval {
				t.Errorf("requests %d and %d came to the origin %s apart", i-1, i, d)
			}
		}
		if statuses[200] != len(arrivals) || statuses[200] == 0 || statuses[429] == 0 || statuses[499] == 0 || statuses[200]+statuses[429]+statuses[499] != calls {
			t.Errorf("%v, of which %d came to the origin", statuses, len(arrivals))
		}
	})
}

func TestBurstAndKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ requests: 2, per: 1s, burst: 3, max_wait: 10s, key: '{request.header.x-tenant}' }")
		for i, want := range []time.Duration{0, 0, 0, 500 * time.Millisecond, 500 * time.Millisecond} {
			came := time.Now()
			r.Serve(r.request(&client{}, "x-tenant", "blue"))
			if waited := time.Since(came); waited != want {
				t.Errorf("request %d waited for %s, expected %s", i, waited, want)
			}
			came = time.Now()
			if r.Serve(r.request(&client{}, "x-tenant", fmt.Sprint(i))); time.Since(came) != 0 {
				t.Errorf("another key waited for %s", time.Since(came))
			}
		}
	})
}

func TestWhoGoesGivesTheTurnBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ requests: 1, per: 10s, max_wait: 1m }")
		r.Serve(r.request(&client{}))
		c := &client{}
		x := r.request(c)
		answer := make(chan *policytest.Answer, 1)
		go func() { answer <- r.Serve(x) }()
		synctest.Wait()
		c.leave()
		if a := <-answer; a.Problem != message.ClientGone {
			t.Errorf("%v", a.Problem)
		}
		came := time.Now()
		if r.Serve(r.request(&client{})); time.Since(came) != 10*time.Second {
			t.Errorf("the next one waited for %s", time.Since(came))
		}
	})
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ requests: 1, per: 3s, max_wait: 1m, max_waiting: 2 }")
		for range 3 {
			x := r.request(&client{})
			go r.Serve(x)
			synctest.Wait()
		}
		a := r.Serve(r.request(&client{}))
		if a.Status != 429 || a.Header.Get("Retry-After") != "9" || !strings.Contains(a.Problem.Detail, "2 requests wait") {
			t.Errorf("%d, Retry-After %q, %v", a.Status, a.Header.Get("Retry-After"), a.Problem)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if a := r.Serve(r.request(&client{})); a.Status != 200 {
			t.Errorf("%d when nobody waits any more", a.Status)
		}
		if n := r.Metrics.Value("sluice_throttle_delayed_total,route=example"); n != 2 {
			t.Errorf("%d were delayed", n)
		}
	})
}

func TestNoWaitPastTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ requests: 1, per: 10s, max_wait: 1m }")
		r.Serve(r.request(&client{}))
		x, came := r.request(&client{}), time.Now()
		x.Deadline = came.Add(9 * time.Second)
		if a := r.Serve(x); a.Status != 429 || time.Since(came) != 0 {
			t.Errorf("%d after %s", a.Status, time.Since(came))
		}
		x = r.request(&client{})
		x.Deadline = came.Add(11 * time.Second)
		if a := r.Serve(x); a.Status != 200 || time.Since(came) != 10*time.Second {
			t.Errorf("%d after %s", a.Status, time.Since(came))
		}
	})
}

// TestTimeBeforeCounts looks at a request that an earlier policy has held back already.
func TestTimeBeforeCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ requests: 1, per: 10s, max_wait: 1m }")
		x := r.request(&client{})
		x.Times.Started = time.Now()
		r.Serve(x)
		y := r.request(&client{})
		y.Times.Started = time.Now()
		time.Sleep(4 * time.Second)
		came := time.Now()
		if r.Serve(y); time.Since(came) != 6*time.Second || !y.Times.Waited || x.Times.Waited {
			t.Errorf("it waited for %s; told so: %t, of one that did not: %t", time.Since(came), y.Times.Waited, x.Times.Waited)
		}
	})
}

// TestPaceAfterAnotherWait has requests that began at one time and were held back together before they came here.
func TestPaceAfterAnotherWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ requests: 1, per: 10s, max_wait: 10s }")
		began := time.Now()
		time.Sleep(time.Minute)
		for i, want := range []time.Duration{0, 10 * time.Second} {
			x := r.request(&client{})
			x.Times.Started, x.Times.Waited = began, true
			came := time.Now()
			if a := r.Serve(x); a.Status != 200 || time.Since(came) != want {
				t.Errorf("request %d: %d after %s, expected %s", i, a.Status, time.Since(came), want)
			}
		}
	})
}

func TestAllocations(t *testing.T) {
	for _, settings := range []string{
		"{ requests: 1000000 }",
		"{ requests: 1, per: 1d, max_wait: 1ms }", // refused
		"{ requests: 1000, per: 1s, burst: 1000, key: '{consumer.name}/{request.header.x-tenant}' }",
		"{ requests: 1000000, per: 1s, max_wait: 1m, key: '{client.address}' }", // waits for microseconds
	} {
		g := policytest.New(t, "policies:\n  - throttle: "+settings+"\n", Kind)
		acme := g.Consumer("acme")
		retry := 0.0
		if strings.Contains(settings, "1d") {
			retry = 1 // the text of a Retry-After of many hours
		}
		policytest.Allocs(t, g, retry, 0, func(x *message.Exchange) {
			g.Fill(x, "GET", "/orders", "x-tenant", "blue")
			x.Facts.Consumer = acme
		})
	}
}

func BenchmarkTake(b *testing.B) {
	l, p := newLanes(), newPace(b, 1_000_000, 1)
	bound := bounds{longest: 1, waiting: 1, keys: 100_000}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		k := l.keyOf([]byte("one for all"))
		for now := int64(time.Hour); pb.Next(); now += 1000 {
			l.take(k, now, 1, p, bound)
		}
	})
}
