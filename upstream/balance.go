package upstream

import (
	"math/rand/v2"
)

// Balance is how an endpoint is chosen.
type Balance uint8

const (
	RoundRobin     Balance = iota // one after the other, smoothly by weight
	LeastRequest                  // the less busy of two chosen at random
	Random                        // by weight
	PeakEWMA                      // of two chosen at random the one that would answer sooner
	ConsistentHash                // the same key, the same endpoint
)

func (b Balance) String() string {
	return [...]string{"round_robin", "least_request", "random", "peak_ewma", "consistent_hash"}[b]
}

// triedSet remembers the endpoints that were asked in vain. It is passed by value, so
// that it stays on the stack.
type triedSet struct {
	endpoints [maxTries]*Endpoint
	n         int
	wish      holder // with Sticky: who is asked as long as it was not tried
}

// maxTries is how often one request may be sent: attempts is at most ten.
const maxTries = 11

func (t *triedSet) add(e *Endpoint) {
	if t.n < maxTries && !t.has(e) {
		t.endpoints[t.n] = e
		t.n++
	}
}

// full says that no other endpoint can be remembered.
func (t *triedSet) full() bool { return t.n == maxTries }

func (t *triedSet) has(e *Endpoint) bool {
	for i := range t.n {
		if t.endpoints[i] == e {
			return true
		}
	}
	return false
}

// hint is what a balancer may look at of the exchange for which it chooses.
type hint struct {
	now  int64  // message.Exchange.Now
	hash uint64 // of the key, with ConsistentHash
}

// balancer chooses one of a fixed list of endpoints, one that was not tried yet if there
// is any. The list is never empty.
type balancer interface {
	pick(h hint, tried triedSet) *Endpoint
}

// newBalancer makes the balancer of a list, which is kept, but for ConsistentHash.
func newBalancer(c *Config, endpoints []*Endpoint) balancer {
	switch {
	case len(endpoints) == 1:
		return onlyEndpoint{endpoints[0]}
	case c.Balance == LeastRequest:
		return &leastRequest{newWeighted(endpoints)}
	case c.Balance == PeakEWMA:
		return &peakEWMA{newWeighted(endpoints)}
	case c.Balance == Random:
		return newWeighted(endpoints)
	}
	return newRoundRobin(endpoints)
}

type onlyEndpoint struct{ endpoint *Endpoint }

func (o onlyEndpoint) pick(hint, triedSet) *Endpoint { return o.endpoint }

// redraws is how often chance is asked again where it has hit an endpoint that was tried: were the next in
// the list taken at once, it would have that one's share too.
const redraws = 8

// untried looks for an endpoint that was not asked yet, from a given place on, and
// falls back to the one at that place.
func untried(endpoints []*Endpoint, from int, tried triedSet) *Endpoint {
	if tried.n == 0 {
		return endpoints[from]
	}
	for i := range endpoints {
		if e := endpoints[(from+i)%len(endpoints)]; !tried.has(e) {
			return e
		}
	}
	return endpoints[from]
}

// weighted chooses at random by weight.
type weighted struct {
	endpoints []*Endpoint
	upTo      []uint64 // sums of weights
}

func newWeighted(endpoints []*Endpoint) *weighted {
	w := &weighted{endpoints: endpoints, upTo: make([]uint64, 0, len(endpoints))}
	var sum uint64
	for _, e := range endpoints {
		sum += uint64(e.weight)
		w.upTo = append(w.upTo, sum)
	}
	return w
}

// draw returns the place of one of them.
func (w *weighted) draw() int {
	n := rand.Uint64N(w.upTo[len(w.upTo)-1])
	lo, hi := 0, len(w.upTo)-1
	for lo < hi {
		if mid := (lo + hi) / 2; w.upTo[mid] > n {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

func (w *weighted) pick(_ hint, tried triedSet) *Endpoint {
	at := w.draw()
	for n := 0; n < redraws && tried.has(w.endpoints[at]); n++ {
		at = w.draw()
	}
	return untried(w.endpoints, at, tried)
}

// leastRequest takes two at random and uses the one with less to do for its
// weight: nearly as good as looking at all, and without a herd (Mitzenmacher,
// "The Power of Two Choices in Randomized Load Balancing").
type leastRequest struct{ *weighted }

func (l *leastRequest) pick(h hint, tried triedSet) *Endpoint {
	a, b := l.weighted.pick(h, tried), l.weighted.pick(h, tried)
	// Where both are idle the draw decides, in which the weights are already; the load
	// is compared per weight.
	if b.active.Load()*int64(a.weight) < a.active.Load()*int64(b.weight) {
		return b
	}
	return a
}
