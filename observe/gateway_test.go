package observe

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// fakeWire is a wire that has carried something.
type fakeWire struct {
	message.Wire
	in, out int64
}

func (w *fakeWire) BytesIn() int64  { return w.in }
func (w *fakeWire) BytesOut() int64 { return w.out }

// fill makes every metric that the gateway has, and counts in it.
func fill(r *Registry) *Gateway {
	g := NewGateway(r, "1.2.3", time.Unix(1_700_000_000, 0))
	g.Applied(7, "sha256:abc", time.Unix(1_700_000_001, 500e6))
	g.Refused()
	for h, times := range map[Handover]int{HandoverTaken: 1, HandoverGiven: 2, HandoverFailed: 3} {
		for range times {
			g.HandedOver(h)
		}
	}
	g.Floods(func(emit func(listener, protocol, kind string, n int64)) { emit("web", "h2", "reset", 3) },
		func(emit func(listener, protocol, reason string, n int64)) { emit("web", "h3", "client", 5) })
	g.UpstreamFloods(func(emit func(upstream, kind string, n int64)) { emit("orders", "ping", 2) })
	g.CertificateProblems(func(emit func(listener string, number int)) { emit("secure", 2) })
	g.Discoveries(func() []Discovery {
		return []Discovery{{Upstream: "orders", Updates: 3, Faults: 1, Good: time.Now()}, {Upstream: "new"}}
	})
	g.Groups(func() []Group {
		return []Group{{Upstream: "everywhere", Refused: 4, Members: []GroupMember{
			{Name: "orders", State: "full", Requests: 9, Passed: 5}, {Name: "far", State: "serving", Requests: 7, Spilled: 6, Failures: 1},
		}}}
	})
	g.Rollouts(func() []Rollout {
		return []Rollout{{Route: "orders", State: "paused", Share: 0.1, OldRequests: 90, OldFailed: 1, NewRequests: 10, NewFailed: 2}}
	})
	g.Loads(func() []Load {
		return []Load{{Upstream: "orders", Limit: 20, Active: 19, Waiting: 3, Full: 2, Displaced: 1, TimedOut: 4}}
	})
	g.Certificates(func(emit func(listener, source string, seconds float64)) { emit("secure", "api.pem", 86400) })
	x := sampleExchange()
	g.Route("orders").Done(x)
	g.Problem(1, message.RouteNotFound)
	u := g.Upstream("orders")
	u.Answered(1, 200, time.Millisecond)
	u.Unanswered(2)
	u.Retried(3)
	u.Connected(4, time.Millisecond)
	u.ConnectFailed(5)
	l := g.Listener("web")
	l.Opened(0)
	l.Opened(1)
	l.Closed(2)
	l.Refused()
	g.Policy("rate_limit").Faults.Add(0, 1)
	u.Watch(true, true, true)
	u.Checked(true)
	u.Ejected("latency")
	u.BreakerOpened(false)
	u.BreakerRefused(6, true)
	g.UpstreamStates(func() []UpstreamState {
		return []UpstreamState{{Upstream: "orders", Breaker: BreakerHalfOpen, Endpoints: []EndpointState{
			{Address: "10.0.0.7:8080", Active: 3, Idle: 4, State: "healthy", Breaker: BreakerClosed},
			{Address: "10.0.0.8:8080", State: "ejected", Breaker: BreakerOpen},
		}}}
	})
	r.counter(&accessLogDropped, "queue_full")
	return g
}

