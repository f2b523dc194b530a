package traffic

import (
	"errors"
	"fmt"

	"github.com/sluice-gateway/sluice/unit"
)

// Breaker says when nobody is asked any more for a while.
type Breaker struct {
	Scope           unit.List[string] `enum:"endpoint,upstream" default:"[endpoint]" doc:"Whose failures count together: an endpoint's, so that the others go on, or those of the whole upstream; or both."`
	FailureShare    unit.Share        `default:"50%" doc:"The share of failures at which it opens: no connection, no answer, or a status from 500 to 599; 0%: never."`
	SlowShare       unit.Share        `default:"0%" doc:"The share of slow answers at which it opens; 0%: never."`
	SlowAfter       unit.Duration     `default:"1s" min:"1ms" max:"1h" doc:"What takes longer until its head comes is slow."`
	Window          unit.Duration     `default:"10s" min:"1s" max:"1h" doc:"The time over which is counted."`
	MinimumRequests int               `default:"20" min:"1" max:"1000000" doc:"The requests in the window below which it stays closed."`
	Open            unit.Duration     `default:"5s" min:"10ms" max:"1h" doc:"How long it stays open the first time; twice as long each time that a probe fails."`
	MaxOpen         unit.Duration     `default:"1m" min:"10ms" max:"1d" doc:"The longest that it stays open."`
	Probes          int               `default:"1" min:"1" max:"1000" doc:"The requests that are let through at one time to find out whether it can be closed."`
	Successes       int               `default:"3" min:"1" max:"1000" doc:"The probes that must succeed for it to close."`
}

// Validate is called by the decoder.
func (b *Breaker) Validate() error {
	if b.FailureShare == 0 && b.SlowShare == 0 {
		return errors.New("nothing here opens the breaker: give failure_share or slow_share")
	}
	if b.MaxOpen < b.Open {
		return unit.Problem("max_open", fmt.Sprintf("the longest time, %s, is shorter than the first one, %s of open: make it longer", b.MaxOpen, b.Open))
	}
	return nil
}
