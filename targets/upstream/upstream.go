// Package upstream sends requests to the origins of one upstream.
package upstream

import (
	"embed"
	"errors"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the target upstream.
var Kind = target.Define("upstream", files, build)

// Config is what stands behind `upstream`: the name of one.
type Config string

func build(c *Config, env *target.Env) (target.Handler, error) {
	if *c == "" {
		return target.Handler{}, errors.New("the name of an upstream is missing: write one that is declared under upstreams")
	}
	origin, err := env.Upstream(string(*c))
	if err != nil {
		return target.Handler{}, err
	}
	return target.Handler{
		Serve: func(x *message.Exchange) error {
			return origin.RoundTrip(x, &x.Request, &x.Response)
		},
		Upstreams: []string{origin.Name()},
	}, nil
}
