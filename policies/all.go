// Package policies is the list of all policies: a new one is a folder and a line
// here.
package policies

import (
	"github.com/sluice-gateway/sluice/policies/apikey"
	"github.com/sluice-gateway/sluice/policies/basicauth"
	"github.com/sluice-gateway/sluice/policies/compress"
	"github.com/sluice-gateway/sluice/policies/concurrency"
	"github.com/sluice-gateway/sluice/policies/cors"
	"github.com/sluice-gateway/sluice/policies/eventstream"
	"github.com/sluice-gateway/sluice/policies/faultinjection"
	"github.com/sluice-gateway/sluice/policies/grpcweb"
	"github.com/sluice-gateway/sluice/policies/headers"
	"github.com/sluice-gateway/sluice/policies/iprules"
	"github.com/sluice-gateway/sluice/policies/ratelimit"
	"github.com/sluice-gateway/sluice/policies/requestid"
	"github.com/sluice-gateway/sluice/policies/requestlimits"
	"github.com/sluice-gateway/sluice/policies/rewrite"
	"github.com/sluice-gateway/sluice/policies/throttle"
	"github.com/sluice-gateway/sluice/policy"
)

// All returns every kind of policy, in the order of their stages.
func All() []policy.Kind {
	return []policy.Kind{
		requestid.Kind,
		iprules.Kind,
		requestlimits.Kind,
		cors.Kind,

		apikey.Kind,
		basicauth.Kind,

		ratelimit.Kind,
		concurrency.Kind,
		throttle.Kind,

		faultinjection.Kind,

		rewrite.Kind,
		headers.Kind,
		grpcweb.Kind,
		eventstream.Kind,
		compress.Kind,
	}
}
