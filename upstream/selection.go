package upstream

import (
	"math/rand/v2"
	"slices"

	"github.com/sluice-gateway/sluice/upstream/sticky"
)

// selection is what can be chosen at a moment: the endpoints that are well, level by
// level and near ones apart. It is immutable; when an endpoint comes, goes, falls ill or
// gets well, another one takes its place (Upstream.choose). So a request sees no more of
// all this than one load and one draw.
type selection struct {
	all     []*Endpoint           // of every level, ill or well, in the order in which they were given
	levels  []level               // those that get requests, the first one first; none where there is no endpoint
	tokens  *sticky.Table[holder] // nil without Sticky
	circles *circles              // with ConsistentHash
	well    float64               // share of all, by weight, that is well
	warm    int64                 // until when endpoints are spared, on the clock of message.Exchange.Now; 0 where none is
}

// level is one priority.
type level struct {
	upTo     uint32 // its share of all requests ends here, of wholeShare
	balancer balancer
	far      balancer // of other zones, for further tries where nobody near is left; nil where there is none
	priority int
	panicked bool // all its endpoints are used because too few are well
}

// wholeShare is what the shares of all levels add up to.
const wholeShare = 1 << 16

// overprovision says how much of a level may be ill before the next one is asked to
// help: with 1.4 a level serves alone as long as five of its seven parts are well.
const overprovision = 1.4

// newSelection sorts endpoints into levels.
func newSelection(c *Config, all []*Endpoint, circles *circles, warm int64) *selection {
	s := &selection{all: all, circles: circles, well: wellShare(all), warm: warm}
	groups := byPriority(all)
	wells, shares := make([][]*Endpoint, len(groups)), make([]float64, len(groups))
	rest := float64(1)
	for i, of := range groups {
		wells[i] = without(of, func(e *Endpoint) bool { return e.ill.Load() != 0 })
		shares[i] = min(weightOf(wells[i])/weightOf(of)*overprovision, rest)
		rest -= shares[i]
	}
	for i, of := range groups {
		use := wells[i]
		// As long as those who are well can serve all, the others are ill indeed.
		panicked := rest > 0 && weightOf(use) < c.PanicThreshold*weightOf(of)
		if panicked {
			use = of
		}
		if len(use) > 0 {
			near, far := s.balancers(c, of, use, panicked)
			s.levels = append(s.levels, level{uint32(shares[i] * wholeShare), near, far, of[0].priority, panicked})
		}
	}
	s.normalise()
	return s
}

// balancers makes those of a level: of those near and of the others, if enough near ones are well; else,
// and where it is not believed who is ill, of all.
func (s *selection) balancers(c *Config, of, use []*Endpoint, panicked bool) (near, far balancer) {
	ours := func(e *Endpoint) bool { return e.zone == c.Zone }
	if c.Zone == "" || panicked {
		return s.balancer(c, of, use, everywhere, panicked), nil
	}
	theirs := func(e *Endpoint) bool { return !ours(e) }
	nearUse, nearAll := without(use, theirs), without(of, theirs)
	if len(nearUse) == 0 || weightOf(nearUse) < c.ZoneMinimum*weightOf(nearAll) {
		return s.balancer(c, of, use, everywhere, false), nil
	}
	near = s.balancer(c, nearAll, nearUse, nearby, false)
	if farUse := without(use, ours); len(farUse) > 0 {
		far = s.balancer(c, without(of, ours), farUse, faraway, false)
	}
	return near, far
}

// balancer makes one of a part of a level.
func (s *selection) balancer(c *Config, of, use []*Endpoint, part part, panicked bool) balancer {
	if c.Balance != ConsistentHash || len(of) == 1 {
		return newBalancer(c, use)
	}
	return newConsistent(&c.Hash, s.circles.of(circleKey{of[0].priority, part}, of), use, panicked)
}

// without is a list without those who are out; the list itself where nobody is.
func without(list []*Endpoint, out func(e *Endpoint) bool) []*Endpoint {
	first := slices.IndexFunc(list, out)
	if first < 0 {
		return list
	}
	kept := append(make([]*Endpoint, 0, len(list)-1), list[:first]...)
	for _, e := range list[first+1:] {
		if !out(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// byPriority groups endpoints by their level, the first level first.
func byPriority(all []*Endpoint) [][]*Endpoint {
	if len(all) > 0 && !slices.ContainsFunc(all, func(e *Endpoint) bool { return e.priority != all[0].priority }) {
		return [][]*Endpoint{all}
	}
	var groups [][]*Endpoint
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *Endpoint) int { return a.priority - b.priority })
	for i, e := range sorted {
		if i == 0 || e.priority != sorted[i-1].priority {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], e)
	}
	return groups
}

// weightOf adds weights up. No endpoint has none.
func weightOf(endpoints []*Endpoint) float64 {
	sum := 0
	for _, e := range endpoints {
		sum += e.weight
	}
	return float64(sum)
}

// normalise makes the shares of the levels add up to the whole. Where no level is well
// the first one takes everything. A level without a share stays if it is well: a further
// try may need it.
func (s *selection) normalise() {
	var sum uint32
	for _, l := range s.levels {
		sum += l.upTo
	}
	if sum == 0 && len(s.levels) > 0 {
		s.levels[0].upTo, sum = wholeShare, wholeShare
	}
	s.levels = slices.DeleteFunc(s.levels, func(l level) bool { return l.upTo == 0 && l.panicked })
	var upTo uint32
	last := 0
	for i := range s.levels {
		if s.levels[i].upTo > 0 {
			last = i
		}
		upTo += uint32(uint64(s.levels[i].upTo) * wholeShare / uint64(sum))
		s.levels[i].upTo = upTo
	}
	for i := last; i < len(s.levels); i++ { // What rounding has lost.
		s.levels[i].upTo = wholeShare
	}
}

// pick chooses an endpoint that was not tried yet if there is any; nil where there is
// none at all. A further try that finds only tried ones in its level, in whatever zone, looks at the others.
func (s *selection) pick(u *Upstream, h hint, tried triedSet) *Endpoint {
	if len(s.levels) == 0 {
		return nil
	}
	if e := tried.wish.endpoint; e != nil && !tried.has(e) && s.willing(e) {
		return e
	}
	at := s.level(u, h)
	e := s.levels[at].pick(h, tried)
	for i := 1; i < len(s.levels) && tried.has(e); i++ {
		other := (at + i) % len(s.levels)
		if o := s.levels[other].pick(h, tried); !tried.has(o) {
			e, at = o, other
		}
	}
	// Who is spared is passed over, as long as there is somebody else.
	for others := tried; s.warm > h.now && !others.full() && e.spared(u, h.now); {
		others.add(e)
		other := s.levels[at].balancer.pick(h, others)
		if others.has(other) {
			break
		}
		e = other
	}
	return e
}

// pick chooses an endpoint of a level, a near one if one was not tried.
func (l *level) pick(h hint, tried triedSet) *Endpoint {
	e := l.balancer.pick(h, tried)
	if l.far != nil && tried.has(e) {
		if o := l.far.pick(h, tried); !tried.has(o) {
			return o
		}
	}
	return e
}

// level draws one of the levels. With ConsistentHash the key draws, so that it stays at its level.
func (s *selection) level(u *Upstream, h hint) int {
	if len(s.levels) == 1 {
		return 0
	}
	n := rand.Uint32N(wholeShare)
	if u.hashKey != nil {
		n = uint32(h.hash >> 48) // Tables mix the hash anew, so this says nothing of the place there.
	}
	for i := range s.levels {
		if n < s.levels[i].upTo {
			return i
		}
	}
	return 0
}
