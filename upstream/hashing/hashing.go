// Package hashing maps keys to places in a list so that the same key goes to the
// same place, and a change of the list moves few keys.
//
// There are two tables: Maglev, which is quick and even, and Ring, which moves
// the fewest keys. Both are immutable. What they compute depends on names and
// weights only: all gateways with the same list agree, whatever its order.
package hashing

import (
	"math"
	"math/bits"
)

// Member is one entry of the list: its name decides which keys are its own.
type Member struct {
	Name   string
	Weight int // its part of the keys, relative to the others; below 1 is taken as 1
}

// String hashes a key. It is not made against people who choose keys in order to
// meet each other.
func String(key string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a,
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return mix(h) // and as its upper bits are poor, a finaliser.
}

// mix is a bijection in which each bit of the result depends on all of the argument.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// below maps a hash evenly to 0 … n-1.
func below(h uint64, n int) int {
	high, _ := bits.Mul64(h, uint64(n))
	return int(high)
}

// Table is what Maglev and Ring have in common: a circle of places, each of which
// belongs to a member. A key begins at Place; who cannot use the member At it goes
// on with the following places, modulo Len, and meets the same members in the
// same order each time.
type Table interface {
	Len() int
	Place(key uint64) int
	At(place int) int // the index of a member in the list
}

// Room says whether a member may take one more of all that is under way, so that
// none has more than factor times its share (Mirrokni, Thorup, Zadimoghaddam,
// "Consistent Hashing with Bounded Loads"). Share is the member's part of all
// weights, factor more than 1, 1.25 say. Whatever the loads are, somebody has room.
func Room(active, total int64, share, factor float64) bool {
	return float64(active) < math.Ceil(factor*share*float64(total+1))
}
