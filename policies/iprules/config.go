package iprules

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `ip_rules`.
type Config struct {
	Allow unit.List[Prefix] `yaml:"allow" doc:"Addresses and networks that may come in. If there are any, all others are refused."`
	Deny  unit.List[Prefix] `yaml:"deny" doc:"Addresses and networks that are refused, also where allow has them."`
}

// Prefix is one address or one network: "192.0.2.7", "10.0.0.0/8", "2001:db8::/32".
// IPv4 networks written as IPv4-mapped IPv6 are IPv4 networks.
type Prefix struct{ netip.Prefix }

// Form says how a prefix is written.
func (Prefix) Form() unit.Form {
	return unit.Form{Name: "network", Is: "an address or a network such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"}
}

// MarshalText is the network, or the address alone where it is only one.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String leaves out the length where the network is one address.
func (p Prefix) String() string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Prefix.String()
}

// mappedBits is the length of ::ffff:0:0/96, under which IPv6 keeps the IPv4
// addresses (RFC 4291 §2.5.5.2).
const mappedBits = 96

// UnmarshalText reads an address or a network. A network whose address has bits
// behind its length is refused: it is not clear which of the two was meant.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.Contains(s, "/") {
		address, err := netip.ParseAddr(s)
		if err != nil {
			return notANetwork(s)
		}
		if address.Zone() != "" {
			return errZone(s)
		}
		address = address.Unmap()
		p.Prefix = netip.PrefixFrom(address, address.BitLen())
		return nil
	}
	if strings.Contains(s, "%") {
		return errZone(s)
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return notANetwork(s)
	}
	if masked := network.Masked(); masked != network {
		return fmt.Errorf("%q has bits behind its length: write %s for the network, or %s for the one address",
			s, Prefix{masked}, network.Addr().Unmap())
	}
	if network.Addr().Is4In6() && network.Bits() >= mappedBits {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-mappedBits)
	}
	p.Prefix = network
	return nil
}

func notANetwork(s string) error {
	if s == "" {
		return errors.New("the address is empty")
	}
	return fmt.Errorf("%q is not an address or a network: write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32", s)
}

func errZone(s string) error {
	return fmt.Errorf("%q has a zone, which only means something on one machine: leave out what begins with %%", s)
}
