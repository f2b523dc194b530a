package upstream

import (
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
}

// GroupPriority is the priority of a group of consumers, from 0, the most important.
type GroupPriority struct {
	Group    string
	Priority int
}

// otherPriority is that of all who are in no group that has one.
const otherPriority = 2

// enter waits until one more try may begin; leave ends it. A problem means that it may not.
// Without a limit it is a nil check, and where there is room one atomic operation.
func (u *Upstream) enter(x *message.Exchange, resp *message.Response, now int64) (waited bool, p *message.Problem) {
	if u.limiter == nil || u.limiter.Enter() {
		return false, nil
	}
	began := time.Now()
	w, verdict := u.limiter.Queue(now, u.priority(x.Facts.Consumer))
	if w != nil {
		x.Wire().Await(w)
		verdict = w.Wait(x.Patience(u.limiter.Config().Timeout))
		x.Wire().Arrived()
		w.Free()
		x.Times.Connected += time.Since(began)
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
	resp.Header.Set("Retry-After", "1")
	return true, message.UpstreamOverloaded
}

// priority is the best one among a consumer's groups.
func (u *Upstream) priority(consumer *message.Consumer) int {
	best := otherPriority
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
