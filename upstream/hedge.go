package upstream

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/detached"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// Hedge says when a request goes to another endpoint as well, because the one that was asked takes
// long. The zero value is never.
type Hedge struct {
	After   time.Duration // without the head of an answer; again after each further one
	Max     int           // how many more endpoints, 1 to mostHedges
	Methods string        // those that may be under way twice at one time, each followed by a space
}

// mostHedges is the largest Hedge.Max.
const mostHedges = 3

// hedges says whether requests of this method may be hedged at all.
func (u *Upstream) hedges(method string) bool {
	return u.config.Retry.Hedge.After > 0 && listed(u.config.Retry.Hedge.Methods, method)
}

// hedgeable says the same of a request: it must be possible to send all of it twice.
func (u *Upstream) hedgeable(req *message.Request) bool {
	return u.config.Retry.Hedge.After > 0 && req.Upgrade == "" && req.Whole() && u.hedges(req.Method)
}

// race is a request that is under way at several endpoints at one time. Each asks for it on a
// goroutine and a detached call of its own; the goroutine of the exchange waits for the first good
// answer. It implements message.Canceler.
//
// A race costs seven allocations, and only requests that may be hedged pay for it: the goroutines of those that have lost
// may end after the exchange has, and the collector knows best when nobody needs it any more.
type race struct {
	upstream *Upstream
	results  chan *leg     // has room for all
	gone     chan struct{} // gets a value when the client has gone; has room for one
	legs     [1 + mostHedges]leg
	begun    int
	over     int
	body     wonBody
}

// leg is one try of a race. It implements workers.Job.
//
// The goroutine of the exchange has a hold on its call until it knows the winner, the worker until the try
// is over: the last one closes the answer.
type leg struct {
	race     *race
	call     *detached.Call
	endpoint *Endpoint
	leave    permit
	began    time.Duration
	hedge    bool

	// Written by the worker before the result is sent.
	failure  *http1.Failure
	panicked string

	known bool // the result was received
}

// hedgedTry asks one endpoint, for which leave was given, and others if it takes long. All are added to
// tried. It returns the endpoint that has answered, or the first one.
func (u *Upstream) hedgedTry(x *message.Exchange, e *Endpoint, leave permit, req *message.Request, resp *message.Response, tried *triedSet) (*Endpoint, *http1.Failure) {
	r := &race{upstream: u, results: make(chan *leg, 1+mostHedges), gone: make(chan struct{}, 1)}
	tried.add(e)
	r.begin(detached.New(x, req), e, leave, began(x), false)
	timer := time.NewTimer(u.config.Retry.Hedge.After)
	x.Wire().Await(r)
	winner := r.await(x, req, tried, timer)
	x.Wire().Arrived()
	timer.Stop()
	r.giveUp(x, winner)
	if winner == nil {
		return e, &http1.Failure{Problem: message.ClientGone, Sent: true}
	}
	if winner.panicked != "" {
		winner.call.Free()
		panic(winner.panicked)
	}
	return winner.endpoint, r.deliver(x, resp, winner)
}

// begin has a worker ask an endpoint.
func (r *race) begin(call *detached.Call, e *Endpoint, leave permit, began time.Duration, hedge bool) {
	l := &r.legs[r.begun]
	r.begun++
	l.race, l.call, l.endpoint, l.leave, l.began, l.hedge = r, call, e, leave, began, hedge
	call.Exchange().Facts.Upstream, call.Exchange().Facts.Endpoint = r.upstream.config.Name, e.address
	call.Share()
	r.upstream.workers.Do(l)
}

// Run implements workers.Job.
func (l *leg) Run() {
	defer l.finish()
	y := l.call.Exchange()
	l.failure = l.race.upstream.timedTry(y, l.endpoint, l.leave, &y.Request, &y.Response, l.began)
}

// finish tells the goroutine of the exchange, which panics in the place of the worker.
func (l *leg) finish() {
	if reason := recover(); reason != nil {
		l.panicked = fmt.Sprintf("%v, in a try of a hedged request: %s", reason, debug.Stack())
	}
	if l.hedge {
		l.race.upstream.budget.Return()
	}
	l.race.results <- l
	l.call.Free()
}

// await returns the first leg with a good answer, or, where none is good, one with an answer, or
// one without. It returns nil where the client has gone.
func (r *race) await(x *message.Exchange, req *message.Request, tried *triedSet, timer *time.Timer) (best *leg) {
	hedge := &r.upstream.config.Retry.Hedge
	for {
		select {
		case l := <-r.results:
			l.known = true
			r.over++
			if l.panicked != "" || l.good() {
				return l
			}
			if best == nil || best.failure != nil && l.failure == nil {
				best = l
			}
			if r.over == r.begun {
				return best
			}
		case <-timer.C:
			if r.hedge(x, req, tried) && r.begun <= hedge.Max {
				timer.Reset(hedge.After)
			}
		case <-r.gone:
			return nil
		}
	}
}

