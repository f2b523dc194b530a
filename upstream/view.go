package upstream

import (
	"time"

	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/outlier"
)

// EndpointHealth is what is known of how an endpoint does, for status and metrics.
type EndpointHealth struct {
	State     string    // "healthy", or the worst of Illnesses
	Illnesses []string  // why it is passed over: "unhealthy", "ejected"
	Since     time.Time // when that became so; of one that was never ill, when it came

	Checked    time.Time // when it was last asked whether it is well; zero: not yet
	CheckError error     // what was wrong then

	Ejection *outlier.View // nil where nobody is ejected
	Breaker  *breaker.View // nil where it has none
}

// illnesses are the words for them, the worst one first.
var illnesses = [...]struct {
	illness Illness
	word    string
}{{Unhealthy, "unhealthy"}, {Ejected, "ejected"}}

// State is "healthy", or why the endpoint is passed over.
func (e *Endpoint) State() string {
	ill := Illness(e.ill.Load())
	for _, i := range illnesses {
		if ill&i.illness != 0 {
			return i.word
		}
	}
	return "healthy"
}

// Health is what is known at a moment, on the clock of message.Exchange.Now. It takes locks.
func (e *Endpoint) Health(now int64) EndpointHealth {
	h := EndpointHealth{State: e.State(), Since: time.UnixMilli(e.since.Load())}
	ill := Illness(e.ill.Load())
	for _, i := range illnesses {
		if ill&i.illness != 0 {
			h.Illnesses = append(h.Illnesses, i.word)
		}
	}
	if c := e.checked.Load(); c != nil {
		h.Checked, h.CheckError = c.at, c.err
	}
	if e.member != nil {
		v := e.member.View(now)
		h.Ejection = &v
	}
	if e.breaker != nil {
		v := e.breaker.View(now)
		h.Breaker = &v
	}
	return h
}

// BreakerState is that of an endpoint's breaker; false where it has none. It takes no lock.
func (e *Endpoint) BreakerState() (breaker.State, bool) {
	if e.breaker == nil {
		return breaker.Closed, false
	}
	return e.breaker.State(), true
}

// Breaker is what the upstream's own breaker looks like; false where there is none.
func (u *Upstream) Breaker(now int64) (breaker.View, bool) {
	if u.breaker == nil {
		return breaker.View{}, false
	}
	return u.breaker.View(now), true
}
