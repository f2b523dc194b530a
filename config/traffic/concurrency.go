package traffic

import (
	"errors"
	"fmt"

	"github.com/sluice-gateway/sluice/unit"
)

// Concurrency says how many requests may wait for an answer of the origins at one time: the
// word adaptive, or a mapping.
type Concurrency struct {
	Limit       int           `default:"0" min:"0" max:"1000000" doc:"How many requests may wait for the head of their answer at one time, at all endpoints together; 0: adaptive, that is, it is found from how long answers take; with per_endpoint as many as those that are well may have."`
	PerEndpoint int           `default:"0" min:"0" max:"1000000" doc:"How many may wait at one endpoint. One that has as many is passed over, as long as another one has room; 0: as many as come."`
	Min         int           `default:"4" min:"1" max:"1000000" doc:"The lowest limit that is found."`
	Max         int           `default:"1000" min:"1" max:"1000000" doc:"The highest limit that is found."`
	Tolerance   unit.Factor   `default:"1.5x" doc:"How many times as long as without a queue at the origins answers may take before the limit is lowered."`
	Queue       int           `default:"0" min:"0" max:"1000000" doc:"How many more may wait for their turn; others are refused."`
	Wait        unit.Duration `default:"500ms" min:"1ms" max:"1h" doc:"The longest wait in the queue."`
	Overload    unit.Duration `default:"100ms" min:"1ms" max:"1h" doc:"When the queue has not been empty for longer, the youngest are served first: who has waited for long will leave anyway."`
	Groups      unit.Map[int] `max:"100" doc:"Priorities of groups of consumers, from 0, served first and shed last, to 3; all others have that of their route, which is 2 where nothing is said."`
}

// Adaptive says that the limit is found.
func (c *Concurrency) Adaptive() bool { return c.Limit == 0 && c.PerEndpoint == 0 }

// Validate is called by the decoder.
func (c *Concurrency) Validate() error {
	if c.Max < c.Min {
		return unit.Problem("max", "the highest limit is lower than the lowest one, min")
	}
	if c.Tolerance.Float() < 1 {
		return unit.Problem("tolerance", "answers never take less than without a queue: give 1x or more, such as 1.5x")
	}
	for _, g := range c.Groups {
		if g.Value < 0 || g.Value > 3 {
			return unit.At("groups", fmt.Errorf("the priority of %s is %d: there are 0, 1, 2 and 3", g.Key, g.Value))
		}
	}
	if len(c.Groups) > 0 && c.Queue == 0 {
		return unit.At("groups", errors.New("without a queue nobody can be served before others: give queue"))
	}
	return nil
}

// Form says how the short form is written.
func (Concurrency) Form() unit.Form {
	return unit.Form{Name: "limit", Is: "adaptive, or a mapping such as { limit: 200 }", Pattern: "^adaptive$"}
}

// UnmarshalText reads the short form.
func (c *Concurrency) UnmarshalText(text []byte) error {
	if string(text) != "adaptive" {
		return fmt.Errorf("%q is not %s", text, c.Form().Is)
	}
	return nil
}
