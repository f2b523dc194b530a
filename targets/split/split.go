// Package split sends each request to one of several upstreams, chosen by weight.
//
// Conditions come first: who has a header, a cookie or a group goes to the arm that
// asks for it. The rest is chosen for by weight. That is random: no counter that
// all cores write to, and no pattern that beats with the pattern of the requests,
// as taking turns would have. With a key the choice is a function of it alone, so
// that a user stays on one side.
package split

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
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
	rules []rule
	arms  []arm
	total uint32
	key   *template.Key // nil: each request is chosen for on its own
}

// rule takes the requests for which its condition holds and no earlier one does.
type rule struct {
	when   *When
	origin target.RoundTripper
}

// arm takes the numbers below its bound that no arm before it takes.
type arm struct {
	bound  uint32
	origin target.RoundTripper
}

func build(c *Config, env *target.Env) (target.Handler, error) {
	s, names, err := compile(c, env)
	if err != nil {
		return target.Handler{}, err
	}
	return target.Handler{Serve: s.serve, Upstreams: names, Words: s.words(c)}, nil
}

// words say what the settings mean, for explain.
func (s *splitter) words(c *Config) (lines []string) {
	others := "requests"
	for i := range s.rules {
		lines = append(lines, "sends to "+s.rules[i].origin.Name()+" what has "+s.rules[i].when.words())
		others = "all other requests"
	}
	low, shares := uint32(0), make([]string, len(s.arms))
	for i, a := range s.arms {
		shares[i] = fmt.Sprintf("%s (%.4g%%)", a.origin.Name(), 100*float64(a.bound-low)/float64(s.total))
		low = a.bound
	}
	line := "sends " + others + " to " + strings.Join(shares, " or ")
	if c.Key != "" {
		line += ", those of one " + c.Key + " to the same"
	}
	return append(lines, line)
}

// share is an upstream and its weight, before they are laid out.
type share struct {
	weight int
	origin target.RoundTripper
}

// compile checks the arms and finds their upstreams; it reports all that is wrong.
func compile(c *Config, env *target.Env) (s *splitter, names []string, err error) {
	if len(c.Arms) == 0 {
		return nil, nil, errors.New("the list is empty: give at least one upstream with its weight")
	}
	if len(c.Arms) > MaxArms {
		return nil, nil, fmt.Errorf("%d upstreams; the limit is %d", len(c.Arms), MaxArms)
	}
	s = &splitter{}
	var errs []error
	if s.key, err = template.ParseKey(c.Key); err != nil {
		errs = append(errs, unit.At("key", err))
	}
	var shares []share
	plain := map[string]int{}
	for i := range c.Arms {
		a, place := &c.Arms[i], c.place(i)
		if w := a.weight(); w < 0 || w > MaxWeight {
			errs = append(errs, unit.At(place+".weight", fmt.Errorf("%d is no weight: write a whole number from 0 to %d", w, MaxWeight)))
			continue
		}
		if first, twice := plain[a.Upstream]; twice && a.When == nil {
			errs = append(errs, unit.At(place+".upstream", fmt.Errorf("%q stands in this list already, at place %d: add the weights up", a.Upstream, first+1)))
			continue
		}
		origin, err := env.Upstream(a.Upstream)
		if err != nil {
			errs = append(errs, unit.At(place+".upstream", err))
			continue
		}
		if a.When != nil {
			s.rules = append(s.rules, rule{a.When, origin})
		} else {
			plain[a.Upstream] = i
		}
		if !slices.Contains(names, origin.Name()) {
			names = append(names, origin.Name())
		}
		shares = append(shares, share{a.weight(), origin})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	s.layOut(shares)
	if s.total == 0 {
		return nil, nil, errors.New("all weights are 0, so no upstream would get a request that no condition takes: give one a weight")
	}
	return s, names, nil
}

// layOut gives each upstream its range, in the order of their names: whoever sorts
// the list anew moves no user. Ranges lie one behind the other, so that of two arms
// the one that grows keeps all that it had.
func (s *splitter) layOut(shares []share) {
	slices.SortStableFunc(shares, func(a, b share) int { return cmp.Compare(a.origin.Name(), b.origin.Name()) })
	for _, each := range shares {
		if each.weight > 0 {
			s.total += uint32(each.weight)
			s.arms = append(s.arms, arm{s.total, each.origin})
		}
	}
}

func (s *splitter) serve(x *message.Exchange) error {
	return s.choose(x).RoundTrip(x, &x.Request, &x.Response)
}

// choose returns the upstream for a request.
func (s *splitter) choose(x *message.Exchange) target.RoundTripper {
	for i := range s.rules {
		if s.rules[i].when.holds(x) {
			return s.rules[i].origin
		}
	}
	return s.pick(s.key.Draw(x, s.total))
}

// pick returns the upstream that takes a number below the total.
func (s *splitter) pick(n uint32) target.RoundTripper {
	i := 0
	for n >= s.arms[i].bound {
		i++
	}
	return s.arms[i].origin
}
