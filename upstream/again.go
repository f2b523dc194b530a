package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/retry"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// again says whether a request is to be sent once more: that is wanted, safe and within the
// budget. It waits as long as the backoff says; a client that leaves meanwhile is the
// problem. Where it is sent again resp is empty. Those that were asked are in tried.
func (u *Upstream) again(x *message.Exchange, req *message.Request, resp *message.Response, failure *http1.Failure, attempt int, tried *triedSet) (bool, *message.Problem) {
	c := &u.config.Retry
	if attempt >= c.Attempts || c.On.Empty() {
		return false, nil
	}
	t, ok := u.tryOf(x, req, resp, failure)
	if !ok || !c.On.Wants(&t) {
		return false, nil
	}
	elsewhere := refused(failure) && u.untriedWell(tried)
	wait, ok := u.delay(x, resp, &t, attempt+1)
	if elsewhere {
		wait = 0
	}
	if !ok || x.Patience(wait) < wait { // There is no time for it: what came is passed on at once.
		return false, nil
	}
	if !u.afford(&t, elsewhere) {
		u.metrics.RetryRefused(x.Shard)
		return false, nil
	}
	u.metrics.Retried(x.Shard)
	if failure == nil {
		resp.Drop()
	}
	if wait > 0 && !pause(x, wait) {
		u.budget.Return()
		return false, message.ClientGone
	}
	return true, nil
}

// afford asks the budget for a further try. One that goes elsewhere because nobody was there
// to notice the last one is free: an endpoint that is down would use the budget up, and
// the origins get no more than they would without.
func (u *Upstream) afford(t *retry.Try, elsewhere bool) bool {
	switch {
	case elsewhere:
		u.budget.Grant()
		return true
	case t.Outcome == retry.Timeout: // The origin may be busy with it still.
		return u.budget.Take(message.Clock(), u.active.Load()+1)
	}
	return u.budget.Replace(message.Clock())
}

// refused says that a connection was refused: nobody is there, or nobody listens. One that
// took too long is another matter, since somebody may have been too busy to accept it.
func refused(f *http1.Failure) bool {
	if f == nil || f.Problem != message.UpstreamConnect {
		return false
	}
	var op *net.OpError
	return errors.As(f.Cause, &op) && op.Op == "dial"
}

// untriedWell says whether there is an endpoint that is well and was not asked.
func (u *Upstream) untriedWell(tried *triedSet) bool {
	for _, e := range u.Endpoints() {
		if e.ill.Load() == 0 && !tried.has(e) {
			return true
		}
	}
	return false
}

// tryOf describes a try that is over; false where no further one can make sense.
func (u *Upstream) tryOf(x *message.Exchange, req *message.Request, resp *message.Response, failure *http1.Failure) (t retry.Try, ok bool) {
	t = retry.Try{
		GRPC:       retry.NoGRPC,
		Committed:  x.Wire().Started(),
		Repeatable: message.Idempotent(req.Method) || u.vouched(req.Method),
	}
	if failure == nil {
		t.Outcome, t.Status, t.Sent, t.Began, t.Whole = retry.Answered, resp.Status, true, true, req.Rewind()
		if u.config.Retry.On.HasGRPC() {
			t.GRPC = message.GRPCStatus(&resp.Header)
		}
		return t, true
	}
	t.Sent, t.Began, t.Whole = failure.Sent, failure.Answered, sendable(failure, req)
	switch failure.Problem {
	case message.UpstreamConnect, message.UpstreamConnectTime, message.UpstreamBusy:
		t.Outcome = retry.ConnectFailure
	case message.UpstreamClosed:
		t.Outcome = retry.Reset
		if !failure.Sent { // The connection was gone before: as if none could be had.
			t.Outcome = retry.ConnectFailure
		}
	case message.UpstreamTimeout:
		t.Outcome = retry.Timeout
	default:
		return t, u.otherFailure(&t, failure)
	}
	return t, true
}

// otherFailure describes a try that has failed with a problem that has a detail; false where no further one
// can make sense. What is no answer is as if none had come; and an endpoint that does not speak what is
// wanted was not reached, unless it has seen the request.
func (u *Upstream) otherFailure(t *retry.Try, failure *http1.Failure) bool {
	switch failure.Problem.Code {
	case message.UpstreamMalformed.Code:
		t.Outcome, t.Began = retry.Reset, false
		return true
	case message.UpstreamProtocol.Code:
		t.Outcome = retry.ConnectFailure
		return !failure.Sent
	}
	return false
}

// vouched says whether the configuration vouches for a method.
func (u *Upstream) vouched(method string) bool { return listed(u.config.Retry.Vouched, method) }

// listed says whether a method is one of a list in which each is followed by a space.
func listed(list, method string) bool {
	for rest := list; rest != ""; {
		var word string
		if word, rest, _ = strings.Cut(rest, " "); word == method {
			return true
		}
	}
	return false
}

// delay is how long to wait before a further try; false where it would be in vain before
// the time that the origin has named. Where the origin was not reached at all the first
// further try comes at once: nobody is overloaded by that.
func (u *Upstream) delay(x *message.Exchange, resp *message.Response, t *retry.Try, try int) (time.Duration, bool) {
	if t.Outcome == retry.Answered {
		if named, ok := resp.Header.Lookup("Grpc-Retry-Pushback-Ms"); ok && t.GRPC != retry.NoGRPC {
			return u.config.Retry.Backoff.Pushback(named)
		}
		if named := resp.Header.Get("Retry-After"); named != "" {
			if after, ok := retry.ParseAfter(named, time.Now()); ok {
				return u.config.Retry.Backoff.DelayAfter(try, rand.Uint64(), after)
			}
		}
	}
	if t.Outcome == retry.ConnectFailure && try == 1 {
		return 0, true
	}
	return u.config.Retry.Backoff.Delay(try, rand.Uint64()), true
}

// pause waits, and says whether the client is still there.
func pause(x *message.Exchange, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	x.Wire().Await(cancelFunc(cancel))
	<-ctx.Done()
	x.Wire().Arrived()
	return !x.Wire().Gone()
}

// replays says whether a request may be sent twice after it was sent once.
func (u *Upstream) replays(req *message.Request) bool {
	c := &u.config.Retry
	if c.Attempts > 0 && c.On.AfterSent() &&
		(message.Idempotent(req.Method) || u.vouched(req.Method) || c.On.HasGRPC() && message.IsGRPC(req)) {
		return true
	}
	return u.hedges(req.Method)
}

// prepareReplay reads a body that is short enough to be kept, where a try may fail after it
// was sent, or go to two endpoints. One whose length is not known is not waited for: it is kept
// where all of it is there, as it is of most calls of gRPC.
func (u *Upstream) prepareReplay(x *message.Exchange, req *message.Request) error {
	c := &u.config.Retry
	if req.Body == nil || c.BodyLimit == 0 || c.Attempts == 0 && c.Hedge.After == 0 || !u.replays(req) {
		return nil
	}
	x.Times.Waited = true
	return req.KeepBody(c.BodyLimit)
}
