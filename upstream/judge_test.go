package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/wire/http1"
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

// TestWhatCounts is what breakers, ejections and peak_ewma take for a failure of an endpoint.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		grpc          string // status of gRPC; "": it is no call of gRPC
		status        int
		failure       *message.Problem
		failed, known bool
	}{
		"200":                 {status: 200, known: true},
		"404":                 {status: 404, known: true},
		"429":                 {status: 429, known: true},
		"500":                 {status: 500, failed: true, known: true},
		"599":                 {status: 599, failed: true, known: true},
		"call, no status yet": {grpc: "-", status: 200, known: true},
		"call, ok":            {grpc: "0", status: 200, known: true},
		"call, cancelled":     {grpc: "1", status: 200, known: true},
		"call, unknown":       {grpc: "2", status: 200, failed: true, known: true},
		"call, not found":     {grpc: "5", status: 200, known: true},
		"call, internal":      {grpc: "13", status: 200, failed: true, known: true},
		"call, unavailable":   {grpc: "14", status: 200, failed: true, known: true},
		"call, data loss":     {grpc: "15", status: 200, failed: true, known: true},
		"refused":             {failure: message.UpstreamConnect, failed: true, known: true},
		"no connection":       {failure: message.UpstreamConnectTime, failed: true, known: true},
		"no answer":           {failure: message.UpstreamClosed, failed: true, known: true},
		"no answer in time":   {failure: message.UpstreamTimeout, failed: true, known: true},
		"garbage":             {failure: message.UpstreamMalformed.WithDetail("garbage"), failed: true, known: true},
		"full pool":           {failure: message.UpstreamBusy},
		"no descriptors":      {failure: message.OutOfDescriptors},
		"client's time over":  {failure: message.DeadlineExceeded},
		"client gone":         {failure: message.ClientGone},
	} {
		x := exchange(&wire{}, "POST", nil)
		var failure *http1.Failure
		if test.failure != nil {
			failure = &http1.Failure{Problem: test.failure}
		}
		x.Response.Status = test.status
		if test.grpc != "" {
			x.Request.Header.Set("Content-Type", "application/grpc")
			x.Request.Header.Set("Te", "trailers")
		}
		if test.grpc != "" && test.grpc != "-" {
			x.Response.Header.Set("Grpc-Status", test.grpc)
		}
		if failed, known := failedTry(x, &x.Response, failure); known && failed != test.failed || known != test.known {
			t.Errorf("%s: failed %v, known %v", name, failed, known)
		}
	}
	plain := exchange(&wire{}, "GET", nil)
	plain.Response.Status = 200
	plain.Response.Header.Set("Grpc-Status", "14")
	if failed, _ := failedTry(plain, &plain.Response, nil); failed {
		t.Error("the field of an answer to what is no call of gRPC counts")
	}
}

// TestRefusalSaysWhen is what a client is told whom a breaker has refused: when to come back, in whole seconds.
func TestRefusalSaysWhen(t *testing.T) {
	t.Parallel()
	for _, ofAll := range []bool{true, false} {
		c := to("192.0.2.1:80", "192.0.2.2:80")
		c.Breaker = &breaker.Config{Volume: 1, FailureShare: 0.5, OpenFor: 90 * time.Minute, OpenMax: 2 * time.Hour, Jitter: func() float64 { return 0 }}
		c.BreakAll, c.BreakEach = ofAll, !ofAll
		u, _ := newUpstream(t, c)
		now := message.Clock()
		if ofAll {
			u.breaker.Record(now, 0, 0, true, 1)
		} else {
			u.Endpoints()[0].breaker.Record(now, 0, 0, true, 1)
			u.Endpoints()[1].breaker.Record(now-int64(time.Second), 0, 0, true, 1) // The first one to be asked again.
		}
		x := exchange(&wire{}, "GET", nil)
		_, _, problem := u.permitted(x, &x.Response, now+int64(time.Minute)+1, triedSet{})
		want := "5340"
		if !ofAll {
			want = "5339"
		}
		if got := x.Response.Header.Get("Retry-After"); problem != message.UpstreamBroken || got != want {
			t.Errorf("breaker of all %v: %v, Retry-After: %q, want %q", ofAll, problem, got, want)
		}
	}
}
