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
		if n := strings.Count(g.Log(), words); n != 1 {
			t.Errorf("%q is in the log %d times", words, n)
		}
	}
}
