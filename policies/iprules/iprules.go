// Package iprules lets requests in, or refuses them, by the client's address.
//
// All rules become one set of addresses when the policy is built, so a request
// costs one binary search, however many rules there are.
package iprules

import (
	"embed"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy ip_rules.
var Kind = policy.Define("ip_rules", policy.Edge, files, build, policy.Problems(refused))

// refused does not name the rule: whom it is for learns nothing from it but where
// the holes are.
var refused = &message.Problem{
	Status: 403,
	Code:   "address_refused",
	Title:  "Requests from this address are not allowed",
	Source: message.SourceClient,
}

var errNoAddress = errors.New("ip_rules: the client has no address")

func build(c *Config, _ *policy.Env) (policy.Hooks, error) {
	t, err := compile(c)
	if err != nil {
		return policy.Hooks{}, err
	}
	return policy.Hooks{OnRequest: t.onRequest}, nil
}

// compile makes the set of addresses that may come in: those of allow, or all if
// there is no allow, without those of deny.
func compile(c *Config) (*table, error) {
	if len(c.Allow) == 0 && len(c.Deny) == 0 {
		return nil, errors.New("there is no rule: name addresses or networks under allow or deny")
	}
	denied := merge(c.Deny)
	var dead []error
	for i, a := range c.Allow {
		s := spanOf(a.Prefix)
		if d, ok := find(denied, s.first); ok && !d.last.Less(s.last) {
			dead = append(dead, unit.At(fmt.Sprintf("allow[%d]", i),
				fmt.Errorf("deny refuses all of %s, and deny goes first: take it out of one of the two", a)))
		}
	}
	if dead != nil {
		return nil, errors.Join(dead...)
	}
	allowed := merge(c.Allow)
	if len(allowed) == 0 {
		allowed = merge(everything())
	}
	return newTable(subtract(allowed, denied)), nil
}

// everything is all addresses of both families.
func everything() []Prefix {
	return []Prefix{
		{netip.PrefixFrom(netip.IPv4Unspecified(), 0)},
		{netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
	}
}

// onRequest allocates nothing.
func (t *table) onRequest(x *message.Exchange) message.Verdict {
	if !x.Client.Address.IsValid() {
		return x.Fault(errNoAddress)
	}
	if !t.has(x.Client.Address) {
		return x.Deny(refused)
	}
	return message.Next
}
