// Package targets lists every target that the gateway has. It is the only code
// that knows them all.
package targets

import (
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/targets/fallback"
	"github.com/sluice-gateway/sluice/targets/mirror"
	"github.com/sluice-gateway/sluice/targets/redirect"
	"github.com/sluice-gateway/sluice/targets/respond"
	"github.com/sluice-gateway/sluice/targets/rollout"
	"github.com/sluice-gateway/sluice/targets/split"
	"github.com/sluice-gateway/sluice/targets/upstream"
)

// All returns every kind of target, in the order of the documentation.
func All() []target.Kind {
	return []target.Kind{
		upstream.Kind,
		split.Kind,
		rollout.Kind,
		fallback.Kind,
		mirror.Kind,
		respond.Kind,
		redirect.Kind,
	}
}