func TestGatewayMetrics(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	g := fill(r)
	got := text(t, r)
	for _, want := range []string{
		`sluice_build_info{version="1.2.3",go_version="go`,
		"sluice_config_revision 7\n",
		`sluice_config_info{hash="sha256:abc"} 1` + "\n",
		"sluice_config_applied_timestamp_seconds 1.7000000015e+09\n",
		`sluice_config_reloads_total{result="failure"} 1` + "\n",
		`sluice_discovery_updates_total{upstream="orders"} 3` + "\n",
		`sluice_discovery_updates_total{upstream="new"} 0` + "\n",
		`sluice_discovery_faults_total{upstream="orders"} 1` + "\n",
		`sluice_discovery_age_seconds{upstream="orders"} `,
		`sluice_config_reloads_total{result="success"} 1` + "\n",
		`sluice_handovers_total{result="taken"} 1` + "\n",
		`sluice_handovers_total{result="given"} 2` + "\n",
		`sluice_handovers_total{result="failed"} 3` + "\n",
		`sluice_certificate_problems{listener="secure"} 2` + "\n",
		`sluice_listener_floods_total{listener="web",protocol="h2",kind="reset"} 3` + "\n",
		`sluice_listener_streams_reset_total{listener="web",protocol="h3",reason="client"} 5` + "\n",
		`sluice_upstream_floods_total{upstream="orders",kind="ping"} 2` + "\n",
		`sluice_http_requests_total{route="orders",status="2xx"} 1` + "\n",
		`sluice_http_requests_total{route="orders",status="none"} 0` + "\n",
		`sluice_http_requests_total{route="unmatched",status="4xx"} 0` + "\n",
		`sluice_http_request_duration_seconds_sum{route="orders"} 0.012345` + "\n",
		`sluice_http_request_bytes_total{route="orders"} 345` + "\n",
		`sluice_http_response_bytes_total{route="orders"} 6789` + "\n",
		`sluice_upstream_requests_total{upstream="orders",status="2xx"} 1` + "\n",
		`sluice_upstream_requests_total{upstream="orders",status="none"} 1` + "\n",
		`sluice_upstream_retries_total{upstream="orders"} 1` + "\n",
		`sluice_upstream_connect_duration_seconds_count{upstream="orders"} 1` + "\n",
		`sluice_upstream_connect_failures_total{upstream="orders"} 1` + "\n",
		`sluice_upstream_first_byte_duration_seconds_sum{upstream="orders"} 0.001` + "\n",
		`sluice_upstream_connections{upstream="orders",endpoint="10.0.0.7:8080",state="active"} 3` + "\n",
		`sluice_upstream_connections{upstream="orders",endpoint="10.0.0.7:8080",state="idle"} 4` + "\n",
		`sluice_upstream_endpoints{upstream="orders",state="healthy"} 1` + "\n",
		`sluice_upstream_endpoints{upstream="orders",state="unhealthy"} 0` + "\n",
		`sluice_upstream_endpoints{upstream="orders",state="ejected"} 1` + "\n",
		`sluice_upstream_endpoint_healthy{upstream="orders",endpoint="10.0.0.7:8080"} 1` + "\n",
		`sluice_upstream_endpoint_healthy{upstream="orders",endpoint="10.0.0.8:8080"} 0` + "\n",
		`sluice_upstream_breaker_state{upstream="orders",endpoint=""} 1` + "\n",
		`sluice_upstream_breaker_state{upstream="orders",endpoint="10.0.0.7:8080"} 0` + "\n",
		`sluice_upstream_breaker_state{upstream="orders",endpoint="10.0.0.8:8080"} 2` + "\n",
		`sluice_upstream_health_checks_total{upstream="orders",result="good"} 1` + "\n",
		`sluice_upstream_health_checks_total{upstream="orders",result="bad"} 0` + "\n",
		`sluice_upstream_ejections_total{upstream="orders",reason="latency"} 1` + "\n",
		`sluice_upstream_ejections_total{upstream="orders",reason="success_rate"} 0` + "\n",
		`sluice_upstream_breaker_opened_total{upstream="orders",scope="upstream"} 1` + "\n",
		`sluice_upstream_breaker_refused_total{upstream="orders",scope="endpoint"} 1` + "\n",
		`sluice_upstream_group_requests_total{upstream="everywhere",member="orders"} 9` + "\n",
		`sluice_upstream_group_spilled_total{upstream="everywhere",member="far"} 6` + "\n",
		`sluice_upstream_group_failures_total{upstream="everywhere",member="far"} 1` + "\n",
		`sluice_upstream_group_passed_over_total{upstream="everywhere",member="orders"} 5` + "\n",
		`sluice_upstream_group_refused_total{upstream="everywhere"} 4` + "\n",
		`sluice_upstream_group_member_state{upstream="everywhere",member="orders",state="full"} 1` + "\n",
		`sluice_upstream_group_member_state{upstream="everywhere",member="orders",state="serving"} 0` + "\n",
		`sluice_listener_connections{listener="web"} 1` + "\n",
		`sluice_listener_accepted_total{listener="web"} 2` + "\n",
		`sluice_listener_refused_total{listener="web"} 1` + "\n",
		`sluice_problems_total{code="route_not_found",source="client"} 1` + "\n",
		`sluice_policy_verdicts_total{policy="rate_limit",verdict="fault"} 1` + "\n",
		`sluice_rollout_share{route="orders"} 0.1` + "\n",
		`sluice_rollout_state{route="orders",state="paused"} 1` + "\n",
		`sluice_rollout_state{route="orders",state="running"} 0` + "\n",
		`sluice_rollout_requests_total{route="orders",side="new",result="ok"} 8` + "\n",
		`sluice_rollout_requests_total{route="orders",side="old",result="failed"} 1` + "\n",
		"process_start_time_seconds 1.7e+09\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	g.Applied(8, "sha256:def", time.Unix(1_700_000_002, 0))
	if got := text(t, r); strings.Contains(got, "sha256:abc") || !strings.Contains(got, `{hash="sha256:def"} 1`) {
		t.Error("the old hash is still shown, or the new one is not")
	}
	if g.Listener("web").Open() != 1 {
		t.Error("the listener does not have one connection")
	}
}

// Whatever is in the catalogue is shown, and nothing else is.
func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	fill(r)
	shown := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text(t, r), -1) {
		shown[match[1]] = true
	}
	for _, m := range Catalogue() {
		if !shown[m.Name] {
			t.Errorf("%s is in the catalogue and not shown", m.Name)
		}
		delete(shown, m.Name)
	}
	for name := range shown {
		t.Errorf("%s is shown and not in the catalogue", name)
	}
}

