package upstream

import (
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// RoundTrip sends req and fills resp with the head of the answer; resp.Body streams the
// rest. The error is a *message.Problem. It runs on the goroutine of the
// exchange and waits for the origin there; a client that goes away ends the wait.
func (u *Upstream) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error {
	x.Facts.Upstream, x.Facts.UpstreamGroup = u.config.Name, ""
	limitTime(x, req, u.config.RequestTimeout, u.config.DeadlineField)
	if err := u.prepareReplay(x, req); err != nil {
		return err
	}
	now := x.Moment()
	u.budget.Request(now, x.Shard)
	tried := triedSet{wish: u.recall(req)}
	for attempt := 0; ; attempt++ {
		e, failure, problem := u.permittedTry(x, req, resp, now, attempt > 0, &tried)
		if problem != nil {
			return problem
		}
		tried.add(e)
		again, gone := u.again(x, req, resp, failure, attempt, &tried)
		switch {
		case again:
			now = message.Clock()
		case gone != nil:
			return gone
		case failure != nil:
			return failure.Problem
		default:
			u.stick(x, e, tried.wish, resp)
			return nil
		}
	}
}

// permittedTry asks one endpoint, if the time, the limit of concurrency and the breakers
// allow it; else the problem says why it was not asked. What the budget has given for a further try is given back,
// also where a panic passes.
func (u *Upstream) permittedTry(x *message.Exchange, req *message.Request, resp *message.Response, now int64, further bool, tried *triedSet) (*Endpoint, *http1.Failure, *message.Problem) {
	if further {
		defer u.budget.Return()
	}
	if x.Expired() {
		return nil, nil, message.DeadlineExceeded
	}
	waited, problem := u.enter(x, resp)
	if problem != nil {
		return nil, nil, problem
	}
	if waited {
		now = message.Clock()
	}
	e, leave, problem := u.permitted(x, resp, now, *tried)
	if problem != nil {
		u.leave(now, 0, overload.Ignored)
		return nil, nil, problem
	}
	x.Facts.Endpoint = e.address
	if u.hedgeable(req) {
		e, failure := u.hedgedTry(x, e, leave, req, resp, tried)
		return e, failure, nil
	}
	return e, u.timedTry(x, e, leave, req, resp, began(x)), nil
}

// timedTry asks one endpoint, within the time of one try, and has it judged. The try began that long
// after the exchange did.
func (u *Upstream) timedTry(x *message.Exchange, e *Endpoint, leave permit, req *message.Request, resp *message.Response, began time.Duration) *http1.Failure {
	returned := false
	defer u.panicked(e, leave, &returned)
	measurable := measurable(req)
	tellTime(x, req, u.config.DeadlineField)
	u.limitTry(x, began)
	failure := u.try(x, e, req, resp, began)
	x.EndTry()
	u.vacate(e) // Before the limiter lets in somebody who needs the place.
	returned = true
	if failure == nil {
		u.leave(x.Now()+int64(x.Times.FirstByte), x.Times.FirstByte-began, busyness(resp, nil, measurable))
		u.judge(x, e, leave, resp, nil, x.Now()+int64(x.Times.FirstByte), x.Times.FirstByte-began)
		return nil
	}
	late := failure.Problem == message.DeadlineExceeded && !x.Expired()
	if late {
		failure.Problem = message.UpstreamTimeout // Of this try: another one may do better.
	}
	over := time.Since(x.Times.Started)
	if late && !req.Whole() { // It may be the client who was slow, with its body.
		u.leave(x.Now()+int64(over), over-began, overload.Ignored)
		u.forget(e, leave)
		return failure
	}
	u.leave(x.Now()+int64(over), over-began, busyness(resp, failure, measurable))
	u.judge(x, e, leave, resp, failure, x.Now()+int64(over), over-began)
	return failure
}

// panicked gives back the leave for a try through which a panic passed, from a body that a
// policy has wrapped, say.
func (u *Upstream) panicked(e *Endpoint, leave permit, returned *bool) {
	if !*returned {
		u.vacate(e)
		u.leave(message.Clock(), 0, overload.Ignored)
		u.forget(e, leave)
	}
}

// tryHTTP1 asks one endpoint over HTTP/1.1. A pooled connection that turns out to be dead costs
// nothing but the look at it: the next one is taken, and at last a new one.
func (u *Upstream) tryHTTP1(x *message.Exchange, e *Endpoint, req *message.Request, resp *message.Response, began time.Duration) *http1.Failure {
	fresh := false
	for {
		conn, failure := e.pool.take(x, fresh)
		if failure != nil {
			return failure
		}
		pooled := conn.Used() > 0
		x.Facts.Tries++
		failure = e.roundTrip(conn, x, req, resp)
		u.count(x, resp, failure, began)
		if failure == nil || !pooled || !diedUnused(failure, req) || !sendable(failure, req) {
			return failure
		}
		// A connection that had taken the request may have been closed because of it:
		// only a new connection tells.
		fresh = fresh || failure.Sent
	}
}

// tryHTTP2 is the same over HTTP/2.
func (u *Upstream) tryHTTP2(x *message.Exchange, e *Endpoint, req *message.Request, resp *message.Response, began time.Duration) *http1.Failure {
	x.Facts.Tries++
	failure := e.h2.roundTrip(x, req, resp)
	u.count(x, resp, failure, began)
	return failure
}

// count counts a request that was sent, or not.
func (u *Upstream) count(x *message.Exchange, resp *message.Response, failure *http1.Failure, began time.Duration) {
	switch {
	case failure == nil:
		x.Times.FirstByte = time.Since(x.Times.Started)
		u.metrics.Answered(x.Shard, resp.Status, x.Times.FirstByte-began)
	case failure.Sent:
		u.metrics.Unanswered(x.Shard)
	default:
		x.Facts.Tries-- // The origin was not asked.
	}
}

// diedUnused says that a pooled connection was dead, and that the request may go
// over another one (RFC 9110 §9.2.2, RFC 9112 §9.3.1): not a byte of it was sent, or not
// a byte of the answer came and the method may be repeated.
func diedUnused(f *http1.Failure, req *message.Request) bool {
	if f.Problem != message.UpstreamClosed {
		return false
	}
	return !f.Sent || !f.Answered && message.Idempotent(req.Method)
}

// sendable says whether the request is whole, and makes its body ready to be sent
// again: one that streams is whole as long as nothing was sent, because nothing
// of it was taken.
func sendable(f *http1.Failure, req *message.Request) bool { return req.Rewind() || !f.Sent }
