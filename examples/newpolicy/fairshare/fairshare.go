// Package fairshare lets each tenant have so many requests under way at once, and refuses what is more.
//
// It is the policy of docs/writing-a-policy.md. A request costs two look-ups under
// one lock and no allocation.
package fairshare

import (
	"embed"
	"fmt"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy fair_share.
var Kind = policy.Define("fair_share", policy.Limit, files, build, policy.Problems(missing, full))

var (
	missing = &message.Problem{
		Status: 400,
		Code:   "fair_share_tenant_missing",
		Title:  "The request does not say which tenant it belongs to",
		Source: message.SourceClient,
	}
	full = &message.Problem{
		Status: 429,
		Code:   "fair_share_full",
		Title:  "Too many requests of this tenant are under way",
		Source: message.SourcePolicy,
		Retry:  message.RetryYes,
	}
)

// countedHeader tells the origin that the request was counted. A client cannot say so.
const countedHeader = "X-Fair-Share"

// share is one fair_share in one place.
type share struct {
	config  Config
	missing *message.Problem
	tenants *tenants
	counted policy.Local[counted]
	refused *meter.Counter
}

// counted is what OnRequest leaves for OnDone.
type counted struct {
	tenant string
	in     bool
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	if !message.ValidName(c.Header) {
		return policy.Hooks{}, fmt.Errorf("header %q is not the name of a field: use letters, digits and hyphens", c.Header)
	}
	kept, err := policy.Keep(env, "tenants", func() (*tenants, error) { return newTenants(), nil })
	if err != nil {
		return policy.Hooks{}, fmt.Errorf("fairshare: open counts: %w", err)
	}
	env.Vouch(countedHeader)
	s := &share{
		config:  *c,
		missing: missing.WithDetail("Send the field " + c.Header + "."),
		tenants: kept,
		counted: policy.NewLocal[counted](env),
		refused: env.Metrics.Counter("sluice_fair_share_refused_total", "Requests that fair_share refused.",
			policy.Label{Name: "route", Value: env.Place.Route}),
	}
	return policy.Hooks{OnRequest: s.onRequest, OnDone: s.onDone}, nil
}

// onRequest allocates nothing but, for a tenant who had no request under way, the
// entry of the table.
func (s *share) onRequest(x *message.Exchange) message.Verdict {
	tenant := x.Request.Header.Get(s.config.Header)
	if tenant == "" {
		return x.Deny(s.missing)
	}
	ok, err := s.tenants.enter(tenant, s.config.Max, s.config.Tenants)
	if err != nil {
		return x.Fault(err)
	}
	if !ok {
		s.refused.Add(x.Shard, 1)
		x.Response.Header.Set("Retry-After", "1")
		return x.Deny(full)
	}
	*s.counted.At(x) = counted{tenant, true}
	x.Request.Header.Set(countedHeader, "1")
	return message.Next
}

func (s *share) onDone(x *message.Exchange) {
	if c := s.counted.At(x); c.in {
		s.tenants.leave(c.tenant)
	}
}
