package upstream

import (
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// identity is what makes an endpoint the same in two lists.
type identity struct {
	address string
	secure  bool
}

func (e *Endpoint) identity() identity { return identity{e.address, e.secure} }

// heritage is what is known of endpoints that others replace.
type heritage map[identity]*Endpoint

// Adopt takes over what the upstream that this one replaces knows of endpoints that both have: who is
// ill, is not asked because a reload has changed a timeout. Connections are not taken over. It is called
// before Start, after Inherit.
func (u *Upstream) Adopt(before *Upstream) {
	if !u.config.speaksAs(&before.config) {
		return
	}
	now := message.Clock()
	if u.breaker != nil && before.breaker != nil {
		u.breaker.Adopt(before.breaker, now)
	}
	known := heritage{}
	for _, e := range before.Endpoints() {
		known[e.identity()] = e
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.Endpoints()
	if len(all) == 0 {
		u.heritage = known // The source of endpoints has yet to tell them.
		return
	}
	for _, e := range all {
		u.continueAs(e, known, now)
	}
	u.renew()
}

// speaksAs says whether endpoints are spoken to in the same way. If not, what was known of them may have
// been the fault of that.
func (c *Config) speaksAs(d *Config) bool {
	return c.Protocol == d.Protocol && c.TLS == d.TLS && c.ProxyProtocol == d.ProxyProtocol
}

// continueAs makes a new endpoint go on where the one is that it replaces; one without is a
// newcomer. The endpoint is not used yet.
func (u *Upstream) continueAs(e *Endpoint, known heritage, now int64) {
	from := known[e.identity()]
	if from == nil {
		e.began.Store(now)
		return
	}
	e.began.Store(from.began.Load())
	e.latency.Adopt(&from.latency)
	var ill Illness
	before := &from.pool.upstream.config
	// What was the answer to another question says nothing.
	if u.config.Health != nil && before.Health != nil && u.config.Health.Probe.Equal(before.Health.Probe) {
		ill |= Illness(from.ill.Load()) & Unhealthy
		e.checked.Store(from.checked.Load())
	}
	if e.member != nil && from.member != nil && e.member.Adopt(from.member, now) {
		ill |= Ejected
		u.wakeOutliers()
	}
	if e.breaker != nil && from.breaker != nil {
		e.breaker.Adopt(from.breaker, now)
	}
	e.ill.Store(uint32(ill))
	e.since.Store(time.Now().UnixMilli())
	if from.ill.Load() == uint32(ill) {
		e.since.Store(from.since.Load())
	}
}
