// Package throttle slows requests down to an even pace, and refuses what would have to wait for too long.
//
// Counting is local to the process: see lanes. A request costs one look-up under the lock of
// one shard and no allocation; one that waits costs a timer, which is used again.
package throttle

import (
	"embed"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy throttle.
var Kind = policy.Define("throttle", policy.Limit, files, build, policy.Problems(throttled))

var throttled = &message.Problem{
	Status: 429,
	Code:   "throttled",
	Title:  "Too many requests to wait for their turn",
	Source: message.SourcePolicy,
	Retry:  message.RetryYes,
}

// throttle is one throttle policy.
type throttle struct {
	pace          pace
	bounds        bounds
	key           *template.Template
	long, crowded *message.Problem

	lanes *lanes

	passed, delayed, refused, evicted *meter.Counter
}

// keyRoom is how long a key may be before it costs an allocation, in bytes.
const keyRoom = 256

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	pace, err := c.pace()
	if err != nil {
		return policy.Hooks{}, err
	}
	text := c.Key
	if text == "" {
		text = "{route}"
	}
	by, err := template.Parse(text, template.Use{})
	if err != nil {
		return policy.Hooks{}, unit.At("key", err)
	}
	kept, err := policy.Keep(env, "lanes", func() (*lanes, error) { return newLanes(), nil })
	if err != nil {
		return policy.Hooks{}, fmt.Errorf("throttle: open counters: %w", err)
	}
	t := &throttle{
		pace:    pace,
		bounds:  bounds{longest: int64(c.MaxWait), waiting: c.MaxWaiting, keys: c.MaxKeys},
		key:     by,
		long:    throttled.WithDetail(fmt.Sprintf("%d requests go on in %s, and nobody waits for more than %s", c.Requests, c.Per, c.MaxWait)),
		crowded: throttled.WithDetail(fmt.Sprintf("%d requests wait for their turn already", c.MaxWaiting)),
		lanes:   kept,
	}
	label := policy.Label{Name: "route", Value: env.Place.Route}
	t.passed = env.Metrics.Counter("sluice_throttle_passed_total", "Requests that throttle did not hold back.", label)
	t.delayed = env.Metrics.Counter("sluice_throttle_delayed_total", "Requests that throttle held back until their turn.", label)
	t.refused = env.Metrics.Counter("sluice_throttle_refused_total", "Requests that throttle refused.", label)
	t.evicted = env.Metrics.Counter("sluice_throttle_evicted_total", "Keys that throttle forgot too early because there were more than max_keys.", label)
	return policy.Hooks{OnRequest: t.onRequest}, nil
}

// onRequest allocates nothing, but for a Retry-After of more than 99 seconds.
func (t *throttle) onRequest(x *message.Exchange) message.Verdict {
	var room [keyRoom]byte
	k := t.lanes.keyOf(t.key.Append(room[:0], x))
	patience := max(int64(x.Patience(time.Duration(t.bounds.longest))), 0)
	now := x.Moment()
	mine := t.lanes.take(k, now, patience, t.pace, t.bounds)
	if mine.evicted {
		t.evicted.Add(x.Shard, 1)
	}
	if mine.refused {
		return t.refuse(x, mine)
	}
	if mine.wait == 0 {
		t.passed.Add(x.Shard, 1)
		return message.Next
	}
	t.delayed.Add(x.Shard, 1)
	whole := t.await(x, now, mine)
	t.lanes.done()
	if !whole {
		t.lanes.giveBack(k, mine, t.pace)
		return x.Deny(message.ClientGone)
	}
	return message.Next
}

// await holds a request back until its turn, which it got at the moment now, and says whether its client had the patience.
func (t *throttle) await(x *message.Exchange, now int64, mine turn) bool {
	p := t.lanes.pauses.Take()
	x.Wire().Await(p)
	spent := max(message.Clock()-now, 0) // The turn is counted from the beginning.
	whole := p.For(time.Duration(mine.wait - spent))
	x.Wire().Arrived()
	x.Times.Waited = true
	t.lanes.pauses.Give(p)
	return whole
}

// refuse says when it is worth while to come again.
func (t *throttle) refuse(x *message.Exchange, mine turn) message.Verdict {
	t.refused.Add(x.Shard, 1)
	problem, after := t.long, mine.wait-t.bounds.longest
	if mine.crowded {
		problem, after = t.crowded, mine.wait
	}
	seconds := (after + int64(time.Second) - 1) / int64(time.Second)
	x.Response.Header.Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
	return x.Deny(problem)
}
