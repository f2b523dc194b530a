package upstream

import (
	"math/rand/v2"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/upstream/hashing"
)

// Hash says how ConsistentHash chooses.
type Hash struct {
	Key   string  // a template: exchanges for which it has the same value go to the same endpoint
	Ring  bool    // a ring in place of a table of Maglev
	Bound float64 // an endpoint gets no more than this times its share of what is under way; 0: as much as comes
}

// parseKey makes the template of a key that was checked when the configuration was compiled.
func (h *Hash) parseKey() *template.Template {
	t, err := template.Parse(h.Key, template.Use{})
	if err != nil {
		return template.Literal("")
	}
	return t
}

// hint is what the choice of an endpoint may depend on. Whose key is empty, because a field
// is missing, say, goes anywhere: all of them at one endpoint would be too many.
func (u *Upstream) hint(x *message.Exchange, now int64) hint {
	h := hint{now: now}
	if u.hashKey == nil {
		return h
	}
	if key := u.hashKey.String(x); key != "" {
		h.hash = hashing.String(key)
	} else {
		h.hash = rand.Uint64()
	}
	return h
}

// circles are the tables of a list of endpoints, made when they are first needed. They have everybody,
// ill or well: so nothing is made anew when an endpoint falls ill, and only its own keys go elsewhere.
type circles struct {
	hash *Hash
	made map[circleKey]*circle
}

// circleKey says of whom a circle is.
type circleKey struct {
	priority int
	part     part
}

// part is a part of a level.
type part uint8

const (
	everywhere part = iota
	nearby          // in the gateway's own zone
	faraway         // in the others
)

// circle is one table.
type circle struct {
	endpoints []*Endpoint
	table     hashing.Table
}

func newCircles(h *Hash) *circles { return &circles{hash: h, made: map[circleKey]*circle{}} }

// of is the circle of some endpoints, which are the same each time for a key.
func (c *circles) of(key circleKey, endpoints []*Endpoint) *circle {
	if made := c.made[key]; made != nil {
		return made
	}
	members := make([]hashing.Member, len(endpoints))
	for i, e := range endpoints {
		members[i] = hashing.Member{Name: e.address, Weight: e.weight}
	}
	made := &circle{endpoints: endpoints}
	if c.hash.Ring {
		made.table = hashing.NewRing(members)
	} else {
		made.table = hashing.NewMaglev(members)
	}
	c.made[key] = made
	return made
}

// consistent gives the same key to the same endpoint.
type consistent struct {
	*circle
	use   []*Endpoint // who can be asked
	ill   bool        // those that are ill can, because all are used
	whole float64     // the weight of use
	bound float64
}

func newConsistent(h *Hash, of *circle, use []*Endpoint, ill bool) *consistent {
	return &consistent{circle: of, use: use, ill: ill, whole: weightOf(use), bound: h.Bound}
}

// longestWalk is how many places are looked at for an endpoint that is well and has room: nearly all
// endpoints of a small upstream are met on the way, and a large one has others.
const longestWalk = 1024

func (c *consistent) pick(h hint, tried triedSet) *Endpoint {
	place := c.table.Place(h.hash)
	total := c.endpoints[0].pool.upstream.active.Load()
	var first *Endpoint // that is well
	for range min(c.table.Len(), longestWalk) {
		e := c.endpoints[c.table.At(place)]
		if c.ill || e.ill.Load() == 0 {
			if first == nil {
				first = e
			}
			if !tried.has(e) && (c.bound == 0 || hashing.Room(e.active.Load(), total, float64(e.weight)/c.whole, c.bound)) {
				return e
			}
		}
		if place++; place == c.table.Len() {
			place = 0
		}
	}
	// Nobody there has room or was not tried, or all are ill.
	if first != nil && !tried.has(first) {
		return first
	}
	return untried(c.use, int(h.hash%uint64(len(c.use))), tried)
}

// peakEWMA takes two at random and uses the one where an answer would come sooner.
type peakEWMA struct{ *weighted }

// Estimates of latency lose their weight in this time, and a failure, however quick, counts
// as an answer that took failureCost longer.
const (
	latencyDecay = 10 * time.Second
	failureCost  = time.Second
)

func (p *peakEWMA) pick(h hint, tried triedSet) *Endpoint {
	a, b := p.weighted.pick(h, tried), p.weighted.pick(h, tried)
	if a == b {
		return a
	}
	// The weights are in the draws; what is under way is compared per weight.
	if b.latency.Cost(h.now, b.active.Load()/int64(b.weight), latencyDecay) < a.latency.Cost(h.now, a.active.Load()/int64(a.weight), latencyDecay) {
		return b
	}
	return a
}

// learn tells the estimate of latency of a try that is over.
func (u *Upstream) learn(e *Endpoint, now int64, took time.Duration, failed bool) {
	if u.config.Balance != PeakEWMA {
		return
	}
	if failed {
		took += failureCost
	}
	e.latency.Observe(now, took, latencyDecay)
}
