package upstream

import (
	"context"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// patience bounds a wait: by longest, and by the deadline of the exchange.
func patience(x *message.Exchange, longest time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), x.Patience(longest))
}

// waitedInVain is the failure of a wait that has ended without success: the client is gone, its
// time is over, or otherwise.
func waitedInVain(x *message.Exchange, otherwise *message.Problem) *http1.Failure {
	switch {
	case x.Wire().Gone():
		return &http1.Failure{Problem: message.ClientGone}
	case x.Expired():
		return &http1.Failure{Problem: message.DeadlineExceeded}
	}
	return &http1.Failure{Problem: otherwise}
}

// limitTime sets the deadline of an exchange: what is allowed for the whole request, and what the
// client has said in a field that it waits for, whichever is sooner. What the client has said is
// read once: for a further upstream the field has what was left at the one before.
func limitTime(x *message.Exchange, req *message.Request, whole time.Duration, field string) {
	if whole > 0 {
		sooner(x, x.Times.Started.Add(began(x)+whole))
	}
	if field == "" {
		return
	}
	if x.ClientDeadline.IsZero() {
		if ms, err := strconv.ParseInt(req.Header.Get(field), 10, 64); err == nil && ms > 0 && ms < longestDeadline {
			x.ClientDeadline = x.Times.Started.Add(time.Duration(ms) * time.Millisecond)
		}
	}
	if !x.ClientDeadline.IsZero() {
		sooner(x, x.ClientDeadline)
	}
}

// tellTime tells the origin of a try what is left when that begins: a wait in the queue, earlier tries and other
// upstreams have had their part. field is the one of limitTime; gRPC has one of its own. A time that is over is never
// told: who is too late is not asked. It costs a look at the clock and a string for each field.
func tellTime(x *message.Exchange, req *message.Request, field string) {
	if x.Deadline.IsZero() {
		return
	}
	left := time.Until(x.Deadline)
	if field != "" {
		req.Header.Set(field, strconv.FormatInt(max(left.Milliseconds(), 1), 10))
	}
	if _, ok := message.ParseGRPCTimeout(req.Header.Get("grpc-timeout")); ok && message.IsGRPC(req) {
		req.Header.Set("grpc-timeout", message.FormatGRPCTimeout(left))
	}
}

// began is when a try begins, as an offset from the exchange. The first one begins with it, unless something
// was waited for: the clock need not be read.
func began(x *message.Exchange) time.Duration {
	if x.Facts.Tries > 0 || x.Times.Connected > 0 || x.Times.Waited {
		return time.Since(x.Times.Started)
	}
	return 0
}

// longestDeadline is what a client may ask for in milliseconds: a day. More is no deadline.
const longestDeadline = 24 * 60 * 60 * 1000

func sooner(x *message.Exchange, by time.Time) {
	if x.Deadline.IsZero() || by.Before(x.Deadline) {
		x.Deadline = by
	}
}

// limitTry makes the end of a try the deadline, up to the head of its answer.
func (u *Upstream) limitTry(x *message.Exchange, began time.Duration) {
	if u.config.TryTimeout > 0 {
		x.LimitTry(x.Times.Started.Add(began + u.config.TryTimeout))
	}
}
