package fairshare

import (
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

const one = "policies:\n  - fair_share: { header: X-Tenant, max: 1 }\n"

func TestOneUnderWay(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, one, Kind)
	hooks := g.Hooks()
	first := g.Exchange("GET", "/", "X-Tenant", "acme")
	if v := hooks.OnRequest(first); v != message.Next {
		t.Fatalf("the first request: %v", v)
	}
	second := g.Exchange("GET", "/", "X-Tenant", "acme")
	if v := hooks.OnRequest(second); v != message.Reply || second.Problem() != full {
		t.Errorf("the second request: %v, %v", v, second.Problem())
	}
	hooks.OnDone(second) // It was not counted, so it frees nothing.
	if v := hooks.OnRequest(g.Exchange("GET", "/", "X-Tenant", "acme")); v != message.Reply {
		t.Errorf("the third request: %v", v)
	}
	hooks.OnDone(first)
	last := g.Exchange("GET", "/", "X-Tenant", "acme")
	if v := hooks.OnRequest(last); v != message.Next {
		t.Errorf("the request after the first has ended: %v", v)
	}
	hooks.OnDone(last)
}

// A request that is under way when the configuration changes still counts.
func TestCountsSurviveReload(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, one, Kind)
	before := g.Hooks()
	first := g.Exchange("GET", "/", "X-Tenant", "acme")
	before.OnRequest(first)
	if err := g.Reload("config.yaml", one); err != nil {
		t.Fatal(err)
	}
	second := g.Exchange("GET", "/", "X-Tenant", "acme")
	if v := g.Hooks().OnRequest(second); v != message.Reply {
		t.Errorf("after the reload: %v", v)
	}
	before.OnDone(first)
	if v := g.Hooks().OnRequest(second); v != message.Next {
		t.Errorf("after the first has ended: %v", v)
	}
	g.Hooks().OnDone(second)
}

// One tenant more than can be counted is a fault, not a refusal: on_fault decides.
func TestTooManyTenants(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, "policies:\n  - fair_share: { header: X-Tenant, max: 1, tenants: 1 }\n", Kind)
	first := g.Exchange("GET", "/", "X-Tenant", "acme")
	g.Hooks().OnRequest(first)
	a := g.Serve(g.Exchange("GET", "/", "X-Tenant", "other"))
	if len(a.Faults) != 1 || a.Status != 200 {
		t.Errorf("%d, faults %v", a.Status, a.Faults)
	}
	g.Hooks().OnDone(first)
}

func TestAllocations(t *testing.T) {
	g := policytest.New(t, "policies:\n  - fair_share: { header: X-Tenant, max: 1000000 }\n", Kind)
	g.Hooks().OnRequest(g.Exchange("GET", "/", "X-Tenant", "acme")) // makes the entry of the table
	policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) { g.Fill(x, "GET", "/", "X-Tenant", "acme") })
}
