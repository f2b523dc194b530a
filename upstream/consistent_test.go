package upstream

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

func hashed(n int, h Hash) *Upstream {
	c := Config{Balance: ConsistentHash, Hash: h}
	for i := range n {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: fmt.Sprintf("10.0.0.%d:80", i+1)})
	}
	return New(c, &counts{}, nil)
}

// fromUser is an exchange of somebody.
func fromUser(user string) *message.Exchange {
	x := exchange(&wire{}, "GET", nil)
	if user != "" {
		x.Request.Header.Set("X-User", user)
	}
	return x
}

func (u *Upstream) chosenFor(x *message.Exchange, tried ...*Endpoint) *Endpoint {
	var set triedSet
	for _, e := range tried {
		set.add(e)
	}
	return u.chosen.Load().pick(u, u.hint(x, 0), set)
}

func TestConsistentHash(t *testing.T) {
	t.Parallel()
	for _, ring := range []bool{false, true} {
		u := hashed(5, Hash{Key: "{request.header.x-user}", Ring: ring})
		used := map[*Endpoint]int{}
		for i := range 200 {
			user := fmt.Sprint("user-", i)
			e := u.chosenFor(fromUser(user))
			used[e]++
			for range 3 {
				if u.chosenFor(fromUser(user)) != e {
					t.Fatal("the same user goes elsewhere")
				}
			}
			other := u.chosenFor(fromUser(user), e)
			if other == e || u.chosenFor(fromUser(user), e) != other {
				t.Fatal("a further try goes to the same, or each time to another")
			}
		}
		if len(used) != 5 {
			t.Errorf("ring %v: users are on %d of 5 endpoints", ring, len(used))
		}
		anywhere := map[*Endpoint]bool{}
		for range 200 {
			anywhere[u.chosenFor(fromUser(""))] = true
		}
		if len(anywhere) != 5 {
			t.Errorf("those without a key go to %d of 5 endpoints", len(anywhere))
		}
	}
}

// TestKeyStaysAtItsLevel is a level that serves a part of the requests only: always the same part.
func TestKeyStaysAtItsLevel(t *testing.T) {
	t.Parallel()
	described := "a b c d e f@1 g@1"
	u := standing(Config{Balance: ConsistentHash, Hash: Hash{Key: "{request.header.x-user}"}}, described)
	before := map[string]*Endpoint{}
	for ill := range 5 {
		if ill > 0 {
			u.Mark(u.Endpoints()[ill-1], Ejected, true)
		}
		counts := map[int]int{}
		for i := range 1000 {
			user := fmt.Sprint("user-", i)
			e := u.chosenFor(fromUser(user))
			for range 3 {
				if u.chosenFor(fromUser(user)) != e {
					t.Fatalf("%d are ill: the same user goes elsewhere", ill)
				}
			}
			if was := before[user]; was != nil && was.ill.Load() == 0 && was != e && (was.priority == 1 || e.priority == 0) {
				t.Fatalf("%d are ill: %s has moved from %s to %s for nothing", ill, user, was.address, e.address)
			}
			before[user] = e
			counts[e.priority]++
		}
		if want := 1000 * min(1.4*float64(5-ill)/5, 1); math.Abs(float64(counts[0])-want) > 50 {
			t.Errorf("%d are ill: the first level has %d of 1000 users, want about %v", ill, counts[0], want)
		}
	}
}

func TestConsistentHashWhenOneFallsIll(t *testing.T) {
	t.Parallel()
	u := hashed(5, Hash{Key: "{request.header.x-user}"})
	before := map[string]*Endpoint{}
	for i := range 500 {
		before[fmt.Sprint(i)] = u.chosenFor(fromUser(fmt.Sprint(i)))
	}
	ill := u.Endpoints()[2]
	u.Mark(ill, Ejected, true)
	moved := 0
	for user, e := range before {
		now := u.chosenFor(fromUser(user))
		if now == ill {
			t.Fatal("the ill one is asked")
		}
		if e != ill && now != e {
			moved++
		}
	}
	if moved > 50 {
		t.Errorf("%d of 500 users moved without need", moved)
	}
	u.Mark(ill, Ejected, false)
	for user, e := range before {
		if u.chosenFor(fromUser(user)) != e {
			t.Fatal("a user does not come back")
		}
	}
}

func TestBoundedLoad(t *testing.T) {
	t.Parallel()
	u := hashed(4, Hash{Key: "{request.header.x-user}", Bound: 1.25})
	for range 400 { // All of one user.
		u.chosenFor(fromUser("one")).enter()
	}
	for _, e := range u.Endpoints() {
		if n := e.Active(); n > 126 || n < 20 {
			t.Errorf("%s has %d of 400", e.Address(), n)
		}
	}
	unbounded := hashed(4, Hash{Key: "{request.header.x-user}"})
	for range 400 {
		unbounded.chosenFor(fromUser("one")).enter()
	}
	if n := unbounded.chosenFor(fromUser("one")).Active(); n != 400 {
		t.Errorf("without a bound %d of 400", n)
	}
}

func TestPeakEWMA(t *testing.T) {
	t.Parallel()
	u := New(Config{Balance: PeakEWMA, Endpoints: []EndpointConfig{{Address: "10.0.0.1:80"}, {Address: "10.0.0.2:80"}, {Address: "10.0.0.3:80"}}}, &counts{}, nil)
	all := u.Endpoints()
	u.learn(all[0], 1, 10*time.Millisecond, false)
	u.learn(all[1], 1, 200*time.Millisecond, false)
	u.learn(all[2], 1, time.Millisecond, true) // Quick to fail.
	n := map[*Endpoint]int{}
	for range 3000 {
		n[u.chosenFor(fromUser(""))]++
	}
	// The quick one wins each pair that it is in: five of nine.
	if n[all[0]] < 1400 || n[all[1]] < n[all[2]] || n[all[2]] > 500 {
		t.Errorf("%d, %d, %d", n[all[0]], n[all[1]], n[all[2]])
	}
}

// The real thing learns from answers.
func TestPeakEWMALearns(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, _ := newUpstream(t, Config{Balance: PeakEWMA, Endpoints: []EndpointConfig{{Address: o.address}}})
	if _, _, err := ask(u, exchange(&wire{}, "GET", nil)); err != nil {
		t.Fatal(err)
	}
	if u.Endpoints()[0].latency.Value(message.Clock(), latencyDecay) <= 0 {
		t.Error("nothing was learned")
	}
}

func TestConsistentHashAllocatesNothing(t *testing.T) {
	u := hashed(5, Hash{Key: "{request.header.x-user}", Bound: 1.25})
	x := fromUser("somebody")
	if n := testing.AllocsPerRun(100, func() { u.chosenFor(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
