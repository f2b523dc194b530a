package compile

import (
	"fmt"
	"net/netip"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/unit"
)

// warnLoop tells of endpoints that are listeners of this gateway: what is sent there comes back, and is
// refused as a loop.
func (b *build) warnLoop(item config.Item[config.Upstream]) {
	for _, e := range item.Value.Endpoints {
		for _, l := range b.doc.Listeners {
			if leadsTo(e.URL, l.Value.Address) {
				b.result.Warnings = append(b.result.Warnings, item.Problem(item.Value.Name.Mark, fmt.Sprintf(
					"the endpoint %s is the listener %q of this gateway: requests would come back, and be refused with loop_detected", e.URL, l.Value.Name.Value)))
			}
		}
	}
}

// leadsTo says whether who connects to an endpoint arrives at a listener, as far as its address tells.
func leadsTo(endpoint unit.Origin, listener unit.Address) bool {
	if endpoint.Port() != listener.Port {
		return false
	}
	if endpoint.Host() == listener.Host {
		return true
	}
	at, err := netip.ParseAddr(listener.Host)
	if everywhere := listener.Host == "" || err == nil && at.IsUnspecified(); !everywhere {
		return false
	}
	to, err := netip.ParseAddr(endpoint.Host())
	return endpoint.Host() == "localhost" || err == nil && to.IsLoopback()
}
