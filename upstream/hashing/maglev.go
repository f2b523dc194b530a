package hashing

import (
	"cmp"
	"slices"
)

// Maglev is a table in which members have as many places as their weights say, to
// within a few per cent, and which is read with one multiplication (Eisenbud and
// others, "Maglev: A Fast and Reliable Software Network Load Balancer", §3.4).
type Maglev struct{ places []uint16 }

// MaxMembers is how many members a table can have.
const MaxMembers = 1<<16 - 1

// sizes are primes: then each member's walk through the table meets each place once.
// A table has room for about a hundred places for each member, and for ten where there are very many. Where the number
// of members passes a limit most keys move, so there are few.
var sizes = [...]struct{ members, places int }{{160, 16381}, {1300, 131071}, {10_000, 262139}, {MaxMembers, 655357}}

// NewMaglev makes a table of 1 to MaxMembers members; of others, and where the list
// is empty, it has none. Ten thousand members take 30 ms and 0.5 MB, a hundred
// half a millisecond and 33 kB.
func NewMaglev(members []Member) *Maglev {
	members = members[:min(len(members), MaxMembers)]
	if len(members) == 0 {
		return &Maglev{}
	}
	size := sizes[len(sizes)-1].places
	for _, s := range sizes {
		if len(members) <= s.members {
			size = s.places
			break
		}
	}
	m := &Maglev{places: make([]uint16, size)}
	m.fill(members)
	return m
}

// walker is a member that walks through the table and takes the free places that it
// meets.
type walker struct {
	index  uint16
	name   string
	at     uint64
	step   uint64
	weight int
	turn   int // it takes its next place when round × weight has come this far
}

// bitmap says which places are taken. Most steps of the walkers end at one that is, all over the
// table: this much of it stays close to the core.
type bitmap []uint64

func (b bitmap) has(place uint64) bool { return b[place/64]>>(place%64)&1 != 0 }

func (b bitmap) add(place uint64) { b[place/64] |= 1 << (place % 64) }

func (m *Maglev) fill(members []Member) {
	size := uint64(len(m.places))
	taken := make(bitmap, (size+63)/64)
	heaviest := 1
	walkers := make([]walker, len(members))
	for i, member := range members {
		walkers[i] = walker{index: uint16(i), name: member.Name, weight: max(member.Weight, 1)}
		heaviest = max(heaviest, walkers[i].weight)
	}
	// Who comes first in a round takes the place that two want: it must not depend on
	// the order of the list.
	slices.SortFunc(walkers, func(a, b walker) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.index, b.index)) })
	again := uint64(0)
	for i := range walkers {
		w := &walkers[i]
		// Two of the same name must not walk the same way: they would be in each other's
		// way at each step.
		if again++; i == 0 || w.name != walkers[i-1].name {
			again = 0
		}
		h := mix(String(w.name) + again)
		w.at, w.step, w.turn = h%size, mix(h+1)%(size-1)+1, heaviest
	}
	for left, round := len(m.places), 1; left > 0; round++ {
		for i := range walkers {
			w := &walkers[i]
			if round*w.weight < w.turn {
				continue
			}
			w.turn += heaviest
			for taken.has(w.at) {
				w.next(size)
			}
			taken.add(w.at)
			m.places[w.at] = w.index
			if left--; left == 0 {
				break
			}
		}
	}
}

func (w *walker) next(size uint64) {
	if w.at += w.step; w.at >= size {
		w.at -= size
	}
}

// Len is the number of places.
func (m *Maglev) Len() int { return len(m.places) }

// Place is where a key begins.
func (m *Maglev) Place(key uint64) int { return below(mix(key), len(m.places)) }

// At is the member to whom a place belongs.
func (m *Maglev) At(place int) int { return int(m.places[place]) }
