package throttle

import (
	"fmt"
	"math"
	"time"

	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `throttle`.
type Config struct {
	Requests   int64         `yaml:"requests" required:"true" min:"1" max:"1000000" doc:"How many requests of one key go on in the time of per, evenly spread."`
	Per        unit.Duration `yaml:"per" default:"1s" min:"10ms" max:"1d" doc:"The time in which that many go on."`
	Burst      int64         `yaml:"burst" default:"1" min:"1" max:"1000000" doc:"How many requests go on at once after a rest, before the others are spread."`
	Key        string        `yaml:"key" doc:"Who is slowed down together: a template, such as {consumer.name} or {request.header.x-tenant}. Requests for which it is empty are slowed down together too. Where it is absent, all of the route are."`
	MaxWait    unit.Duration `yaml:"max_wait" default:"1s" min:"1ms" max:"1m" doc:"The longest time that a request is held back. One that would have to wait for longer is refused at once."`
	MaxWaiting int64         `yaml:"max_waiting" default:"1000" min:"1" max:"1000000" doc:"How many requests of all keys together are held back at one time; what is more is refused at once."`
	MaxKeys    int           `yaml:"max_keys" default:"100000" min:"1000" max:"100000000" doc:"How many keys are remembered, approximately. When they are more, those are forgotten first that have waited least."`
}

// Validate is called once the settings are filled.
func (c *Config) Validate() error {
	_, err := c.pace()
	return err
}

// pace is how fast requests of one key go on, in nanoseconds.
type pace struct {
	// interval is the time from one request to the next, rounded up; slack is by how much
	// requests after a rest may be ahead of that.
	interval, slack int64
}

// pace is the settings in the form in which they are counted.
func (c *Config) pace() (pace, error) {
	p := pace{interval: (int64(c.Per) + c.Requests - 1) / c.Requests}
	if int64(c.Per)/c.Requests < int64(time.Microsecond) {
		return p, unit.Problem("requests", fmt.Sprintf("%d requests in %s are more than can be spread: the limit is 1000000 a second", c.Requests, c.Per))
	}
	if p.interval > math.MaxInt64/4/c.Burst {
		return p, unit.Problem("burst", fmt.Sprintf("a burst of %d would take centuries to come back: write a smaller one", c.Burst))
	}
	p.slack = p.interval * (c.Burst - 1)
	return p, nil
}