// Cancel implements message.Canceler.
func (r *race) Cancel() {
	select {
	case r.gone <- struct{}{}:
	default:
	}
}

// good says whether an answer is one that a client is to have: no further try is wanted after it.
func (l *leg) good() bool {
	if l.failure != nil {
		return false
	}
	on := &l.race.upstream.config.Retry.On
	resp := &l.call.Exchange().Response
	return !on.Status(resp.Status) && (!on.HasGRPC() || !on.GRPC(message.GRPCStatus(&resp.Header)))
}

// hedge asks one more endpoint, if there is one that was not asked, and if the limit of concurrency and
// the budget have room: a request that has been sent never waits for leave to be sent once more. It says
// whether that was so.
func (r *race) hedge(x *message.Exchange, req *message.Request, tried *triedSet) bool {
	u := r.upstream
	if x.Expired() {
		return false
	}
	now := message.Clock()
	if u.limiter != nil && !u.limiter.Enter() {
		u.metrics.HedgeRefused(x.Shard)
		return false
	}
	call := detached.New(x, req)
	e, leave, problem := u.permitted(call.Exchange(), &call.Exchange().Response, now, *tried)
	another := problem == nil && !tried.has(e)
	if another && u.budget.Take(now, u.active.Load()+1) {
		tried.add(e)
		r.begin(call, e, leave, time.Duration(now-x.Now()), true)
		return true
	}
	if another {
		u.metrics.HedgeRefused(x.Shard)
	}
	if problem == nil {
		u.vacate(e)
		u.forget(e, leave)
	}
	u.leave(now, 0, overload.Ignored)
	call.Free()
	return false
}

// giveUp lets go of all legs but the winner, and counts. A leg that is still under way is cancelled: its
// connection is closed, or its stream reset, and its endpoint is not blamed.
func (r *race) giveUp(x *message.Exchange, winner *leg) {
	for i := range r.begun {
		l := &r.legs[i]
		switch {
		case l.known:
			x.Facts.Tries += l.call.Exchange().Facts.Tries
		default:
			x.Facts.Tries++
			l.call.Cancel()
		}
		switch {
		case !l.hedge:
		case l == winner && l.good():
			r.upstream.metrics.HedgeWon(x.Shard)
		default:
			r.upstream.metrics.HedgeLost(x.Shard)
		}
		if l == winner {
			continue
		}
		if l.known && l.failure == nil {
			l.call.Exchange().Response.Drop()
		}
		l.call.Free()
	}
}

// deliver moves the outcome of a leg to the exchange.
func (r *race) deliver(x *message.Exchange, resp *message.Response, l *leg) *http1.Failure {
	y := l.call.Exchange()
	x.Facts.Endpoint = l.endpoint.address
	x.Times.Connected += y.Times.Connected
	if l.failure != nil {
		resp.Reset()
		l.call.Free()
		return l.failure
	}
	x.Times.FirstByte = y.Times.FirstByte
	from := &y.Response
	resp.Status, resp.Length, resp.Early = from.Status, from.Length, from.Early
	resp.Header.CopyFrom(&from.Header)
	if from.Body == nil {
		l.call.Free()
		return nil
	}
	r.body = wonBody{wire: x.Wire(), call: l.call, inner: from.Body}
	resp.SetStream(&r.body)
	return nil
}

// wonBody is the answer's body of the call that has won. It implements message.Body, message.Ready and
// message.Waiter.
//
// It has the hold of the goroutine of the exchange on the call, until Close.
type wonBody struct {
	wire  message.Wire // the client's
	call  *detached.Call
	inner message.Body // a message.Guard
}

// Next implements message.Body. A client that goes away ends the wait.
func (b *wonBody) Next() ([]byte, error) {
	if b.Ready() {
		return b.inner.Next()
	}
	b.wire.Await(b.call)
	defer b.wire.Arrived()
	return b.inner.Next()
}

// Ready implements message.Ready.
func (b *wonBody) Ready() bool {
	ready, ok := b.inner.(message.Ready)
	return ok && ready.Ready()
}

// Wait implements message.Waiter.
func (b *wonBody) Wait(d time.Duration) bool {
	waiter, ok := b.inner.(message.Waiter)
	if !ok || b.Ready() {
		return true
	}
	b.wire.Await(b.call)
	defer b.wire.Arrived()
	return waiter.Wait(d)
}

// Length implements message.Body.
func (b *wonBody) Length() int64 { return b.inner.Length() }

// Trailer implements message.Body.
func (b *wonBody) Trailer() *message.Header { return b.inner.Trailer() }

// Close implements message.Body. The guard before it calls it once.
func (b *wonBody) Close() error {
	err := b.inner.Close()
	b.call.Free()
	return err
}
