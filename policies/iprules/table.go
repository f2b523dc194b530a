package iprules

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// table is a set of addresses: the answer to "may this address come in?", made of
// all rules once. Each slice holds, in order, the addresses at which the answer
// changes; below the first it is no. So the answer is whether an odd number of
// changes is at or below the address: one binary search, 4 bytes a change for IPv4
// and 16 for IPv6.
type table struct {
	v4 []uint32
	v6 []wide
}

// wide is an IPv6 address as a number.
type wide struct{ high, low uint64 }

func (a wide) less(b wide) bool {
	return a.high < b.high || a.high == b.high && a.low < b.low
}

// has says whether the address is in the set. An IPv4-mapped IPv6 address is the
// IPv4 address that it holds; zones do not count. It allocates nothing.
func (t *table) has(a netip.Addr) bool {
	if a.Is4() || a.Is4In6() {
		four := a.As4()
		return odd4(t.v4, binary.BigEndian.Uint32(four[:]))
	}
	return odd6(t.v6, widen(a))
}

func widen(a netip.Addr) wide {
	sixteen := a.As16()
	return wide{binary.BigEndian.Uint64(sixteen[:8]), binary.BigEndian.Uint64(sixteen[8:])}
}

func odd4(changes []uint32, a uint32) bool {
	from, to := 0, len(changes)
	for from < to {
		middle := int(uint(from+to) >> 1)
		if changes[middle] <= a {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from&1 == 1
}

func odd6(changes []wide, a wide) bool {
	from, to := 0, len(changes)
	for from < to {
		middle := int(uint(from+to) >> 1)
		if a.less(changes[middle]) {
			to = middle
		} else {
			from = middle + 1
		}
	}
	return from&1 == 1
}

// span is the addresses of one family from first to last, both included.
type span struct{ first, last netip.Addr }

func spanOf(p netip.Prefix) span {
	if p.Addr().Is4() {
		last := p.Addr().As4()
		fillBits(last[:], p.Bits())
		return span{p.Addr(), netip.AddrFrom4(last)}
	}
	last := p.Addr().As16()
	fillBits(last[:], p.Bits())
	return span{p.Addr(), netip.AddrFrom16(last)}
}

// fillBits sets all bits from the given one on.
func fillBits(b []byte, from int) {
	for i := from; i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
}

// merge returns the same addresses as few spans in order, no two of which touch.
// netip orders IPv4 before IPv6.
func merge(networks []Prefix) []span {
	spans := make([]span, 0, len(networks))
	for _, n := range networks {
		spans = append(spans, spanOf(n.Prefix))
	}
	slices.SortFunc(spans, func(a, b span) int { return a.first.Compare(b.first) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 && touches(merged[n-1], s) {
			if merged[n-1].last.Less(s.last) {
				merged[n-1].last = s.last
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// touches says whether b, which does not begin before a, overlaps a or follows it
// without a gap. Next is no address at the end of a family.
func touches(a, b span) bool {
	return a.last.BitLen() == b.first.BitLen() && (!a.last.Less(b.first) || a.last.Next() == b.first)
}

// find returns the span that an address is in.
func find(spans []span, a netip.Addr) (span, bool) {
	i, exact := slices.BinarySearchFunc(spans, a, func(s span, a netip.Addr) int { return s.first.Compare(a) })
	if !exact {
		i--
	}
	if i >= 0 && spans[i].last.BitLen() == a.BitLen() && !spans[i].last.Less(a) {
		return spans[i], true
	}
	return span{}, false
}

// subtract returns what is in keep and not in drop; both are merged.
func subtract(keep, drop []span) []span {
	var left []span
	for _, k := range keep {
		for len(drop) > 0 && drop[0].last.Less(k.first) {
			drop = drop[1:]
		}
		open := true
		for _, d := range drop {
			if k.last.Less(d.first) {
				break
			}
			if k.first.Less(d.first) {
				left = append(left, span{k.first, d.first.Prev()})
			}
			if !d.last.Less(k.last) {
				open = false
				break
			}
			k.first = d.last.Next()
		}
		if open {
			left = append(left, k)
		}
	}
	return left
}

// newTable makes the set of merged spans.
func newTable(spans []span) *table {
	t := &table{}
	for _, s := range spans {
		if s.first.Is4() {
			first, last := s.first.As4(), s.last.As4()
			t.v4 = append(t.v4, binary.BigEndian.Uint32(first[:]))
			if end := binary.BigEndian.Uint32(last[:]); end != 1<<32-1 {
				t.v4 = append(t.v4, end+1)
			}
			continue
		}
		t.v6 = append(t.v6, widen(s.first))
		if next := s.last.Next(); next.IsValid() {
			t.v6 = append(t.v6, widen(next))
		}
	}
	return t
}
