package compile

import (
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/engine"
)

// dump writes a result so that a reader sees what the document came to.
func dump(r *Result) string {
	var b strings.Builder
	for _, l := range r.Listeners {
		fmt.Fprintf(&b, "listener %s at %s", l.Name, l.Address)
		if l.ProxyProtocol != 0 {
			fmt.Fprintf(&b, ", PROXY protocol %d from %v", l.ProxyProtocol, l.TrustedProxies)
		}
		b.WriteByte('\n')
	}
	for _, u := range r.Upstreams {
		fmt.Fprintf(&b, "upstream %s:", u.Name())
		for _, e := range u.Config().Endpoints {
			fmt.Fprintf(&b, " %s*%d", e.Address, e.Weight)
		}
		if v := u.Config().ProxyProtocol; v != 0 {
			fmt.Fprintf(&b, " with PROXY protocol %d", v)
		}
		if h := u.Config().Health; h != nil {
			fmt.Fprintf(&b, ", health %+v", *h)
		}
		b.WriteByte('\n')
	}
	for _, g := range r.Groups {
		c := g.Config()
		fmt.Fprintf(&b, "upstream %s of others, at least %v well, request %v, deadline %q, failover %+v\n", c.Name, c.MinimumWell, c.RequestTimeout, c.DeadlineField, c.Failover)
		for _, m := range c.Members {
			fmt.Fprintf(&b, "  member %s: level %d, weight %d, share %v, capacity %+v\n", m.Name, m.Priority, m.Weight, m.Share, m.Capacity)
		}
	}
	if len(r.Snapshot.Edge) > 0 {
		fmt.Fprintf(&b, "before matching:%s\n", steps(r.Snapshot.Edge))
	}
	for i, route := range r.Snapshot.Routes {
		rule := r.owned[i].rule
		fmt.Fprintf(&b, "route %s\n  match:", route.Name)
		fmt.Fprintf(&b, " hosts %v, paths %v, methods %v, headers %v, query %v, listeners %v\n", rule.Hosts, rule.Paths, rule.Methods, rule.Headers, rule.Query, rule.Listeners)
		if len(route.Steps) > 0 {
			fmt.Fprintf(&b, "  policies:%s\n", steps(route.Steps))
		}
		fmt.Fprintf(&b, "  target: %s %v", route.Kind, route.Target.Upstreams)
		if route.Precedence != 0 {
			fmt.Fprintf(&b, ", precedence %d", route.Precedence)
		}
		if len(route.Upgrades) > 0 {
			fmt.Fprintf(&b, ", upgrades %v", route.Upgrades)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "vouched: %v\n", r.Snapshot.Vouched)
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	return b.String()
}

func steps(list []engine.Step) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, " %s (on fault %s)", s.Name, s.OnFault)
	}
	return b.String()
}
