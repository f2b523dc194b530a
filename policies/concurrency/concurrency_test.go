package concurrency

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"{}":                               `"limit" is missing`,
		"{ limit: 0 }":                     "at least 1",
		"{ limit: 1, wait: 2m }":           "at most 1m",
		"{ limit: 1, queue: 0 }":           "at least 1",
		"{ limit: 1, status: 500 }":        "503",
		"{ limit: 1, retry_after: 1ms }":   "at least 1s",
		"{ limit: 1, max_keys: 1 }":        "at least 1000",
		"{ limit: 1, key: '{consumer}' }":  "consumer",
		"{ limit: 1, key: '{upstream}' }":  "upstream",
		"{ limit: 1, key: '{client.adr}'}": "client.address",
	} {
		g, err := policytest.Build("policies:\n  - concurrency: "+settings+"\n", Kind)
		if err == nil {
			_ = g.Close()
			t.Errorf("%s was accepted", settings)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.yaml:2:") {
			t.Errorf("%s: the error is %v, expected %q and a place", settings, err, want)
		}
	}
}

// client is the wire of a client that can go away.
type client struct {
	message.Wire
	mu   sync.Mutex
	on   message.Canceler
	gone bool
}

func (c *client) Await(on message.Canceler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

func (c *client) Arrived() { c.Await(nil) }

func (c *client) Gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// leave is the client's going away.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	if c.on != nil {
		c.on.Cancel()
	}
}

// rig is a gateway in a bubble whose origin answers when it is told to.
type rig struct {
	*policytest.Gateway
	t       *testing.T
	release chan struct{}
	asked   atomic.Int32
}

func newRig(t *testing.T, settings string) *rig {
	r := &rig{Gateway: policytest.New(t, "policies:\n  - concurrency: "+settings+"\n", Kind), t: t, release: make(chan struct{})}
	r.Origin = func(x *message.Exchange) error {
		r.asked.Add(1)
		<-r.release
		x.Response.Status = 200
		x.Response.SetBody([]byte("done"))
		return nil
	}
	return r
}

// call sends a request in the background and returns where its answer will stand.
func (r *rig) call(c *client, fields ...string) chan *policytest.Answer {
	x := r.Exchange("GET", "/", fields...)
	x.Begin(c)
	answer := make(chan *policytest.Answer, 1)
	go func() { answer <- r.Serve(x) }()
	synctest.Wait()
	return answer
}

// expect compares the status of an answer that must be there.
func (r *rig) expect(answer chan *policytest.Answer, status int) *policytest.Answer {
	r.t.Helper()
	synctest.Wait()
	select {
	case a := <-answer:
		if a.Status != status {
			r.t.Errorf("the answer is %d, expected %d", a.Status, status)
		}
		return a
	default:
		r.t.Fatal("there is no answer")
		return nil
	}
}

// idle fails the test if a place was not given back.
func (r *rig) idle() {
	r.t.Helper()
	entered, left := r.Metrics.Value("sluice_concurrency_entered_total,route=example"), r.Metrics.Value("sluice_concurrency_left_total,route=example")
	if entered != left {
		r.t.Errorf("%d entered, %d left", entered, left)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ limit: 2, status: 429, retry_after: 1500ms }")
		a, b := r.call(&client{}), r.call(&client{})
		c := r.expect(r.call(&client{}), 429)
		if c.Problem.Code != "concurrency_limited" || c.Header.Get("Retry-After") != "2" {
			t.Errorf("the refusal is %v, Retry-After %q", c.Problem, c.Header.Get("Retry-After"))
		}
		r.release <- struct{}{}
		synctest.Wait()
		d := r.call(&client{})
		close(r.release)
		for _, answer := range []chan *policytest.Answer{a, b, d} {
			r.expect(answer, 200)
		}
		r.idle()
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ limit: 1, key: '{request.header.x-tenant}' }")
		blue, red := r.call(&client{}, "x-tenant", "blue"), r.call(&client{}, "x-tenant", "red")
		r.expect(r.call(&client{}, "x-tenant", "blue"), 503)
		nobody := r.call(&client{})
		r.expect(r.call(&client{}), 503)
		close(r.release)
		for _, answer := range []chan *policytest.Answer{blue, red, nobody} {
			r.expect(answer, 200)
		}
		r.idle()
	})
}

func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ limit: 1, wait: 1s, queue: 2 }")
		first := r.call(&client{})
		second, third := r.call(&client{}), r.call(&client{})
		if full := r.expect(r.call(&client{}), 503); strings.Contains(full.Problem.Detail, "waiting") {
			t.Errorf("the queue was full, and the problem says %q", full.Problem.Detail)
		}
		time.Sleep(900 * time.Millisecond)
		r.release <- struct{}{}
		r.expect(first, 200)
		if n := r.asked.Load(); n != 2 {
			t.Errorf("the origin was asked %d times, expected the second request", n)
		}
		time.Sleep(100 * time.Millisecond)
		if late := r.expect(third, 503); !strings.Contains(late.Problem.Detail, "1s of waiting") {
			t.Errorf("the problem says %q", late.Problem.Detail)
		}
		close(r.release)
		r.expect(second, 200)
		if n := r.Metrics.Value("sluice_concurrency_waited_total,route=example"); n != 2 {
			t.Errorf("%d waited", n)
		}
		r.idle()
	})
}

func TestClientGoesWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ limit: 1, wait: 1m }")
		first := r.call(&client{})
		leaver := &client{}
		second, third := r.call(leaver), r.call(&client{})
		began := time.Now()
		leaver.leave()
		if gone := r.expect(second, 499); gone.Problem != message.ClientGone {
			t.Errorf("the problem is %v", gone.Problem)
		}
		if time.Since(began) != 0 {
			t.Errorf("it waited for another %s", time.Since(began))
		}
		close(r.release)
		r.expect(first, 200)
		r.expect(third, 200)
		if n := r.Metrics.Value("sluice_concurrency_refused_total,route=example"); n != 0 {
			t.Errorf("%d were refused", n)
		}
		r.idle()
	})
}

func TestDeadlineEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ limit: 1, wait: 1m }")
		first := r.call(&client{})
		x := r.Exchange("GET", "/")
		x.Begin(&client{})
		x.Deadline = time.Now().Add(time.Second)
		began := time.Now()
		if a := r.Serve(x); a.Status != 503 || time.Since(began) != time.Second || !x.Times.Waited {
			t.Errorf("%d after %s, told so: %t", a.Status, time.Since(began), x.Times.Waited)
		}
		close(r.release)
		r.expect(first, 200)
		r.idle()
	})
}

// TestReload counts what began before a reload, and ends it after it.
func TestReload(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, "policies:\n  - concurrency: { limit: 1 }\n", Kind)
	before, x := g.Hooks(), g.Exchange("GET", "/")
	if before.OnRequest(x) != message.Next {
		t.Fatal("the first was refused")
	}
	if err := g.Reload("config.yaml", "policies:\n  - concurrency: { limit: 2 }\n"); err != nil {
		t.Fatal(err)
	}
	after, y, z := g.Hooks(), g.Exchange("GET", "/"), g.Exchange("GET", "/")
	if after.OnRequest(y) != message.Next || after.OnRequest(z) == message.Next {
		t.Error("what went on before the reload was not counted")
	}
	before.OnDone(x)
	before.OnDone(x) // The engine does it once; twice must not free somebody else's place.
	if w := g.Exchange("GET", "/"); after.OnRequest(w) != message.Next || after.OnRequest(z) == message.Next {
		t.Error("the place was not given back exactly once")
	}
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	s := newSlots()
	const maxKeys = 1024
	verdicts := map[verdict]int{}
	var held []key
	for i := range 4 * maxKeys {
		k := s.keyOf([]byte(fmt.Sprint(i)))
		v := s.enter(k, 1, 1, maxKeys, nil)
		verdicts[v]++
		if v == admitted {
			held = append(held, k)
		}
	}
	if verdicts[admitted] != maxKeys || verdicts[uncounted] != 3*maxKeys {
		t.Errorf("%v", verdicts)
	}
	for _, k := range held {
		s.leave(k)
	}
	for i := range s.shards {
		if n := len(s.shards[i].slots); n != 0 {
			t.Errorf("shard %d still has %d keys", i, n)
		}
	}
}

// TestManyAtOnce lets clients of a few keys come, wait, go away and be served at random, and
// counts at the origin.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit, keys, calls = 3, 4, 600
		g := policytest.New(t, fmt.Sprintf("policies:\n  - concurrency: { limit: %d, wait: 20ms, queue: 10, key: '{request.header.x-key}' }\n", limit), Kind)
		var going [keys]atomic.Int32
		g.Origin = func(x *message.Exchange) error {
			at := &going[x.Request.Header.Get("x-key")[0]-'0']
			if n := at.Add(1); n > limit {
				t.Errorf("%d at one time", n)
			}
			time.Sleep(time.Duration(len(x.Request.Path)) * time.Millisecond)
			at.Add(-1)
			x.Response.Status = 200
			return nil
		}
		r := rand.New(rand.NewPCG(1, 2))
		var statuses sync.Map
		for range calls {
			x := g.Exchange("GET", "/"+strings.Repeat("x", r.IntN(12)), "x-key", fmt.Sprint(r.IntN(keys)))
			c := &client{}
			x.Begin(c)
			go func() {
				n, _ := statuses.LoadOrStore(g.Serve(x).Status, new(atomic.Int32))
				n.(*atomic.Int32).Add(1)
			}()
			if r.IntN(10) == 0 {
				patience := time.Duration(r.IntN(10)) * time.Millisecond
				go func() {
					time.Sleep(patience)
					c.leave()
				}()
			}
			time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
		}
		time.Sleep(time.Second)
		sum := int32(0)
		for _, status := range []int{200, 503, 499} {
			n, ok := statuses.Load(status)
			if !ok {
				t.Fatalf("nobody got %d: the test says nothing", status)
			}
			sum += n.(*atomic.Int32).Load()
		}
		if sum != calls {
			t.Errorf("%d answers to %d calls", sum, calls)
		}
		(&rig{Gateway: g, t: t}).idle()
	})
}

func TestAllocations(t *testing.T) {
	for _, settings := range []string{
		"{ limit: 10 }",
		"{ limit: 10, wait: 1s, key: '{client.address}' }",
		"{ limit: 10, key: '{consumer.name}/{request.header.x-tenant}' }",
	} {
		g := policytest.New(t, "policies:\n  - concurrency: "+settings+"\n", Kind)
		acme := g.Consumer("acme")
		done := g.Hooks().OnDone
		// A place is given back before the next request, since only OnRequest is called in the first part.
		policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) {
			done(x)
			g.Fill(x, "GET", "/orders", "x-tenant", "blue")
			x.Facts.Consumer = acme
		})
	}
}

func BenchmarkEnterAndLeave(b *testing.B) {
	s := newSlots()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		k := s.keyOf([]byte("one for all"))
		for pb.Next() {
			if s.enter(k, 1_000_000, 1, 1000, nil) == admitted {
				s.leave(k)
			}
		}
	})
}
