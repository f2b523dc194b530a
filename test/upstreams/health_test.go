package upstreams

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// endpoint is what /status says of one.
type endpoint struct {
	Address, State string
	Illnesses      []string
	Since          time.Time
	Check          *struct {
		At             time.Time
		Result, Detail string
	}
	Ejection *struct {
		Count  int
		Reason string
		Until  time.Time
	}
	Breaker *shownBreaker
}

type shownBreaker struct {
	State           string
	Until           time.Time
	Opened, Refused int
}

// endpoints are those of the upstream, by address.
func (g *gateway) endpoints() (all map[string]endpoint, own *shownBreaker) {
	g.t.Helper()
	_, body, err := g.Get("/status")
	if err != nil {
		g.t.Fatal(err)
	}
	var s struct {
		Upstreams []struct {
			Endpoints []endpoint
			Breaker   *shownBreaker
		}
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil || len(s.Upstreams) != 1 {
		g.t.Fatalf("%v: %s", err, body)
	}
	all = map[string]endpoint{}
	for _, e := range s.Upstreams[0].Endpoints {
		all[e.Address] = e
	}
	return all, s.Upstreams[0].Breaker
}

// counted waits until the metrics have these lines.
func (g *gateway) counted(lines ...string) {
	g.t.Helper()
	g.eventually(func() error {
		_, metrics, err := g.Get("/metrics")
		for _, line := range lines {
			if err == nil && !strings.Contains(metrics, "\n"+line+"\n") {
				err = fmt.Errorf("the metrics have no line %s", line)
			}
		}
		return err
	})
}

// address is host:port of an origin.
func (o *origin) address() string { return o.Listener.Addr().String() }

// TestHealthIsShown: what watches the endpoints is to be seen in the status, the metrics and the log.
func TestHealthIsShown(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := start(t, fmt.Sprintf(`endpoints: [%s, %s]
health: { path: /health, interval: 20ms, unhealthy: 2 }
ejection: { consecutive: 3, time: 1h, max_time: 1h }
breaker: { scope: [endpoint, upstream], minimum_requests: 4, open: 1h, max_open: 1h }`, a.URL, b.URL))
	g.eventually(func() error {
		all, own := g.endpoints()
		for address, e := range all {
			if e.State != "healthy" || e.Illnesses != nil || e.Since.IsZero() || e.Check == nil || e.Check.Result != "good" || e.Ejection == nil || e.Ejection.Count != 0 ||
				e.Breaker == nil || e.Breaker.State != "closed" || own == nil || own.State != "closed" {
				return fmt.Errorf("%s at first: %+v", address, e)
			}
		}
		return nil
	})
	a.fails.Store(true)
	g.eventually(func() error {
		all, _ := g.endpoints()
		if e := all[a.address()]; e.State != "unhealthy" || len(e.Illnesses) == 0 || e.Check.Result != "bad" || !strings.Contains(e.Check.Detail, "500") {
			return fmt.Errorf("when it fails: %+v, %+v", e, e.Check)
		}
		return nil
	})
	g.counted(
		`sluice_upstream_endpoints{upstream="orders",state="unhealthy"} 1`,
		`sluice_upstream_endpoint_healthy{upstream="orders",endpoint="`+a.address()+`"} 0`,
		`sluice_upstream_endpoint_healthy{upstream="orders",endpoint="`+b.address()+`"} 1`,
	)
	b.fails.Store(true)
	for range 6 {
		g.ask("")
	}
	all, own := g.endpoints()
	if own.State != "open" || own.Opened != 1 || own.Refused == 0 || time.Until(own.Until) < 50*time.Minute {
		t.Errorf("the breaker of the upstream: %+v", own)
	}
	if e := all[b.address()]; e.Ejection.Count != 0 && time.Until(e.Ejection.Until) < 50*time.Minute {
		t.Errorf("the ejection: %+v", e.Ejection)
	}
	g.counted(
		`sluice_upstream_breaker_state{upstream="orders",endpoint=""} 2`,
		`sluice_upstream_breaker_opened_total{upstream="orders",scope="upstream"} 1`,
		`sluice_upstream_breaker_refused_total{upstream="orders",scope="endpoint"} 0`,
	)
	for _, words := range []string{`"endpoint unhealthy","upstream":"orders","endpoint":"` + a.address() + `"`, `"breaker","upstream":"orders","state":"open"`} {
		if n, err := g.Logged(words); n != 1 {
			t.Errorf("%q is in the log %d times: %v", words, n, err)
		}
	}
}

// TestHealthOverReloads: a reload that changes an upstream sends nothing to an endpoint that is known
// to be ill.
func TestHealthOverReloads(t *testing.T) {
	t.Parallel()
	a, b, c := newOrigin(t, "a"), newOrigin(t, "b"), newOrigin(t, "c")
	settings := func(timeout string) string {
		return fmt.Sprintf(`endpoints: [%s, %s, %s]
retry: { attempts: 0 }
health: { path: /health, interval: 50ms, unhealthy: 2 }
ejection: { consecutive: 3, time: 1h, max_time: 1h }
timeouts: { response: %s }`, a.URL, b.URL, c.URL, timeout)
	}
	g := start(t, settings("10s"))
	a.fails.Store(true)
	g.eventually(func() error {
		all, _ := g.endpoints()
		if e := all[a.address()]; e.State != "unhealthy" {
			return fmt.Errorf("%+v", e)
		}
		return nil
	})
	before, _ := g.endpoints()
	asked := a.asked.Load()
	for _, timeout := range []string{"11s", "12s", "13s"} {
		g.reload(settings(timeout))
		for range 30 {
			if code, body, _ := g.ask(""); code != 200 {
				t.Fatalf("after a reload: %d %s", code, body)
			}
		}
		after, _ := g.endpoints()
		if e := after[a.address()]; e.State != "unhealthy" || !e.Since.Equal(before[a.address()].Since) || e.Check == nil {
			t.Errorf("after a reload: %+v", e)
		}
	}
	if now := a.asked.Load(); now != asked {
		t.Errorf("the ill endpoint got %d requests", now-asked)
	}
	a.fails.Store(false)
	g.eventually(func() error {
		if _, body, _ := g.ask(""); body != "a " {
			return fmt.Errorf("it gets no requests when it is well again")
		}
		return nil
	})
	if n, err := g.Logged(`"endpoint unhealthy"`); n != 1 {
		t.Errorf("one illness is in the log %d times: %v", n, err)
	}
}

// TestEjectionAndBreakerOverReloads is the same for what passive watching has found.
func TestEjectionAndBreakerOverReloads(t *testing.T) {
	t.Parallel()
	for _, watch := range []string{
		"ejection: { consecutive: 3, time: 1h, max_time: 1h }",
		"breaker: { minimum_requests: 3, open: 1h, max_open: 1h }",
	} {
		a, b := newOrigin(t, "a"), newOrigin(t, "b")
		settings := func(timeout string) string {
			return fmt.Sprintf("endpoints: [%s, %s]\nretry: { attempts: 0 }\n%s\ntimeouts: { response: %s }", a.URL, b.URL, watch, timeout)
		}
		g := start(t, settings("10s"))
		a.fails.Store(true)
		for range 10 {
			g.ask("")
		}
		asked := a.asked.Load()
		if asked != 3 {
			t.Errorf("%s: it got %d requests", watch, asked)
		}
		g.reload(settings("11s"))
		for range 10 {
			if code, body, _ := g.ask(""); code != 200 {
				t.Fatalf("%s: after a reload: %d %s", watch, code, body)
			}
		}
		if a.asked.Load() != asked {
			t.Errorf("%s: after a reload it gets requests", watch)
		}
		all, _ := g.endpoints()
		e := all[a.address()]
		if e.Ejection != nil && (e.State != "ejected" || e.Ejection.Count != 1 || time.Until(e.Ejection.Until) < 50*time.Minute) {
			t.Errorf("%s: %+v, %+v", watch, e, e.Ejection)
		}
		if e.Breaker != nil && (e.Breaker.State != "open" || e.Breaker.Opened != 1 || time.Until(e.Breaker.Until) < 50*time.Minute) {
			t.Errorf("%s: %+v", watch, e.Breaker)
		}
		if (e.Ejection == nil) == (e.Breaker == nil) {
			t.Errorf("%s: %+v", watch, e)
		}
	}
}
