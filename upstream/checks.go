package upstream

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/probe"
)

// Health says how endpoints are asked whether they are well, and how often they must say
// the same for it to be believed.
type Health struct {
	Probe     probe.Config
	Interval  time.Duration
	Jitter    float64 // share of the interval by which a check may come earlier or later
	Unhealthy int     // bad answers in a row
	Healthy   int     // good answers in a row
}

// maxProbes is how many endpoints of an upstream are asked at one time.
const maxProbes = 64

// checks asks the endpoints of an upstream, each for itself and in its own time.
type checks struct {
	upstream *Upstream
	health   *Health
	ask      func(ctx context.Context, e *Endpoint) error
	turns    chan struct{} // has room for those that are asked at one time
}

func newChecks(u *Upstream) *checks {
	c := &checks{upstream: u, health: u.config.Health, turns: make(chan struct{}, maxProbes)}
	prober := probe.New(u.config.Health.Probe, nil)
	if u.security != nil {
		prober = probe.New(u.config.Health.Probe, u.security.Config)
	}
	c.ask = func(ctx context.Context, e *Endpoint) error { return prober.Probe(ctx, e.address, e.secure) }
	return c
}

// run begins to check what comes, and ends what has left.
func (c *checks) run(ctx context.Context) {
	running := map[*Endpoint]context.CancelFunc{}
	for {
		current := map[*Endpoint]bool{}
		for _, e := range c.upstream.Endpoints() {
			current[e] = true
			if running[e] == nil {
				of, cancel := context.WithCancel(ctx)
				running[e] = cancel
				go c.watch(of, e)
			}
		}
		for e, cancel := range running {
			if !current[e] {
				cancel()
				delete(running, e)
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range running {
				cancel()
			}
			return
		case <-c.upstream.replaced:
		}
	}
}

// watch asks one endpoint again and again. It is taken to be well until it has said
// otherwise. What was good before an ejection does not end that.
func (c *checks) watch(ctx context.Context, e *Endpoint) {
	good, bad, ejections := 0, 0, e.ejections()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if now := e.ejections(); now != ejections {
			good, ejections = 0, now
		}
		err := c.inTurn(ctx, e)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			good, bad = 0, bad+1
		case e.ejections() != ejections: // It was asked before.
			good, bad = 0, 0
		default:
			good, bad = good+1, 0
		}
		c.conclude(e, err, good, bad)
		timer.Reset(c.pause())
	}
}

// inTurn asks when there is room.
func (c *checks) inTurn(ctx context.Context, e *Endpoint) error {
	select {
	case c.turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turns }()
	return c.ask(ctx, e)
}

// conclude draws the conclusion from answers in a row. What changes is logged once.
func (c *checks) conclude(e *Endpoint, err error, good, bad int) {
	u := c.upstream
	u.metrics.Checked(err == nil)
	e.checked.Store(&checkResult{at: time.Now(), err: err})
	switch {
	case bad == c.health.Unhealthy && u.Mark(e, Unhealthy, true):
		u.logger.Warn("endpoint unhealthy", "endpoint", e.address, "checks", bad, "error", err)
	case good >= c.health.Healthy:
		if u.Mark(e, Unhealthy, false) {
			u.logger.Info("endpoint healthy", "endpoint", e.address, "checks", good)
		}
		if e.member != nil && e.member.Out() {
			u.outliers.Readmit(e.member, message.Clock())
		}
	}
}

// pause is the time to the next check.
func (c *checks) pause() time.Duration {
	shift := (2*rand.Float64() - 1) * c.health.Jitter
	return time.Duration(float64(c.health.Interval) * (1 + shift))
}

// checkResult is what the last check has found.
type checkResult struct {
	at  time.Time
	err error
}
