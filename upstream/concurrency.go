package upstream

import (
	"math/rand/v2"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// Concurrency bounds how many requests wait for the head of their answer at one time.
// Bodies and tunnels do not count: what keeps an origin busy for their sake is not to be
// seen from here.
type Concurrency struct {
	Limiter overload.Config
	Groups  []GroupPriority
	// PerEndpoint is how many may wait at one endpoint; 0 is as many as come. The limiter lets in no more than
	// all that are well may have together, so that mostly one of them has room.
	PerEndpoint int
}

// GroupPriority is the priority of a group of consumers, from 0, the most important.
type GroupPriority struct {
	Group    string
	Priority int
}

// otherPriority is that of all who are in no group that has one, on routes that have none.
const otherPriority = 2

// enter waits until one more try may begin; leave ends it. A problem means that it may not.
// Without a limit it is a nil check, and where there is room one atomic operation.
func (u *Upstream) enter(x *message.Exchange, resp *message.Response) (waited bool, p *message.Problem) {
	if u.limiter == nil || u.limiter.Enter() {
		return false, nil
	}
	began := message.Clock() // Not Now: others may have waited, and the wait here has its own time.
	w, verdict := u.limiter.Queue(began, u.priority(x))
	if w != nil {
		x.Wire().Await(w)
		verdict = w.Wait(x.Patience(u.limiter.Config().Timeout))
		x.Wire().Arrived()
		w.Free()
		x.Times.Connected += time.Duration(message.Clock() - began)
	}
	gone := x.Wire().Gone()
	switch {
	case verdict == overload.Admitted && !gone:
		return true, nil
	case verdict == overload.Admitted:
		u.limiter.Leave(message.Clock(), 0, overload.Ignored)
		return true, message.ClientGone
	case gone:
		return true, message.ClientGone
	case x.Expired():
		return true, message.DeadlineExceeded
	}
	return true, crammed(resp)
}

// crammed refuses a request for which there is no room.
func crammed(resp *message.Response) *message.Problem {
	resp.Header.Set("Retry-After", "1")
	return message.UpstreamOverloaded
}

// occupy takes a place at an endpoint, until vacate, and says whether there was one.
func (u *Upstream) occupy(e *Endpoint) bool {
	if u.perEndpoint == 0 {
		return true
	}
	if e.waiting.Add(1) > u.perEndpoint {
		e.waiting.Add(-1)
		return false
	}
	return true
}

func (u *Upstream) vacate(e *Endpoint) {
	if u.perEndpoint > 0 {
		e.waiting.Add(-1)
	}
}

// occupyAny takes a place at any endpoint that is well, was not tried and has one; nil where there is none. It is
// asked only when chance has not found one, and begins anywhere: the first one must not get all.
func (u *Upstream) occupyAny(now int64, tried triedSet) (e *Endpoint, probe uint64) {
	all := u.Endpoints()
	from := rand.IntN(max(len(all), 1))
	for i := range all {
		e := all[(from+i)%len(all)]
		if e.ill.Load() != 0 || tried.has(e) || !u.occupy(e) {
			continue
		}
		if e.breaker == nil {
			return e, 0
		}
		if d := e.breaker.Allow(now); d.OK {
			return e, d.Probe
		}
		u.vacate(e)
	}
	return nil, 0
}

// limitEndpoints tells the limiter how much all endpoints may have together. It is called when they change.
func (u *Upstream) limitEndpoints(all []*Endpoint) {
	if u.perEndpoint == 0 {
		return
	}
	well := int64(0)
	for _, e := range all {
		if e.ill.Load() == 0 {
			well++
		}
	}
	if well == 0 {
		well = int64(len(all))
	}
	u.limiter.SetCeiling(message.Clock(), well*u.perEndpoint)
}

// priority is the best one among the groups of the consumer, or else the route's.
func (u *Upstream) priority(x *message.Exchange) int {
	best, consumer := otherPriority-int(x.Facts.Precedence), x.Facts.Consumer
	if consumer == nil {
		return best
	}
	found := false
	for i := range u.config.Concurrency.Groups {
		g := &u.config.Concurrency.Groups[i]
		for _, group := range consumer.Groups {
			if group == g.Group && (!found || g.Priority < best) {
				best, found = g.Priority, true
			}
		}
	}
	return best
}

// leave ends what enter let begin. It tells the limiter how long the try took, where that
// says something of how busy the origin is.
func (u *Upstream) leave(now int64, took time.Duration, outcome overload.Outcome) {
	if u.limiter != nil {
		u.limiter.Leave(now, took, outcome)
	}
}

// measurable says whether the time of a try is the origin's: one with a long body, or one of
// which the length is not known, takes as long as its client takes to send it.
func measurable(req *message.Request) bool {
	if req.Body == nil {
		return true
	}
	n := req.Body.Length()
	return n >= 0 && n <= shortBody
}

// shortBody is the length of a body that comes with its head, or right after.
const shortBody = 16 << 10

// busyness is what a try says of how busy the origin is.
func busyness(resp *message.Response, failure *http1.Failure, measurable bool) overload.Outcome {
	if failure != nil {
		if failure.Problem == message.UpstreamTimeout || failure.Problem == message.UpstreamConnectTime {
			return overload.Dropped
		}
		return overload.Ignored
	}
	switch {
	case resp.Status == 503 || resp.Status == 429:
		return overload.Dropped
	case resp.Status >= 500 || !measurable: // To fail is quick.
		return overload.Ignored
	}
	return overload.Served
}

// Load is what the limiter of an upstream looks like; false where there is none.
func (u *Upstream) Load() (overload.View, bool) {
	if u.limiter == nil {
		return overload.View{}, false
	}
	return u.limiter.View(), true
}
