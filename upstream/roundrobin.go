package upstream

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// roundRobin walks through a schedule in which each endpoint stands as often as its
// weight says, spread as evenly as can be.
type roundRobin struct {
	endpoints []*Endpoint
	schedule  []uint16
	next      atomic.Uint64
}

// maxSchedule bounds the schedule; where weights would need a longer one endpoints share turns.
const maxSchedule = 4096

func newRoundRobin(endpoints []*Endpoint) balancer {
	classes := classesOf(endpoints, func(weight int) int { return weight })
	divisor, total := 0, 0
	for _, c := range classes {
		divisor = gcd(c.weight, divisor)
		total += c.weight * len(c.members)
	}
	if total/divisor > maxSchedule {
		return newSharedTurns(endpoints, classes)
	}
	for i := range classes {
		classes[i].weight /= divisor
	}
	r := &roundRobin{endpoints: endpoints, schedule: smooth(classes, total/divisor)}
	r.next.Store(rand.Uint64N(uint64(len(r.schedule)))) // Many gateways must not begin with the same one.
	return r
}

func (r *roundRobin) pick(_ hint, tried triedSet) *Endpoint {
	n := uint64(len(r.schedule))
	if tried.n == 0 {
		return r.endpoints[r.schedule[r.next.Add(1)%n]]
	}
	// A further try takes nobody's turn: with two endpoints, one of them down, every
	// request would begin with that one.
	at := r.schedule[rand.Uint64N(n)]
	for i := 0; i < redraws && tried.has(r.endpoints[at]); i++ {
		at = r.schedule[rand.Uint64N(n)]
	}
	return untried(r.endpoints, int(at), tried)
}

// class is what has the same weight.
type class struct {
	weight  int
	members []uint16 // the places of endpoints in their list, in order
}

// classesOf sorts endpoints by what key makes of their weights.
func classesOf(endpoints []*Endpoint, key func(weight int) int) (classes []class) {
	at := map[int]int{}
	for i, e := range endpoints {
		k := key(e.weight)
		c, ok := at[k]
		if !ok {
			c = len(classes)
			at[k] = c
			classes = append(classes, class{weight: k})
		}
		classes[c].members = append(classes[c].members, uint16(i))
	}
	return classes
}

// smooth makes the schedule: at each turn everybody gets credit for the weight; who has the most is
// next and pays the total. This spreads 5,1,1 as a a b a c a a. Those of one class
// take turns among themselves, so it is enough to look at the classes
// (BenchmarkRenew/round_robin: 177 ms → 0.8 ms).
func smooth(classes []class, total int) []uint16 {
	type standing struct{ credit, at int } // of the member whose turn is next in its class
	all := make([]standing, len(classes))
	schedule := make([]uint16, 0, total)
	for range total {
		best := 0
		for i := range all {
			all[i].credit += classes[i].weight
			if d := all[i].credit - all[best].credit; d > 0 || d == 0 && classes[i].members[all[i].at] < classes[best].members[all[best].at] {
				best = i
			}
		}
		s, c := &all[best], &classes[best]
		schedule = append(schedule, c.members[s.at])
		if s.at++; s.at == len(c.members) {
			s.at = 0
			s.credit -= total
		}
	}
	return schedule
}

// sharedTurns is round robin where the weights of all endpoints need too long a schedule: there are
// turns of classes, and the members of a class take them one after the other.
type sharedTurns struct {
	endpoints []*Endpoint
	classes   []turns
	schedule  []uint16 // classes
	next      atomic.Uint64
}

type turns struct {
	members []uint16
	next    atomic.Uint64
}

// maxClasses is how many weights are told apart exactly. With more, weights that differ by no more than a
// sixty-fourth count as equal.
const maxClasses = 256

func newSharedTurns(endpoints []*Endpoint, classes []class) *sharedTurns {
	if len(classes) > maxClasses {
		classes = classesOf(endpoints, rounded)
	}
	s := &sharedTurns{endpoints: endpoints, classes: make([]turns, len(classes))}
	divisor, total := 0, 0
	for i, c := range classes {
		s.classes[i].members = c.members
		s.classes[i].next.Store(rand.Uint64N(uint64(len(c.members))))
		sum := 0
		for _, m := range c.members {
			sum += endpoints[m].weight
		}
		classes[i] = class{sum, []uint16{uint16(i)}}
		divisor = gcd(sum, divisor)
		total += sum
	}
	if total/divisor > maxSchedule {
		divisor = total/maxSchedule + 1
	}
	total = 0
	for i := range classes {
		classes[i].weight = max(classes[i].weight/divisor, 1)
		total += classes[i].weight
	}
	s.schedule = smooth(classes, total)
	s.next.Store(rand.Uint64N(uint64(total)))
	return s
}

// rounded keeps the seven upper bits of a weight.
func rounded(weight int) int {
	shift := max(bits.Len(uint(weight))-7, 0)
	return weight >> shift << shift
}

func (s *sharedTurns) pick(_ hint, tried triedSet) *Endpoint {
	n := uint64(len(s.schedule))
	if tried.n == 0 {
		c := &s.classes[s.schedule[s.next.Add(1)%n]]
		return s.endpoints[c.members[c.next.Add(1)%uint64(len(c.members))]]
	}
	at := s.draw()
	for i := 0; i < redraws && tried.has(s.endpoints[at]); i++ {
		at = s.draw()
	}
	return untried(s.endpoints, at, tried)
}

// draw returns the place of an endpoint, by weight.
func (s *sharedTurns) draw() int {
	c := &s.classes[s.schedule[rand.IntN(len(s.schedule))]]
	return int(c.members[rand.IntN(len(c.members))])
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
