package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/discovery"
	"github.com/sluice-gateway/sluice/upstream/outlier"
	"github.com/sluice-gateway/sluice/upstream/probe"
)

// watched is an upstream whose endpoints are watched in every way.
func watched(addresses ...string) Config {
	c := to(addresses...)
	c.Balance = PeakEWMA
	c.Health = &Health{Probe: probe.Config{Path: "/health", Timeout: time.Second}, Interval: time.Hour, Unhealthy: 3, Healthy: 2}
	c.Ejection = &outlier.Config{Consecutive: 2, Base: time.Hour, Max: time.Hour}
	c.Breaker = &breaker.Config{FailureShare: 0.5, Volume: 2, OpenFor: time.Hour, OpenMax: time.Hour}
	c.BreakAll, c.BreakEach = true, true
	return c
}

// suffer makes the first endpoint of an upstream ill in every way.
func suffer(u *Upstream) {
	e := u.Endpoints()[0]
	e.checked.Store(&checkResult{at: time.Now(), err: message.UpstreamConnect})
	u.Mark(e, Unhealthy, true)
	now := message.Clock()
	for range 2 {
		e.member.Record(now, true, 0)
		e.breaker.Record(now, 0, 0, true, 0)
		u.breaker.Record(now, 0, 0, true, 0)
		u.learn(e, now, time.Minute, true)
	}
}

// replace makes the upstream that follows another one.
func replace(t *testing.T, u *Upstream, c Config) *Upstream {
	t.Helper()
	next, _ := newUpstream(t, c)
	next.Adopt(u)
	return next
}

func TestWhatIsKnownIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(c *Config)

		state                         string
		checked, breaker, own, slower bool
	}{
		{"a timeout", func(c *Config) { c.TryTimeout = time.Second }, "unhealthy", true, true, true, true},
		{"the order of endpoints", func(c *Config) { c.Endpoints[0], c.Endpoints[1] = c.Endpoints[1], c.Endpoints[0] }, "unhealthy", true, true, true, true},
		{"weight and zone", func(c *Config) { c.Endpoints[0].Weight, c.Endpoints[0].Zone = 7, "b" }, "unhealthy", true, true, true, true},
		{"how often is asked", func(c *Config) { c.Health.Interval, c.Health.Probe.Timeout = time.Minute, time.Minute }, "unhealthy", true, true, true, true},
		{"what is asked", func(c *Config) { c.Health.Probe.Path = "/other" }, "ejected", false, true, true, true},
		{"nobody is asked", func(c *Config) { c.Health = nil }, "ejected", false, true, true, true},
		{"nobody is ejected", func(c *Config) { c.Health, c.Ejection = nil, nil }, "healthy", false, true, true, true},
		{"no breaker", func(c *Config) { c.Breaker = nil }, "unhealthy", true, false, false, true},
		{"a breaker of all only", func(c *Config) { c.BreakEach = false }, "unhealthy", true, false, true, true},
		{"another method", func(c *Config) { c.Balance = Random }, "unhealthy", true, true, true, true},
		{"TLS in another way", func(c *Config) { c.TLS = "with other authorities" }, "healthy", false, false, false, false},
		{"another protocol", func(c *Config) { c.Protocol = HTTP2 }, "healthy", false, false, false, false},
		{"TLS at the endpoint", func(c *Config) { c.Endpoints[0].Secure = true }, "healthy", false, false, true, false},
		{"another port", func(c *Config) { c.Endpoints[0].Address = "10.0.0.1:81" }, "healthy", false, false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before, _ := newUpstream(t, watched("10.0.0.1:80", "10.0.0.2:80"))
			suffer(before)
			config := watched("10.0.0.1:80", "10.0.0.2:80")
			c.change(&config)
			u := replace(t, before, config)
			now := message.Clock()
			var e, other *Endpoint
			for _, of := range u.Endpoints() {
				if of.address == "10.0.0.2:80" {
					other = of
				} else {
					e = of
				}
			}
			h := e.Health(now)
			slower := e.latency.Value(now, latencyDecay) > time.Second
			if h.State != c.state || (h.CheckError != nil) != c.checked || slower != c.slower {
				t.Errorf("%+v, slower %v", h, slower)
			}
			if open := h.Breaker != nil && h.Breaker.State == breaker.Open; open != c.breaker {
				t.Errorf("its breaker is open: %v", open)
			}
			if v, _ := u.Breaker(now); (v.State == breaker.Open) != c.own {
				t.Errorf("the breaker of the upstream: %+v", v)
			}
			if c.state == "unhealthy" && h.Since != before.Endpoints()[0].Health(now).Since {
				t.Errorf("it is ill since %v", h.Since)
			}
			if h := other.Health(now); h.State != "healthy" || h.CheckError != nil || h.Ejection != nil && h.Ejection.Ejections != 0 {
				t.Errorf("the other endpoint: %+v", h)
			}
			for range 50 {
				if chosen := u.chosen.Load().pick(u, hint{now: now}, triedSet{}); c.state != "healthy" && chosen == e {
					t.Fatal("the ill endpoint gets requests")
				}
			}
		})
	}
}

