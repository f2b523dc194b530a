package traffic

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/sluice-gateway/sluice/unit"
)

// Retry says when and how often a request is sent again.
type Retry struct {
	Attempts int                `default:"1" min:"0" max:"10" doc:"How often a request is sent again at most; 0: never."`
	On       unit.List[RetryOn] `default:"[connect_failure, reset]" doc:"What makes a request be sent again: connect_failure; reset: the connection ended before the answer; timeout: of timeouts.try or timeouts.response; a status such as \"503\", or 5xx; a gRPC status such as grpc:unavailable. What the origin may have seen is sent again only if its method is idempotent."`
	Methods  unit.List[string]  `max:"20" pattern:"^[A-Z][A-Z-]{0,31}$" doc:"Methods that may be sent again although they are not idempotent, such as POST: the origins must know how to bear it."`
	Body     unit.Size          `default:"64KiB" max:"16MiB" doc:"A request's body of at most this length is read before it is sent, where it may have to be sent again; a longer one, and one whose length is not known, makes the request be sent once."`
	Backoff  Backoff            `doc:"How long to wait before a request is sent again."`
	Budget   unit.Share         `default:"20%" doc:"The share of requests that may be sent again, of those under way and of those of the last 10s: so that retries do not become the load that an ill upstream dies of."`
	// BudgetMinimum lets an upstream with few requests have retries at all.
	BudgetMinimum int `default:"3" min:"0" max:"10000" doc:"How many may be sent again in any case, at one time and within 10s."`
}

// Backoff says how long to wait before a request is sent again.
type Backoff struct {
	Base       unit.Duration `default:"25ms" min:"1ms" max:"1m" doc:"The longest wait before the first further try; it doubles with each. The wait is drawn evenly from nothing up to that."`
	Max        unit.Duration `default:"250ms" min:"1ms" max:"1m" doc:"The longest wait before any further try."`
	RetryAfter unit.Duration `default:"1s" min:"0s" max:"5m" doc:"The longest Retry-After of an origin that is waited for; where it asks for more its answer is passed on."`
}

// Validate is called by the decoder.
func (r *Retry) Validate() error {
	if r.Attempts > 0 && len(r.On) > 0 && r.Budget == 0 {
		return unit.At("budget", errors.New("with a budget of 0% nothing is sent again: give it a share, or write attempts: 0"))
	}
	return nil
}

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
