package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// errNothing is told when a source has no endpoint.
var errNothing = errors.New("it tells no endpoint at all")

// complete checks a list that a source has told, and brings it into its normal form:
// addresses as they are dialled, in order, each one once. The error refuses the
// whole list; note says what was passed over.
func complete(list []Endpoint, acceptEmpty bool) (_ []Endpoint, note, err error) {
	if len(list) == 0 && !acceptEmpty {
		return nil, nil, errNothing
	}
	if len(list) > MaxEndpoints {
		return nil, nil, fmt.Errorf("it tells %d endpoints: the limit is %d", len(list), MaxEndpoints)
	}
	done := make([]Endpoint, 0, len(list))
	first := make(map[string]struct{}, len(list))
	twice, example := 0, ""
	for i, e := range list {
		if e.Address, err = dialled(e.Address); err == nil {
			err = e.check()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("endpoint %d: %w", i+1, err)
		}
		if _, again := first[e.Address]; again {
			if twice++; twice == 1 {
				example = e.Address
			}
			continue
		}
		first[e.Address] = struct{}{}
		done = append(done, e)
	}
	if twice > 0 {
		note = fmt.Errorf("%s is given more than once: the first counts (%d passed over in all)", example, twice)
	}
	slices.SortFunc(done, func(a, b Endpoint) int { return strings.Compare(a.Address, b.Address) })
	return done, note, nil
}

// check looks at what is not the address.
func (e *Endpoint) check() error {
	switch {
	case e.Weight < 1 || e.Weight > MaxWeight:
		return fmt.Errorf("%s: the weight is %d: it must be from 1 to %d", e.Address, e.Weight, MaxWeight)
	case e.Priority < 0 || e.Priority > MaxPriority:
		return fmt.Errorf("%s: the priority is %d: it must be from 0 to %d", e.Address, e.Priority, MaxPriority)
	case len(e.Zone) > MaxZone || strings.ContainsFunc(e.Zone, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s: the zone is longer than %d bytes or has control characters", e.Address, MaxZone)
	}
	return nil
}

// dialled is the one way in which an address is written: lower case, IP addresses in
// their shortest form. Addresses that no origin can have are refused.
func dialled(address string) (string, error) {
	var a unit.Address
	if err := a.UnmarshalText([]byte(address)); err != nil || a.Host == "" || a.Port == 0 {
		return "", fmt.Errorf("%s is not a host and a port, such as 10.0.0.7:8080", quote(address))
	}
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return "", fmt.Errorf("%s is no address of an origin", quote(address))
		}
		a.Host = ip.String()
	}
	a.Host = strings.ToLower(a.Host)
	return a.String(), nil
}

// scale brings weights that are larger than MaxWeight into the range, all of them
// by the same factor. A weight of 0 becomes 1: RFC 2782 gives such a target "a very
// small chance", and no other source means never by it.
func scale(list []Endpoint) {
	largest := 0
	for _, e := range list {
		largest = max(largest, e.Weight)
	}
	for i := range list {
		if largest > MaxWeight {
			list[i].Weight = int(int64(list[i].Weight) * MaxWeight / int64(largest))
		}
		list[i].Weight = max(list[i].Weight, 1)
	}
}

// quote repeats what somebody else said: short, and without control characters.
func quote(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "…"
	}
	return fmt.Sprintf("%q", s)
}
