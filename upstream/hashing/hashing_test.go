package hashing

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

func named(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{Name: fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250), Weight: 1}
	}
	return members
}

// kinds are the two ways to make a table; spread is how far a member may be from
// its share.
var kinds = []struct {
	name   string
	table  func([]Member) Table
	spread float64
}{
	{"maglev", func(m []Member) Table { return NewMaglev(m) }, 0.04},
	{"ring", func(m []Member) Table { return NewRing(m) }, 0.35},
}

const keys = 200000

// owners maps many keys to the names of members.
func owners(table Table, members []Member) []string {
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]string, keys)
	for i := range all {
		all[i] = members[table.At(table.Place(random.Uint64()))].Name
	}
	return all
}

func counts(owners []string) map[string]int {
	n := map[string]int{}
	for _, o := range owners {
		n[o]++
	}
	return n
}

func TestSharesFollowWeights(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, weights := range [][]int{{1}, {1, 1, 1}, {1, 2, 3, 4}, {100, 200, 100}, {0, 1, -5}, {1000, 1}} {
			members := named(len(weights))
			total := 0
			for i, w := range weights {
				members[i].Weight = w
				total += max(w, 1)
			}
			n := counts(owners(kind.table(members), members))
			for i, w := range weights {
				want := float64(keys) * float64(max(w, 1)) / float64(total)
				if got := float64(n[members[i].Name]); got < want*(1-kind.spread)-keys/800 || got > want*(1+kind.spread)+keys/800 {
					t.Errorf("%s, weights %v: member %d has %v keys, want about %.0f", kind.name, weights, i, got, want)
				}
			}
		}
	}
}

func TestTheOrderOfTheListMakesNoDifference(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		members := named(20)
		members[3].Weight = 4
		before := owners(kind.table(members), members)
		slices.Reverse(members)
		if !slices.Equal(before, owners(kind.table(members), members)) {
			t.Error(kind.name)
		}
	}
}

// Who stays keeps nearly all keys when others come or go, and of the ring all that
// they do not take.
func TestFewKeysMove(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, n := range []int{3, 10, 100} {
			members := named(n)
			before := owners(kind.table(members), members)
			gone := members[n/2].Name
			fewer := slices.Delete(slices.Clone(members), n/2, n/2+1)
			moved := 0
			for i, o := range owners(kind.table(fewer), fewer) {
				if o != before[i] && before[i] != gone {
					moved++
				}
			}
			if kind.name == "ring" && moved != 0 || moved > keys/20 {
				t.Errorf("%s: one of %d left, and %d of %d keys of others moved", kind.name, n, moved, keys)
			}
		}
	}
}

func TestAWeightThatChangesMovesFewKeys(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		members := named(10)
		for i := range members {
			members[i].Weight = 3 + i%2
		}
		before := owners(kind.table(members), members)
		members[4].Weight = 4
		after := owners(kind.table(members), members)
		moved := 0
		for i := range before {
			if before[i] != after[i] {
				moved++
			}
		}
		if moved > keys/8 || moved == 0 {
			t.Errorf("%s: %d of %d keys moved", kind.name, moved, keys)
		}
	}
}

func TestTenThousandMembers(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		members := named(10000)
		members[17].Weight = 1000
		table := kind.table(members)
		if n := table.Len(); n > 1<<20 {
			t.Errorf("%s has %d places", kind.name, n)
		}
		seen := make([]bool, len(members))
		for place := range table.Len() {
			seen[table.At(place)] = true
		}
		if missing := slices.Index(seen, false); missing >= 0 {
			t.Errorf("%s: member %d has no place", kind.name, missing)
		}
	}
}

func TestSizesArePrime(t *testing.T) {
	t.Parallel()
	for _, s := range sizes {
		if !big.NewInt(int64(s.places)).ProbablyPrime(20) {
			t.Errorf("%d is not prime", s.places)
		}
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		if n := kind.table(nil).Len(); n != 0 {
			t.Errorf("%s of nobody has %d places", kind.name, n)
		}
	}
}

func TestTooManyOfTheSameName(t *testing.T) {
	t.Parallel()
	m := NewMaglev(make([]Member, MaxMembers+5))
	for place := range m.Len() {
		if i := m.At(place); i >= MaxMembers {
			t.Fatalf("place %d belongs to member %d", place, i)
		}
	}
}

// Keys that all belong to one member spill over, and no member has more than its
// bound while another one has room.
func TestBoundedLoad(t *testing.T) {
	t.Parallel()
	const factor = 1.25
	for _, kind := range kinds {
		random := rand.New(rand.NewPCG(3, 4))
		members := named(10)
		weights := 0
		for i := range members {
			members[i].Weight = 1 + i%3
			weights += members[i].Weight
		}
		table := kind.table(members)
		active := make([]int64, len(members))
		var total int64
		var under []int
		for range 20000 {
			if len(under) > 200 || len(under) > 0 && random.IntN(2) == 0 {
				i := random.IntN(len(under))
				active[under[i]]--
				total--
				under = slices.Delete(under, i, i+1)
				continue
			}
			key := uint64(random.IntN(3)) // Three keys are all the traffic.
			found := -1
			for step, place := 0, table.Place(key); step < table.Len(); step, place = step+1, (place+1)%table.Len() {
				i := table.At(place)
				if Room(active[i], total, float64(members[i].Weight)/float64(weights), factor) {
					found = i
					break
				}
			}
			if found < 0 {
				t.Fatalf("%s: nobody has room: %v", kind.name, active)
			}
			active[found]++
			total++
			under = append(under, found)
			if most := factor*float64(members[found].Weight)/float64(weights)*float64(total) + 1; float64(active[found]) > most {
				t.Fatalf("%s: member %d has %d of %d, more than %.1f", kind.name, found, active[found], total, most)
			}
		}
	}
}

func FuzzTables(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint64(5))
	f.Fuzz(func(t *testing.T, weights []byte, key uint64) {
		if len(weights) == 0 || len(weights) > 50 {
			return
		}
		members := named(len(weights))
		for i, w := range weights {
			members[i].Weight = int(w)
		}
		for _, kind := range kinds {
			table := kind.table(members)
			place := table.Place(key)
			if place < 0 || place >= table.Len() || table.At(place) >= len(members) {
				t.Fatalf("%s: key %d begins at %d of %d", kind.name, key, place, table.Len())
			}
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	members := named(100)
	maglev, ring := NewMaglev(members), NewRing(members)
	n := testing.AllocsPerRun(100, func() {
		key := String("somebody")
		maglev.At(maglev.Place(key))
		ring.At(ring.Place(key))
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			table := kind.table(named(100))
			var key uint64
			for b.Loop() {
				key++
				table.At(table.Place(key))
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, kind := range kinds {
		for _, n := range []int{3, 100, 10000} {
			b.Run(fmt.Sprint(kind.name, "/", n), func(b *testing.B) {
				members := named(n)
				for b.Loop() {
					kind.table(members)
				}
			})
		}
	}
}
