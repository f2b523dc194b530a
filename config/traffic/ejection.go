package traffic

import (
	"errors"
	"fmt"

	"github.com/sluice-gateway/sluice/unit"
)

// Ejection says which endpoints are taken out because of how they answer, and for how long.
type Ejection struct {
	Consecutive       int           `default:"5" min:"0" max:"10000" doc:"Failures in a row after which an endpoint is ejected: no connection, no answer, or a status from 500 to 599; 0: that does not count."`
	FailureShare      unit.Share    `default:"0%" doc:"The share of failures in an interval at which an endpoint is ejected; 0%: that does not count."`
	SuccessDeviations unit.Factor   `default:"0x" doc:"How many standard deviations the share of successes of an endpoint must be below the mean of all, such as 1.9x; 0x: that does not count."`
	Latency           unit.Factor   `default:"0x" doc:"How many times the median of its peers the latency of an endpoint must be, such as 3x; 0x: that does not count."`
	Interval          unit.Duration `default:"10s" min:"100ms" max:"1h" doc:"What all but consecutive look at."`
	MinimumRequests   int           `default:"50" min:"1" max:"1000000" doc:"The requests that an endpoint must have had in the interval to be judged by it."`
	Time              unit.Duration `default:"30s" min:"100ms" max:"1d" doc:"How long the first ejection lasts; the second one lasts twice as long, and so on."`
	MaxTime           unit.Duration `default:"5m" min:"100ms" max:"1d" doc:"The longest ejection."`
	MaxShare          unit.Share    `default:"50%" min:"1%" doc:"The share of endpoints that may be out at one time: one at least, and one always stays."`
}

// Validate is called by the decoder.
func (e *Ejection) Validate() error {
	if e.Consecutive == 0 && e.FailureShare == 0 && e.SuccessDeviations == 0 && e.Latency == 0 {
		return errors.New("nothing here makes an endpoint be ejected: give consecutive, failure_share, success_deviations or latency")
	}
	if f := e.Latency.Float(); f != 0 && f <= 1 {
		return unit.Problem("latency", "who is as fast as its peers would be ejected: give more than 1x, such as 3x, or 0x for never")
	}
	if e.MaxTime < e.Time {
		return unit.Problem("max_time", fmt.Sprintf("the longest ejection, %s, is shorter than the first one, %s of time: make it longer", e.MaxTime, e.Time))
	}
	return nil
}
