package upstream

import (
	"context"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/outlier"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// permit is the leave of the breakers for one try. Each is given back, by judge or by
// forget.
type permit struct{ upstream, endpoint uint64 }

// permitted chooses an endpoint that the breakers let through and that has room for one more: vacate gives
// its place back. Without breakers and limits it is one draw.
func (u *Upstream) permitted(x *message.Exchange, resp *message.Response, now int64, tried triedSet) (*Endpoint, permit, *message.Problem) {
	var p permit
	if u.breaker != nil {
		d := u.breaker.Allow(now)
		if !d.OK {
			u.metrics.BreakerRefused(x.Shard, false)
			return nil, p, broken(resp, d.RetryAfter)
		}
		p.upstream = d.Probe
	}
	h := u.hint(x, now)
	var wait time.Duration
	full := false
	for {
		e := u.chosen.Load().pick(u, h, tried)
		if e == nil {
			u.forget(nil, p)
			return nil, p, message.UpstreamNoEndpoint
		}
		if !u.occupy(e) {
			full = true
		} else {
			if e.breaker == nil {
				return e, p, nil
			}
			d := e.breaker.Allow(now)
			if d.OK {
				p.endpoint = d.Probe
				return e, p, nil
			}
			u.vacate(e)
			u.metrics.BreakerRefused(x.Shard, true)
			if wait == 0 || d.RetryAfter < wait {
				wait = d.RetryAfter
			}
		}
		// Who has refused before and is drawn again is the last one of those that are drawn: others are
		// ill, or far away.
		if tried.has(e) || tried.full() || !u.anotherThan(e, tried) {
			tried.add(e)
			return u.lastResort(p, resp, full, now, wait, tried)
		}
		tried.add(e)
	}
}

// lastResort chooses where chance has found breakers that are open, and endpoints that are full. A place is a
// place, even at an endpoint that was tried. Breakers are asked only of those that chance has not found, in
// another zone, say.
func (u *Upstream) lastResort(p permit, resp *message.Response, full bool, now int64, wait time.Duration, tried triedSet) (*Endpoint, permit, *message.Problem) {
	if full {
		tried = triedSet{}
	}
	e, probe := u.occupyAny(now, tried)
	switch {
	case e == nil && full:
		u.forget(nil, p)
		return nil, p, crammed(resp)
	case e == nil:
		u.forget(nil, p)
		return nil, p, broken(resp, wait)
	}
	p.endpoint = probe
	return e, p, nil
}

// anotherThan says whether there is an endpoint whose breaker may let a request through
// and that was not tried. It is asked only when a breaker has refused.
func (u *Upstream) anotherThan(refusing *Endpoint, tried triedSet) bool {
	for _, e := range u.Endpoints() {
		if e != refusing && !tried.has(e) {
			return true
		}
	}
	return false
}

// broken refuses a request on behalf of a breaker, and says when to come back.
func broken(resp *message.Response, after time.Duration) *message.Problem {
	seconds := int64((after + time.Second - 1) / time.Second)
	resp.Header.Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
	return message.UpstreamBroken
}

// judge tells whoever watches an endpoint what became of a try that took until now.
func (u *Upstream) judge(x *message.Exchange, e *Endpoint, p permit, resp *message.Response, failure *http1.Failure, now int64, took time.Duration) {
	if u.breaker == nil && e.breaker == nil && e.member == nil && u.config.Balance != PeakEWMA {
		return
	}
	failed, known := failedTry(x, resp, failure)
	if !known {
		u.forget(e, p)
		return
	}
	if u.breaker != nil {
		u.breaker.Record(now, x.Shard, p.upstream, failed, took)
	}
	if e.breaker != nil {
		e.breaker.Record(now, x.Shard, p.endpoint, failed, took)
	}
	u.learn(e, now, took, failed)
	if e.member != nil {
		e.member.Record(now, failed, took)
	}
}

// forget gives a permit back of which nothing will be known; e is nil where none was had of
// an endpoint.
func (u *Upstream) forget(e *Endpoint, p permit) {
	if u.breaker != nil {
		u.breaker.Forget(p.upstream)
	}
	if e != nil && e.breaker != nil {
		e.breaker.Forget(p.endpoint)
	}
}

// failedTry says whether an endpoint has failed, and whether that can be told at all: a
// client that left, or a gateway that has no room, says nothing of the endpoint.
func failedTry(x *message.Exchange, resp *message.Response, failure *http1.Failure) (failed, known bool) {
	if failure == nil {
		if resp.Status != 200 {
			return resp.Status >= 500, true
		}
		// A call of gRPC that was refused is answered with 200 and a status of its own.
		return message.IsGRPC(&x.Request) && message.GRPCFailed(message.GRPCStatus(&resp.Header)), true
	}
	switch failure.Problem {
	case message.UpstreamBusy, message.OutOfDescriptors, message.DeadlineExceeded:
		return false, false
	}
	return true, failure.Problem.Source == message.SourceUpstream
}

// newBreaker makes the breaker of the upstream, or of an endpoint of it.
func (u *Upstream) newBreaker(endpoint string) *breaker.Breaker {
	c := *u.config.Breaker
	shards := 8
	logger := u.logger
	if endpoint != "" {
		shards, logger = 1, logger.With("endpoint", endpoint)
	}
	c.OnChange = func(change breaker.Change) {
		if change.To == breaker.HalfOpen {
			return // It follows from the open time.
		}
		if change.To == breaker.Closed {
			logger.Info("breaker", "state", change.To.String(), "reason", change.Reason.String())
			return
		}
		u.metrics.BreakerOpened(endpoint != "")
		logger.Warn("breaker", "state", change.To.String(), "reason", change.Reason.String(), "for", change.OpenFor.String(),
			"outcomes", change.Outcomes, "failures", change.Failures, "slow", change.Slow)
	}
	return breaker.New(c, shards)
}

// newOutliers makes the set that ejects endpoints.
func (u *Upstream) newOutliers() *outlier.Set {
	c := *u.config.Ejection
	c.OnChange = func(change outlier.Change) {
		u.markEjected(change.Member)
		if change.Out {
			u.wakeOutliers()
			u.metrics.Ejected(change.Reason.String())
			u.logger.Warn("endpoint ejected", "endpoint", change.Member.Name(), "reason", change.Reason.String(), "for", change.For.String(),
				"value", change.Value, "bound", change.Bound)
			return
		}
		u.logger.Info("endpoint back", "endpoint", change.Member.Name(), "reason", change.Reason.String())
	}
	return outlier.NewSet(c)
}

// markEjected marks the endpoint of a member as that is now: changes may be told in another order than
// they came in, and while the endpoint is about to be used.
func (u *Upstream) markEjected(m *outlier.Member) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, e := range u.Endpoints() {
		if e.member == m {
			u.mark(e, Ejected, m.Out())
		}
	}
}

// wakeOutliers says that somebody has been ejected.
func (u *Upstream) wakeOutliers() {
	select {
	case u.ejected <- struct{}{}:
	default:
	}
}

// tickOutliers takes the verdicts that need time.
func (u *Upstream) tickOutliers(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-u.ejected: // It may return before the timer.
		}
		now := message.Clock()
		timer.Reset(time.Duration(u.outliers.Tick(now) - now))
	}
}
