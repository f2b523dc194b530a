package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/overload"
)

// TestNobodyElseIsDrawn refuses where the breaker of the one endpoint that is drawn is open, or where it is full, and goes
// to one that is well in another zone. It does not look for ever for one that is never drawn.
func TestNobodyElseIsDrawn(t *testing.T) {
	t.Parallel()
	ill := func(u *Upstream) { u.Mark(u.Endpoints()[1], Unhealthy, true) }
	open := func(u *Upstream) { u.Endpoints()[0].breaker.Record(message.Clock(), 0, 0, true, 1) }
	full := func(u *Upstream) { u.occupy(u.Endpoints()[0]) }
	tried := func(u *Upstream) (t triedSet) {
		t.add(u.Endpoints()[0])
		return t
	}
	for name, test := range map[string]struct {
		balance Balance
		zone    string
		prepare []func(u *Upstream)
		tried   func(u *Upstream) triedSet
		want    *message.Problem // nil: the second one
	}{
		"broken and ill":                   {RoundRobin, "", []func(u *Upstream){open, ill}, nil, message.UpstreamBroken},
		"broken and ill, by its key":       {ConsistentHash, "", []func(u *Upstream){open, ill}, nil, message.UpstreamBroken},
		"broken and ill, a further try":    {RoundRobin, "", []func(u *Upstream){open, ill}, tried, message.UpstreamBroken},
		"full and ill":                     {RoundRobin, "", []func(u *Upstream){full, ill}, nil, message.UpstreamOverloaded},
		"broken and far away":              {RoundRobin, "here", []func(u *Upstream){open}, nil, nil},
		"broken and far away, by its key":  {ConsistentHash, "here", []func(u *Upstream){open}, nil, nil},
		"broken and far away, further try": {RoundRobin, "here", []func(u *Upstream){open}, tried, nil},
		"full and far away":                {RoundRobin, "here", []func(u *Upstream){full}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := to("192.0.2.1:80", "192.0.2.2:80")
			c.Balance, c.Zone, c.PanicThreshold = test.balance, test.zone, 0.3
			c.Endpoints[0].Zone, c.Endpoints[1].Zone = "here", "there"
			c.Breaker, c.BreakEach = &breaker.Config{Volume: 1, FailureShare: 0.5, OpenFor: time.Hour}, true
			c.Concurrency = &Concurrency{PerEndpoint: 1, Limiter: overload.Config{Limit: 10}}
			u, _ := newUpstream(t, c)
			for _, prepare := range test.prepare {
				prepare(u)
			}
			var before triedSet
			if test.tried != nil {
				before = test.tried(u)
			}
			type result struct {
				e       *Endpoint
				problem *message.Problem
			}
			over := make(chan result, 1)
			go func() {
				x := exchange(&wire{}, "GET", nil)
				e, _, problem := u.permitted(x, &x.Response, message.Clock(), before)
				over <- result{e, problem}
			}()
			select {
			case r := <-over:
				if test.want != nil && !errors.Is(r.problem, test.want) || test.want == nil && (r.problem != nil || r.e != u.Endpoints()[1]) {
					t.Errorf("%v, %v", r.e, r.problem)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it still looks for another endpoint")
			}
		})
	}
}
