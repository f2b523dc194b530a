package concurrency

import (
	"fmt"

	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `concurrency`.
type Config struct {
	Limit      int           `yaml:"limit" required:"true" min:"1" max:"1000000" doc:"How many exchanges of one key may go on at one time."`
	Key        string        `yaml:"key" doc:"Who is counted together: a template, such as {consumer.name} or {request.header.x-tenant}. Exchanges for which it is empty are counted together too. Where it is absent, all of the route are."`
	Wait       unit.Duration `yaml:"wait" default:"0s" max:"1m" doc:"How long a request may wait for its turn. 0s refuses it at once."`
	Queue      int           `yaml:"queue" default:"100" min:"1" max:"100000" doc:"How many requests of one key may wait at one time; what is more is refused at once."`
	Status     int           `yaml:"status" default:"503" doc:"The status of a refusal: 503, or 429 where the caller is to blame."`
	RetryAfter unit.Duration `yaml:"retry_after" default:"1s" min:"1s" max:"1h" doc:"What Retry-After of a refusal says, in whole seconds."`
	MaxKeys    int           `yaml:"max_keys" default:"100000" min:"1000" max:"10000000" doc:"How many keys may have exchanges at one time, approximately. Exchanges of other keys are let through without being counted."`
}

// Validate is called once the settings are filled.
func (c *Config) Validate() error {
	if c.Status != 503 && c.Status != 429 {
		return unit.Problem("status", fmt.Sprintf("%d is no status for this: write 503 (too much for us) or 429 (too much of this caller)", c.Status))
	}
	return nil
}
