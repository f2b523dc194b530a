package hashing

import (
	"cmp"
	"slices"
)

// Ring is a circle on which each member stands many times; a key belongs to whom
// it meets first. A member that comes or goes moves only its own keys. It is less
// even than Maglev (with a hundred points a member has its share give or take a
// tenth) and takes longer to read.
type Ring struct{ points []point }

type point struct {
	hash  uint64
	index uint32
}

const (
	pointsPerWeight = 128
	maxPoints       = 1 << 18 // 4 MiB
)

// NewRing makes a ring. Where weights would need more than a quarter of a million
// points all members have fewer, but one at least.
func NewRing(members []Member) *Ring {
	total, divisor := 0, 0
	for _, m := range members {
		divisor = gcd(max(m.Weight, 1), divisor)
	}
	for _, m := range members {
		total += max(m.Weight, 1) / divisor
	}
	each := float64(pointsPerWeight)
	if float64(total)*each > maxPoints {
		each = maxPoints / float64(total)
	}
	r := &Ring{points: make([]point, 0, total*max(int(each), 1)+len(members))}
	for i, m := range members {
		h := String(m.Name)
		for n := range max(int(each*float64(max(m.Weight, 1)/divisor)), 1) {
			r.points = append(r.points, point{mix(h + uint64(n)*0x9e3779b97f4a7c15), uint32(i)})
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		if a.hash != b.hash { // Nearly always: names are not looked at for nothing.
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Compare(members[a.index].Name, members[b.index].Name)
	})
	return r
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Len is the number of points.
func (r *Ring) Len() int { return len(r.points) }

// Place is the first point at or after a key.
func (r *Ring) Place(key uint64) int {
	key = mix(key)
	lo, hi := 0, len(r.points)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); r.points[mid].hash < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(r.points) {
		return 0
	}
	return lo
}

// At is the member to whom a point belongs.
func (r *Ring) At(place int) int { return int(r.points[place].index) }
