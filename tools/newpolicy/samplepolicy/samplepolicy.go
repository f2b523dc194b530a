// Package samplepolicy refuses requests that lack a header field.
//
// Say here, after the first sentence, which is the description of the policy
// everywhere, how it works and what it costs.
package samplepolicy

import (
	"embed"
	"fmt"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy sample_policy.
var Kind = policy.Define("sample_policy", policy.Inspect, files, build, policy.Problems(lacking))

var lacking = &message.Problem{
	Status: 400,
	Code:   "sample_policy_lacking",
	Title:  "The request lacks a header field",
	Source: message.SourceClient,
}

// check is one sample_policy in one place.
type check struct {
	header  string
	lacking *message.Problem
	refused *meter.Counter
}

// build runs once for each place in a configuration. What can be decided here is
// not decided for each request.
func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	if !message.ValidName(c.Header) {
		return policy.Hooks{}, fmt.Errorf("header %q is not the name of a field: use letters, digits and hyphens", c.Header)
	}
	k := &check{
		header:  c.Header,
		lacking: lacking.WithDetail("Send the field " + c.Header + "."),
		refused: env.Metrics.Counter("sluice_sample_policy_refused_total", "Requests that lack the field.", policy.Label{Name: "route", Value: env.Place.Route}),
	}
	return policy.Hooks{OnRequest: k.onRequest}, nil
}

// onRequest allocates nothing.
func (k *check) onRequest(x *message.Exchange) message.Verdict {
	if x.Request.Header.Get(k.header) != "" {
		return message.Next
	}
	k.refused.Add(x.Shard, 1)
	return x.Deny(k.lacking)
}
