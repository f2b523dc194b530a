package unit

import (
	"fmt"
	"net/netip"
)

// Network is an IP address or a range of them in CIDR form.
type Network struct{ netip.Prefix }

// Form says how a network is written.
func (Network) Form() Form {
	return Form{
		Name:    "network",
		Is:      "an address or a range such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32",
		Pattern: `^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$`,
	}
}

// UnmarshalText reads an address or a range. Bits behind the prefix must be zero.
func (n *Network) UnmarshalText(text []byte) error {
	word := string(text)
	if address, err := netip.ParseAddr(word); err == nil && address.Zone() == "" {
		n.Prefix = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(word)
	if err != nil || prefix.Addr().Is4In6() {
		return fmt.Errorf("%q is not %s", word, n.Form().Is)
	}
	if prefix.Masked() != prefix {
		return fmt.Errorf("%q has bits behind its prefix: write %s", word, prefix.Masked())
	}
	n.Prefix = prefix
	return nil
}
