package traffic

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/sluice-gateway/sluice/unit"
)

// Retry says when and how often a request is sent again.
type Retry struct {
	Attempts int                `default:"1" min:"0" max:"10" doc:"How often a request is sent again at most; 0: never."`
	On       unit.List[RetryOn] `default:"[connect_failure, reset]" doc:"What makes a request be sent again: connect_failure; reset: the connection ended before the answer, or what came is none; timeout: of timeouts.try or timeouts.response; a status such as \"503\", or 5xx; a gRPC status such as grpc:unavailable. What the origin may have seen is sent again only if its method is idempotent."`
	Methods  unit.List[string]  `max:"20" pattern:"^[A-Z][A-Z-]{0,31}$" form:"a method in capital letters, at most 32 long" doc:"Methods that may be sent again although they are not idempotent, such as POST: the origins must know how to bear it."`
	Body     unit.Size          `default:"64KiB" max:"16MiB" doc:"A request's body of at most this length is read before it is sent, where it may have to be sent again; a longer one, and one of unknown length that has not come as a whole, makes the request be sent once."`
	Backoff  Backoff            `doc:"How long to wait before a request is sent again."`
	Budget   unit.Share         `default:"20%" doc:"The share of the requests of the last 10s that may be sent again, and after a timeout also of those under way: so that retries do not become the load that an ill upstream dies of."`
	// BudgetMinimum lets an upstream with few requests have retries at all.
	BudgetMinimum int    `default:"3" min:"0" max:"10000" doc:"How many may be sent again in any case within 10s, and after a timeout at one time. 0: only the share counts."`
	Hedge         *Hedge `doc:"When a request goes to another endpoint as well, because the answer takes long; absent: never."`
}

// Hedge says when a request goes to two endpoints at one time.
type Hedge struct {
	After   unit.Duration     `required:"true" min:"1ms" max:"1m" doc:"How long the head of an answer is waited for before another endpoint is asked as well; and again before one more is. Choose what nineteen of twenty answers do not take."`
	Max     int               `default:"1" min:"1" max:"3" doc:"How many more endpoints are asked at most. Each costs the budget of retries."`
	Methods unit.List[string] `default:"[GET, HEAD, OPTIONS]" min:"1" max:"20" pattern:"^[A-Z][A-Z-]{0,31}$" form:"a method in capital letters, at most 32 long" doc:"The methods of which two may be under way at one time. What is given up may be done all the same, and later than the client expects; so each must be idempotent, or stand in methods of retry."`
}

// Backoff says how long to wait before a request is sent again.
type Backoff struct {
	Base       unit.Duration `default:"25ms" min:"1ms" max:"1m" doc:"The longest wait before the first further try; it doubles with each. The wait is drawn evenly from nothing up to that."`
	Max        unit.Duration `default:"250ms" min:"1ms" max:"1m" doc:"The longest wait before any further try; no less than base."`
	RetryAfter unit.Duration `default:"1s" min:"0s" max:"5m" doc:"The longest Retry-After of an origin that is waited for; where it asks for more its answer is passed on. 0s: none is waited for."`
}

// Validate is called by the decoder.
func (r *Retry) Validate() error {
	if r.Attempts > 0 && len(r.On) > 0 && r.Budget == 0 {
		return unit.At("budget", errors.New("with a budget of 0% nothing is sent again: give it a share, or write attempts: 0"))
	}
	if r.Hedge == nil {
		return nil
	}
	if r.Budget == 0 {
		return unit.At("budget", errors.New("with a budget of 0% nothing is sent to a second endpoint: give it a share, or leave hedge out"))
	}
	for _, method := range r.Hedge.Methods {
		if !idempotent[method] && !slices.Contains(r.Methods, method) {
			return unit.At("hedge", fmt.Errorf("%s is not idempotent, so it may not be under way twice: leave it out, or vouch for it in methods of retry", method))
		}
	}
	return nil
}

// idempotent are the methods that may be repeated (RFC 9110 §9.2.2).
var idempotent = map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true}

// RetryOn is what makes a request be sent again.
type RetryOn string

// retryOn is how it is written.
var retryOn = regexp.MustCompile(`^(connect_failure|reset|timeout|[45][0-9][0-9]|[45]xx|grpc:[a-z_]+)$`)

// Form says how it is written.
func (RetryOn) Form() unit.Form {
	return unit.Form{
		Name:    "condition",
		Is:      `connect_failure, reset, timeout, a status from "400" to "599" in quotes, 4xx, 5xx, or a gRPC status such as grpc:unavailable`,
		Pattern: retryOn.String(),
	}
}

// UnmarshalText reads it.
func (r *RetryOn) UnmarshalText(text []byte) error {
	if !retryOn.Match(text) {
		return fmt.Errorf("%q is not %s", text, r.Form().Is)
	}
	*r = RetryOn(text)
	return nil
}

func (r RetryOn) String() string { return string(r) }
