// Package concurrency lets only so many exchanges of a caller or a route go on at one time.
//
// It counts from here to the last byte of the answer, or to the end of a tunnel. Counting
// is local to the process: see slots. A request costs two look-ups under the lock of one
// shard and no allocation.
package concurrency

import (
	"embed"
	"fmt"
	"strconv"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy concurrency.
var Kind = policy.Define("concurrency", policy.Limit, files, build, policy.Problems(tooMany))

// tooMany is the refusal; where the settings say so, its status is 429.
var tooMany = &message.Problem{
	Status: 503,
	Code:   "concurrency_limited",
	Title:  "Too many requests at one time",
	Source: message.SourcePolicy,
	Retry:  message.RetryYes,
}

// limiter is one concurrency policy.
type limiter struct {
	limit, queue, maxKeys int
	wait                  unit.Duration
	key                   *template.Template
	retryAfter            string
	full, late            *message.Problem

	slots *slots
	room  policy.Local[place]

	entered, left, waited, refused, uncounted *meter.Counter
}

// place is what OnRequest took, for OnDone to give it back.
type place struct {
	key    key
	taken  bool
	waiter waiter
}

// keyRoom is how long a key may be before it costs an allocation, in bytes.
const keyRoom = 256

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	text := c.Key
	if text == "" {
		text = "{route}"
	}
	by, err := template.Parse(text, template.Use{})
	if err != nil {
		return policy.Hooks{}, unit.At("key", err)
	}
	kept, err := policy.Keep(env, "slots", func() (*slots, error) { return newSlots(), nil })
	if err != nil {
		return policy.Hooks{}, fmt.Errorf("concurrency: open counters: %w", err)
	}
	l := &limiter{
		limit: c.Limit, queue: c.Queue, maxKeys: c.MaxKeys, wait: c.Wait,
		key:        by,
		retryAfter: strconv.FormatInt(int64((c.RetryAfter.Std()+999_999_999)/1_000_000_000), 10),
		full:       refusal(c, fmt.Sprintf("no more than %d may go on at one time", c.Limit)),
		late:       refusal(c, fmt.Sprintf("no more than %d may go on at one time, and %s of waiting was not enough", c.Limit, c.Wait)),
		slots:      kept,
		room:       policy.NewLocal[place](env),
	}
	label := policy.Label{Name: "route", Value: env.Place.Route}
	l.entered = env.Metrics.Counter("sluice_concurrency_entered_total", "Exchanges that concurrency let begin.", label)
	l.left = env.Metrics.Counter("sluice_concurrency_left_total", "Exchanges that concurrency let begin and that have ended.", label)
	l.waited = env.Metrics.Counter("sluice_concurrency_waited_total", "Requests that concurrency made wait for their turn.", label)
	l.refused = env.Metrics.Counter("sluice_concurrency_refused_total", "Requests that concurrency refused.", label)
	l.uncounted = env.Metrics.Counter("sluice_concurrency_uncounted_total", "Exchanges that concurrency let through without counting, because there were more than max_keys.", label)
	return policy.Hooks{OnRequest: l.onRequest, OnDone: l.onDone}, nil
}

// refusal is the problem with the status that the settings want.
func refusal(c *Config, detail string) *message.Problem {
	p := tooMany.WithDetail(detail)
	p.Status = c.Status
	return p
}

func (l *limiter) onRequest(x *message.Exchange) message.Verdict {
	p := l.room.At(x)
	var room [keyRoom]byte
	p.key = l.slots.keyOf(l.key.Append(room[:0], x))
	var w *waiter
	if l.wait > 0 {
		w = &p.waiter
	}
	v := l.slots.enter(p.key, l.limit, l.queue, l.maxKeys, w)
	if v == queued {
		v = l.await(x, p)
	}
	switch v {
	case admitted:
		p.taken = true
		l.entered.Add(x.Shard, 1)
		return message.Next
	case uncounted:
		l.uncounted.Add(x.Shard, 1)
		return message.Next
	}
	if x.Wire().Gone() {
		return x.Deny(message.ClientGone)
	}
	l.refused.Add(x.Shard, 1)
	x.Response.Header.Set("Retry-After", l.retryAfter)
	if v == timedOut {
		return x.Deny(l.late)
	}
	return x.Deny(l.full)
}

// await waits for the turn of a request, no longer than its client and its deadline do.
func (l *limiter) await(x *message.Exchange, p *place) verdict {
	l.waited.Add(x.Shard, 1)
	x.Wire().Await(p.waiter.pause)
	p.waiter.pause.For(x.Patience(l.wait.Std()))
	x.Wire().Arrived()
	x.Times.Waited = true
	return l.slots.settle(p.key, &p.waiter)
}

// onDone gives back what was taken.
func (l *limiter) onDone(x *message.Exchange) {
	p := l.room.At(x)
	if !p.taken {
		return
	}
	p.taken = false
	l.slots.leave(p.key)
	l.left.Add(x.Shard, 1)
}
