package faultinjection

import (
	"sync/atomic"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// dice are thrown once for each request. What falls depends on the seed and on how many
// requests came before, so it is the same in each run, and on nothing that a client sends.
type dice struct {
	seed   uint64
	thrown atomic.Uint64
}

// throw returns what fell for the next request.
func (d *dice) throw() throw { return throw(mix(d.seed + d.thrown.Add(1)*0x9e3779b97f4a7c15)) }

// throw is one throw of the dice. Faults look at it from different sides: what one meets says
// nothing of another.
type throw uint64

// side is evenly spread over all numbers.
func (t throw) side(of uint64) uint64 { return mix(uint64(t) ^ (of+1)*0xd1342543de82ef95) }

// mix spreads each bit of z over all others: the finalizer of SplitMix64 (Steele, Lea and
// Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// The sides of a throw.
const (
	sideDelay uint64 = iota
	sideDelayTime
	sideAbort
	sideReset
	sideBandwidth
)

// chance says which requests meet a fault, and counts them. A nil one is never met.
type chance struct {
	side    uint64
	share   uint64 // in millionths
	header  *Header
	counter *meter.Counter
}

func newChance(side uint64, share unit.Share, header *Header, counter *meter.Counter) *chance {
	return &chance{side: side, share: uint64(share), header: header, counter: counter}
}

// met says whether this request meets the fault.
func (c *chance) met(x *message.Exchange, t throw) bool {
	if c == nil || t.side(c.side)%uint64(unit.Whole) >= c.share || !c.header.matches(&x.Request.Header) {
		return false
	}
	c.counter.Add(x.Shard, 1)
	return true
}

// matches says whether a request has the field; without a condition it always does.
func (h *Header) matches(fields *message.Header) bool {
	if h == nil {
		return true
	}
	for i := range fields.Fields() {
		f := &fields.Fields()[i]
		if message.EqualFold(f.Name, h.Name) && (h.Value == "" || f.Value == h.Value) {
			return true
		}
	}
	return false
}
