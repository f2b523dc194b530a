// Package ratelimit lets each caller make so many requests in a time, and refuses what is more.
//
// Counting is local to the process: see cells. A request costs one look-up
// under the lock of one shard and no allocation; the fields of the answer cost one.
package ratelimit

import (
	"embed"
	"fmt"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy rate_limit.
var Kind = policy.Define("rate_limit", policy.Limit, files, build, policy.Problems(limited))

var limited = &message.Problem{
	Status: 429,
	Code:   "rate_limited",
	Title:  "Too many requests",
	Source: message.SourcePolicy,
	Retry:  message.RetryYes,
}

// limiter is one rate_limit policy.
type limiter struct {
	limits      []limit
	by          by
	header      string
	ipv6Prefix  int
	capacity    int
	headers     bool
	dryRun      bool
	policyValue string
	refusals    []*message.Problem // by window

	cells *cells
	room  policy.Local[outcome]

	allowed, refused, evicted *meter.Counter
}

// outcome is what OnRequest found out, for OnResponse.
type outcome struct {
	counted  bool
	refused  bool
	readings [maxWindows]reading
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	limits, err := c.limits()
	if err != nil {
		return policy.Hooks{}, err
	}
	kept, err := policy.Keep(env, "cells", func() (*cells, error) { return newCells(), nil })
	if err != nil {
		return policy.Hooks{}, fmt.Errorf("ratelimit: open counters: %w", err)
	}
	l := &limiter{
		limits:      limits,
		by:          c.Key.by,
		header:      c.Key.Header,
		ipv6Prefix:  c.IPv6Prefix,
		capacity:    c.MaxKeys,
		headers:     c.Headers,
		dryRun:      c.DryRun,
		policyValue: policyValue(limits),
		cells:       kept,
		room:        policy.NewLocal[outcome](env),
	}
	for i := range limits {
		w := &limits[i]
		detail := fmt.Sprintf("the limit %q is %d requests in %s", w.name, w.quota, unit.Duration(w.per))
		l.refusals = append(l.refusals, limited.WithDetail(detail))
	}
	label := policy.Label{Name: "route", Value: env.Place.Route}
	l.allowed = env.Metrics.Counter("sluice_rate_limit_allowed_total", "Requests that rate_limit let through.", label)
	l.refused = env.Metrics.Counter("sluice_rate_limit_refused_total", "Requests that rate_limit refused, or would have refused with dry_run.", label)
	l.evicted = env.Metrics.Counter("sluice_rate_limit_evicted_total", "Callers that rate_limit forgot too early because there were more than max_keys.", label)
	hooks := policy.Hooks{OnRequest: l.onRequest}
	if !l.dryRun {
		hooks.OnResponse = l.onResponse
	}
	return hooks, nil
}

func (l *limiter) onRequest(x *message.Exchange) message.Verdict {
	o := l.room.At(x)
	var evicted int64
	const cost = 1
	o.counted = true
	o.refused = !l.cells.take(l.caller(x), x.Now(), cost, l.limits, l.capacity, o.readings[:], &evicted)
	if evicted > 0 {
		l.evicted.Add(x.Shard, evicted)
	}
	if !o.refused {
		l.allowed.Add(x.Shard, 1)
		return message.Next
	}
	l.refused.Add(x.Shard, 1)
	if l.dryRun {
		return message.Next
	}
	return x.Deny(l.refusals[o.longest(len(l.limits))])
}

// longest is the window that refuses for the longest time.
func (o *outcome) longest(windows int) int {
	at := 0
	for i := range windows {
		if o.readings[i].wait > o.readings[at].wait {
			at = i
		}
	}
	return at
}

// onResponse says in the answer where the client stands, whoever made it.
func (l *limiter) onResponse(x *message.Exchange) message.Verdict {
	o := l.room.At(x)
	if o.counted && (l.headers || o.refused) {
		l.addFields(&x.Response.Header, o.readings[:len(l.limits)], o.refused)
	}
	return message.Next
}

// caller is the key under which a request is counted.
func (l *limiter) caller(x *message.Exchange) key {
	switch l.by {
	case byConsumer:
		if c := x.Facts.Consumer; c != nil {
			return l.cells.keyOf(byConsumer, c.Name)
		}
	case byHeader:
		if value, ok := x.Request.Header.Lookup(l.header); ok {
			return l.cells.keyOf(byHeader, value)
		}
	case byRoute:
		return l.cells.keyOf(byRoute, x.Facts.Route)
	case byAll:
		return key{}
	}
	return l.cells.keyOfBits(byAddress, l.network(x))
}

// network is the client's address, an IPv6 address without the bits that one
// customer can choose. An address that is not known is all zeros: all such
// requests are one caller.
func (l *limiter) network(x *message.Exchange) [16]byte {
	address := x.Client.Address.Unmap()
	if !address.IsValid() {
		return [16]byte{}
	}
	bits := address.As16()
	if address.Is4() {
		return bits
	}
	for i := range bits {
		switch left := l.ipv6Prefix - 8*i; {
		case left <= 0:
			bits[i] = 0
		case left < 8:
			bits[i] &= 0xff << (8 - left)
		}
	}
	return bits
}