func TestProcessMetrics(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func() float64{
		"cpu": cpuSeconds, "resident": residentBytes, "descriptors": openDescriptors, "max descriptors": maxDescriptors,
		"goroutines": func() float64 { return runtimeFigure("/sched/goroutines:goroutines") },
		"heap":       func() float64 { return runtimeFigure("/memory/classes/heap/objects:bytes") },
		"memory":     func() float64 { return runtimeFigure("/memory/classes/total:bytes") },
	} {
		if v := read(); v <= 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if v := runtimeFigure("/no/such:figure"); v != 0 {
		t.Errorf("an unknown figure is %v", v)
	}
}

func TestManyRoutesShareOther(t *testing.T) {
	r := NewRegistry()
	g := NewGateway(r, "1", time.Now())
	seen := map[*RouteMetrics]bool{}
	for i := range 5000 {
		seen[g.Route(fmt.Sprint("r", i))] = true
	}
	if len(seen) != maxRoutes+1 {
		t.Errorf("%d handles, want %d", len(seen), maxRoutes+1)
	}
	if g.Route("r4999") != g.Route(Other) || g.Route("r0") == g.Route(Other) {
		t.Error("the wrong routes share")
	}
	if n := testing.AllocsPerRun(100, func() { g.Route("r4999") }); n != 0 {
		t.Errorf("a route past the limit costs %v allocations", n)
	}
	if got := text(t, r); strings.Count(got, "sluice_http_request_bytes_total{") != maxRoutes+2 {
		t.Error("not every route has its series, or there are too many")
	}
}

func TestRetain(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	g := fill(r)
	gone := g.Route("gone")
	g.Upstream("gone")
	g.Listener("gone")
	kept := g.Route("orders")
	keep := func(name string) bool { return name == "orders" || name == "web" }
	g.Retain(keep, keep, keep)
	gone.Done(sampleExchange())
	got := text(t, r)
	if strings.Contains(got, `="gone"`) {
		t.Error("series of what is gone are shown")
	}
	if g.Route("orders") != kept || !strings.Contains(got, `route="orders"`) || !strings.Contains(got, `listener="web"`) {
		t.Error("what is kept lost its handles")
	}
	if g.Route("gone") == gone {
		t.Error("a route that comes back counts where nobody looks")
	}
	if !strings.Contains(got, `route="`+Unmatched+`"`) {
		t.Error("the exchanges without a route lost their series")
	}
}

func TestStatusClass(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{0: "none", 99: "none", 101: "1xx", 200: "2xx", 304: "3xx", 499: "4xx", 599: "5xx", 600: "none", -1: "none"} {
		if got := statusLabels[statusClass(status)]; got != want {
			t.Errorf("%d is %s, want %s", status, got, want)
		}
	}
	x := new(message.Exchange)
	if Status(x) != 0 {
		t.Error("nothing has a status")
	}
	x.Deny(message.ClientGone)
	if Status(x) != 499 {
		t.Error("a problem without an answer does not give the status")
	}
	x.Response.Status = 200
	if Status(x) != 200 {
		t.Error("the answer does not give the status")
	}
}

func TestProblemLimit(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	g := NewGateway(r, "1", time.Now())
	for i := range 3 * maxProblems {
		g.Problem(0, &message.Problem{Code: fmt.Sprint("p", i)})
	}
	if n := len(*g.problems.Load()); n > maxProblems {
		t.Errorf("the table has %d problems", n)
	}
	if got, want := text(t, r), fmt.Sprintf(`sluice_problems_total{code="other",source="other"} %d`, 2*maxProblems); !strings.Contains(got, want) {
		t.Errorf("%q is missing", want)
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	r := NewRegistry()
	g := fill(r)
	route, upstream, listener, x := g.Route("orders"), g.Upstream("orders"), g.Listener("web"), sampleExchange()
	if n := testing.AllocsPerRun(100, func() {
		route.Done(x)
		g.Problem(x.Shard, message.RouteNotFound)
		upstream.Answered(x.Shard, 200, time.Millisecond)
		upstream.Connected(x.Shard, time.Millisecond)
		listener.Opened(x.Shard)
		listener.Closed(x.Shard)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRouteDone(b *testing.B) {
	route, x := fill(NewRegistry()).Route("orders"), sampleExchange()
	for b.Loop() {
		route.Done(x)
	}
}

func BenchmarkProblem(b *testing.B) {
	g := fill(NewRegistry())
	for b.Loop() {
		g.Problem(1, message.RouteNotFound)
	}
}

func BenchmarkWriteText(b *testing.B) {
	r := NewRegistry()
	g := fill(r)
	for i := range maxRoutes {
		g.Route(fmt.Sprint("r", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.WriteText(discard{})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
