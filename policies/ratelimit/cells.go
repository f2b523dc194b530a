package ratelimit

import (
	"hash/maphash"
	"sync"
)

// cells remember how much of their limits callers have used, by the generic cell
// rate algorithm (ITU-T I.371, used the way a token bucket is). For each caller and
// window there is one number: the moment at which the bucket is full again. The time
// until then is the debt. A request adds one interval to the debt, and is
// refused if that made it larger than the tolerance. A caller without debt need not
// be remembered.
//
// Callers are known by a hash of 128 bits under a secret seed, so that a long name
// takes no more room than a short one. They are spread over shards, each with its own lock,
// which is held for some tens of nanoseconds.
//
// One value is used by all snapshots that have the policy in the same place: what
// depends on settings is handed in with every call. Debts are times, so they
// mean something after a reload that changes the numbers: a bucket that was half
// empty stays half empty if per stays, and a debt above the new tolerance counts
// as the tolerance.
type cells struct {
	seeds  [2]maphash.Seed
	shards [shardCount]shard
}

// shardCount is a power of two.
const shardCount = 64

// maxWindows is the number of windows of one policy.
const maxWindows = 4

// key is a caller.
type key [2]uint64

// shard is a part of the callers. Slots are never given back, only used anew.
type shard struct {
	mu    sync.Mutex
	slots map[key]int32
	keys  []key   // by slot
	full  []int64 // by slot and window: the moment at which the bucket is full again
	wide  int     // windows in full
	hand  int     // where the search for a slot to use anew goes on
	_     [24]byte
}

func newCells() *cells { return &cells{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}} }

// Close implements io.Closer for policy.Keep; there is nothing to close.
func (c *cells) Close() error { return nil }

// keyOf is the key of a caller: kind keeps addresses and names apart.
func (c *cells) keyOf(kind by, name string) key {
	k := key{maphash.String(c.seeds[0], name), maphash.String(c.seeds[1], name)}
	k[1] += uint64(kind)
	return k
}

// keyOfBits is keyOf for the 128 bits of an address.
func (c *cells) keyOfBits(kind by, bits [16]byte) key {
	k := key{maphash.Bytes(c.seeds[0], bits[:]), maphash.Bytes(c.seeds[1], bits[:])}
	k[1] += uint64(kind)
	return k
}

// reading is what take found out of one window, in nanoseconds.
type reading struct {
	debt int64 // with this request, if it was allowed
	wait int64 // above 0: the window refuses, and would not any more after this time
}

// take counts a request of this cost at the moment now, if all limits allow it, and
// says whether they do. It fills out, and adds to evicted how many callers had to
// be forgotten who were not as good as absent. It is called by many goroutines at
// once; their clocks may differ: an older now only sees a larger debt.
func (c *cells) take(k key, now, cost int64, limits []limit, capacity int, out []reading, evicted *int64) bool {
	s := &c.shards[k[0]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, known := s.slots[k]
	wide := s.wide
	allowed := true
	for i := range limits {
		l, debt := &limits[i], int64(0)
		if known && i < wide {
			debt = min(max(s.full[int(slot)*wide+i]-now, 0), l.tolerance)
		}
		need := l.interval * cost
		out[i] = reading{debt: debt + need, wait: debt + need - l.tolerance}
		if out[i].wait > 0 {
			allowed = false
		}
	}
	if !allowed {
		for i := range limits {
			out[i].debt -= limits[i].interval * cost
		}
		return false
	}
	if wide < len(limits) {
		s.widen(len(limits))
	}
	if !known {
		slot = s.add(k, now, max(1, capacity/shardCount), evicted)
	}
	for i := range limits {
		s.full[int(slot)*s.wide+i] = now + out[i].debt
	}
	return true
}

// widen makes room for more windows.
func (s *shard) widen(wide int) {
	full := make([]int64, wide*len(s.keys), wide*cap(s.keys))
	for slot := range s.keys {
		copy(full[slot*wide:], s.full[slot*s.wide:(slot+1)*s.wide])
	}
	s.full, s.wide = full, wide
}

// probes is how many slots are looked at for one to use anew.
const probes = 16

// add gives a caller a slot whose windows have no debt.
func (s *shard) add(k key, now int64, capacity int, evicted *int64) int32 {
	if s.slots == nil {
		s.slots = map[key]int32{}
	}
	if len(s.keys) < capacity {
		slot := int32(len(s.keys))
		s.keys = append(s.keys, k)
		for range s.wide {
			s.full = append(s.full, 0)
		}
		s.slots[k] = slot
		return slot
	}
	best, bestFull := s.hand, int64(0)
	for i := range min(probes, len(s.keys)) {
		at := (s.hand + i) % len(s.keys)
		if full := s.fullAt(at); i == 0 || full < bestFull {
			best, bestFull = at, full
		}
		if bestFull <= now {
			break
		}
	}
	if bestFull > now {
		*evicted++
	}
	s.hand = (best + 1) % len(s.keys)
	delete(s.slots, s.keys[best])
	s.keys[best], s.slots[k] = k, int32(best)
	clear(s.full[best*s.wide : (best+1)*s.wide])
	return int32(best)
}

// fullAt is when the last bucket of a slot is full again.
func (s *shard) fullAt(slot int) int64 {
	last := int64(0)
	for _, full := range s.full[slot*s.wide : (slot+1)*s.wide] {
		last = max(last, full)
	}
	return last
}
