package observe

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// many are upstreams with n endpoints each, every other one of which is ill.
func many(upstreams, n int) (states []UpstreamState) {
	for i := range upstreams {
		u := UpstreamState{Upstream: fmt.Sprint("u", i)}
		for j := range n {
			e := EndpointState{Address: fmt.Sprintf("10.0.%d.%d:80", j/256, j%256), Active: 1, Idle: 2, State: "healthy", Breaker: BreakerClosed}
			if j%2 == 1 {
				e.State, e.Breaker = "unhealthy", BreakerOpen
			}
			u.Endpoints = append(u.Endpoints, e)
		}
		states = append(states, u)
	}
	return states
}

func TestManyEndpointsAreSummedUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		upstreams, endpoints, own, others int
	}{
		{1, 10, 10, 0}, {1, 1000, 1000, 0}, {1, 10_000, 1000, 1}, {12, 1500, 10_000, 12}, {20, 600, 10_000, 4},
	} {
		states := many(c.upstreams, c.endpoints)
		rows := endpointRows(states)
		var sum endpointRow
		others := 0
		for _, r := range rows {
			sum.active, sum.idle, sum.healthy = sum.active+r.active, sum.idle+r.idle, sum.healthy+r.healthy
			if r.endpoint == Other {
				others++
				if r.breaker != BreakerOpen {
					t.Errorf("%+v: the worst breaker is %d", c, r.breaker)
				}
			}
		}
		all := c.upstreams * c.endpoints
		if len(rows) != c.own+c.others || others != c.others || sum.active != all || sum.idle != 2*all || sum.healthy != all/2 {
			t.Errorf("%+v: %d rows, %d of them for others, sum %+v", c, len(rows), others, sum)
		}
		r := NewRegistry()
		NewGateway(r, "", time.Unix(1_700_000_000, 0)).UpstreamStates(func() []UpstreamState { return states })
		lines := 0
		for line := range strings.Lines(text(t, r)) {
			if strings.HasPrefix(line, "sluice_upstream_connections{") {
				lines++
			}
		}
		if lines != 2*len(rows) {
			t.Errorf("%+v: %d lines, want two for each of %d", c, lines, len(rows))
		}
	}
}

// An address that stands in the list twice must not be written twice.
func TestAddressTwice(t *testing.T) {
	t.Parallel()
	e := EndpointState{Address: "10.0.0.7:80", Active: 1, State: "healthy"}
	rows := endpointRows([]UpstreamState{{Upstream: "orders", Endpoints: []EndpointState{e, e}}})
	if len(rows) != 1 || rows[0].healthy != 1 || rows[0].active != 2 {
		t.Errorf("%+v", rows)
	}
}

// Counters go on over a reload in which something is added, and leave with the upstream.
func TestWatchAgain(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	g := NewGateway(r, "", time.Unix(1_700_000_000, 0))
	u := g.Upstream("orders")
	if strings.Contains(text(t, r), "sluice_upstream_health_checks_total{") {
		t.Error("what is not watched is shown")
	}
	u.Watch(true, false, false)
	u.Checked(false)
	u.Watch(true, true, true)
	u.Checked(false)
	got := text(t, r)
	for _, want := range []string{`health_checks_total{upstream="orders",result="bad"} 2`, `ejections_total{upstream="orders",reason="consecutive_failures"} 0`, `breaker_refused_total{upstream="orders",scope="upstream"} 0`} {
		if !strings.Contains(got, "sluice_upstream_"+want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	never := func(string) bool { return false }
	g.Retain(never, never, never)
	if got := text(t, r); strings.Contains(got, `upstream="orders"`) {
		t.Error("an upstream that has left is shown")
	}
}