// TestNewcomerOfAReload: only what was not there before is spared.
func TestNewcomerOfAReload(t *testing.T) {
	t.Parallel()
	config := to("a:1", "b:1")
	config.SlowStart = time.Hour
	before, _ := newUpstream(t, config)
	config.Endpoints = append(config.Endpoints, EndpointConfig{Address: "c:1"})
	u := replace(t, before, config)
	for i, e := range u.Endpoints() {
		if began := e.began.Load(); (began != 0) != (i == 2) {
			t.Errorf("%s began at %d", e.address, began)
		}
	}
}

// TestDescribedAnew is an endpoint whose source gives it another weight.
func TestDescribedAnew(t *testing.T) {
	t.Parallel()
	u, _ := newUpstream(t, watched("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"))
	suffer(u)
	list := []EndpointConfig{{Address: "10.0.0.1:80", Weight: 5}, {Address: "10.0.0.2:80"}, {Address: "10.0.0.3:80"}}
	for range 2 {
		u.SetEndpoints(list)
		e := u.Endpoints()[0]
		h := e.Health(message.Clock())
		if e.weight != 5 || h.State != "unhealthy" || len(h.Illnesses) != 2 || h.Breaker.State != breaker.Open || h.Ejection.Ejections != 1 {
			t.Fatalf("weight %d: %+v", e.weight, h)
		}
	}
}

// TestFirstListOfAnotherSource: what is known waits for the endpoints.
func TestFirstListOfAnotherSource(t *testing.T) {
	t.Parallel()
	before, _ := newUpstream(t, watched("10.0.0.1:80", "10.0.0.2:80"))
	suffer(before)
	u, _ := newUpstream(t, watched())
	u.Discover(make(told), time.Second)
	u.Inherit(before)
	u.Adopt(before)
	u.take([]discovery.Endpoint{{Address: "10.0.0.2:80"}, {Address: "10.0.0.1:80"}})
	if got := u.Endpoints()[0].State() + " " + u.Endpoints()[1].State(); got != "healthy unhealthy" {
		t.Errorf("the endpoints are %s", got)
	}
	u.take([]discovery.Endpoint{{Address: "10.0.0.2:80"}})
	u.take([]discovery.Endpoint{{Address: "10.0.0.2:80"}, {Address: "10.0.0.1:80"}})
	if got := u.Endpoints()[1].State(); got != "healthy" {
		t.Errorf("one that has left and come again is %s", got)
	}
}

// TestEjectionEndsInTime though the interval is long.
func TestEjectionEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := to("a:1", "b:1")
		c.Ejection = &outlier.Config{Consecutive: 1, Interval: time.Hour, Base: time.Second}
		u, _ := newUpstream(t, c)
		u.Start()
		synctest.Wait()
		e := u.Endpoints()[0]
		e.member.Record(message.Clock(), true, 0)
		if e.State() != "ejected" {
			t.Fatalf("after a failure it is %s", e.State())
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if e.State() != "healthy" {
			t.Error("it stays out for as long as the interval")
		}
		_ = u.Close()
	})
}
