package rollout

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `rollout`.
type Config struct {
	From    string                `yaml:"from" required:"true" min:"1" doc:"The upstream that has all requests now."`
	To      string                `yaml:"to" required:"true" min:"1" doc:"The upstream that is to have them."`
	Key     string                `yaml:"key" max:"1024" doc:"A template, such as {consumer.name} or {request.cookie.uid}: requests for which it has the same value go to the same side, and whoever is on the new side stays there as its share grows. Where it is absent, and for requests where its variables have no value, the choice is random."`
	Steps   unit.List[unit.Share] `yaml:"steps" required:"true" min:"1" max:"32" doc:"The shares of the new side, one after the other, each larger than the one before. Where the last is less than 100%, the roll-out stays there until an operator promotes or aborts it."`
	Every   unit.Duration         `yaml:"every" default:"5m" min:"100ms" max:"30d" doc:"How long a step lasts at least."`
	Guard   Guard                 `yaml:"guard" doc:"What must not happen to the new side: then all requests go to the old one again."`
	Storage string                `yaml:"storage" default:"rollouts" min:"1" doc:"The folder in which the state is kept over a restart, relative to the main file. It is made where it is not there."`
}

// Guard is what must not happen to the new side.
type Guard struct {
	ErrorRate       unit.Share    `yaml:"error_rate" default:"1%" doc:"The share of failures above which it goes back: answers from 500 to 599, no answer, or a status of gRPC that speaks of the server. 100%: any."`
	Compare         bool          `yaml:"compare" default:"true" doc:"Whether the new side must fail more often than the old one, too, to go back. Where both fail, the roll-out waits."`
	P99             unit.Factor   `yaml:"p99" doc:"How many times the old side's p99 of the time to the answer's head the new side's may be; absent: any."`
	MinimumRequests int           `yaml:"minimum_requests" default:"100" min:"1" max:"1000000" doc:"The requests that the new side must have had before a step ends, and in a window before latencies are compared. Fewer make the window longer."`
	Window          unit.Duration `yaml:"window" min:"10ms" max:"1h" doc:"How often is judged; absent: a tenth of every, from 1s to 30s, and no more than half of it."`
}

// The window that is taken where none is written.
const (
	shortestWindow = time.Second
	longestWindow  = 30 * time.Second
)

// window is how often is judged.
func (c *Config) window() time.Duration {
	if c.Guard.Window > 0 {
		return c.Guard.Window.Std()
	}
	every := c.Every.Std()
	return min(max(every/10, shortestWindow), longestWindow, every/2)
}

// Validate is called once the settings are filled; it reports all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(path, format string, arguments ...any) {
		errs = append(errs, unit.Problem(path, fmt.Sprintf(format, arguments...)))
	}
	if c.From == c.To {
		wrong("to", "the new side is the old one, %s: name another upstream", c.From)
	}
	for i, s := range c.Steps {
		switch {
		case s == 0:
			wrong(fmt.Sprintf("steps[%d]", i), "a step of 0%% is none: begin with a small share, such as 1%%")
		case i > 0 && s <= c.Steps[i-1]:
			wrong(fmt.Sprintf("steps[%d]", i), "%s does not follow %s: the steps must rise", s, c.Steps[i-1])
		}
	}
	if w := c.window(); 2*w > c.Every.Std() {
		wrong("every", "a step of %s is too short: two guard windows of %s must be over before the share grows", c.Every, unit.Duration(w))
	}
	if c.Guard.P99 != 0 && c.Guard.P99.Float() <= 1 {
		wrong("guard.p99", "%s would take the new side out for being as fast as the old one: write more than 1x, such as 1.5x", c.Guard.P99)
	}
	return errors.Join(errs...)
}

// plan is what the settings say, for the machine.
func (c *Config) plan() canary.Plan {
	p := canary.Plan{From: c.From, To: c.To, Every: c.Every.Std(), Guard: canary.Guard{
		Window: c.window(), ErrorRate: int32(c.Guard.ErrorRate), Compare: c.Guard.Compare,
		Slower: c.Guard.P99.Float(), MinimumRequests: int64(c.Guard.MinimumRequests),
	}}
	for _, s := range c.Steps {
		p.Steps = append(p.Steps, int32(s))
	}
	return p
}

// words says what the settings mean.
func (c *Config) words() []string {
	steps := make([]string, len(c.Steps))
	for i, s := range c.Steps {
		steps[i] = s.String()
	}
	lines := []string{fmt.Sprintf("moves requests from %s to %s: %s, each for %s and %d requests of the new side at least",
		c.From, c.To, strings.Join(steps, ", "), c.Every, c.Guard.MinimumRequests)}
	var why []string
	if c.Guard.ErrorRate < unit.Whole {
		text := fmt.Sprintf("more than %s of the new side's requests fail", c.Guard.ErrorRate)
		if c.Guard.Compare {
			text += ", and more than of the old side's"
		}
		why = append(why, text)
	}
	if c.Guard.P99 > 0 {
		why = append(why, fmt.Sprintf("its p99 is over %s the old side's", c.Guard.P99))
	}
	if len(why) == 0 {
		return append(lines, "nothing makes it go back but an operator")
	}
	return append(lines, fmt.Sprintf("looks every %s and goes back by itself if %s", unit.Duration(c.window()), strings.Join(why, "; or if ")))
}
