// Package split sends each request to one of several upstreams, chosen by weight.
//
// The choice is random: no counter that all cores write to, and no pattern that
// beats with the pattern of the requests, as taking turns would have. Each
// request is chosen for on its own; clients are not bound to an upstream.
package split

import (
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the target split.
var Kind = target.Define("split", files, build)

// Limits of one split.
const (
	MaxArms   = 32
	MaxWeight = 1_000_000
)

// splitter is one split target.
type splitter struct {
	arms  []arm
	total uint32
}

// arm takes the numbers below its bound that no arm before it takes.
type arm struct {
	bound  uint32
	origin target.RoundTripper
}

func build(c *Config, env *target.Env) (target.Handler, error) {
	s, names, err := compile(*c, env)
	if err != nil {
		return target.Handler{}, err
	}
	return target.Handler{Serve: s.serve, Upstreams: names}, nil
}

// compile checks the list and finds its upstreams; it reports all that is wrong.
func compile(c Config, env *target.Env) (s *splitter, names []string, err error) {
	if len(c) == 0 {
		return nil, nil, errors.New("the list is empty: give at least one upstream with its weight")
	}
	if len(c) > MaxArms {
		return nil, nil, fmt.Errorf("%d upstreams; the limit is %d", len(c), MaxArms)
	}
	s = &splitter{}
	var errs []error
	seen := map[string]int{}
	for i, a := range c {
		place := fmt.Sprintf("[%d]", i)
		if a.Weight < 0 || a.Weight > MaxWeight {
			errs = append(errs, unit.At(place+".weight", fmt.Errorf("%d is no weight: write a whole number from 0 to %d", a.Weight, MaxWeight)))
			continue
		}
		if first, twice := seen[a.Upstream]; twice {
			errs = append(errs, unit.At(place+".upstream", fmt.Errorf("%q stands in this list already, at place %d: add the weights up", a.Upstream, first+1)))
			continue
		}
		seen[a.Upstream] = i
		origin, err := env.Upstream(a.Upstream)
		if err != nil {
			errs = append(errs, unit.At(place+".upstream", err))
			continue
		}
		names = append(names, origin.Name())
		s.total += uint32(a.Weight)
		s.arms = append(s.arms, arm{s.total, origin})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	if s.total == 0 {
		return nil, nil, errors.New("all weights are 0, so no upstream would get a request: give one a weight")
	}
	return s, names, nil
}

func (s *splitter) serve(x *message.Exchange) error {
	return s.pick(rand.Uint32N(s.total)).RoundTrip(x, &x.Request, &x.Response)
}

// pick returns the upstream that takes a number below the total.
func (s *splitter) pick(n uint32) target.RoundTripper {
	i := 0
	for n >= s.arms[i].bound {
		i++
	}
	return s.arms[i].origin
}
