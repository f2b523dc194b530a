package throttle

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/internal/pause"
)

// lanes give every request of a key its turn: a leaky bucket in the form of the virtual
// scheduling algorithm (ITU-T I.371), with one number for each key. That is the moment at
// which the key's bucket is empty again. A request adds one interval to it. Its turn is when
// what is in the bucket, without the slack of a burst, has run out.
//
// Keys are known by a hash of 128 bits under a secret seed, and spread over shards, each with
// its own lock. Times are handed in as nanoseconds of a clock that does not go back. One value
// is used by all snapshots that have the policy in the same place.
type lanes struct {
	seeds   [2]maphash.Seed
	shards  [shardCount]shard
	waiting atomic.Int64
	pauses  pause.Pool
}

// shardCount is a power of two.
const shardCount = 64

// key is who is slowed down together.
type key [2]uint64

// shard is a part of the keys.
type shard struct {
	mu    sync.Mutex
	empty map[key]int64 // the moment at which the bucket is empty again
	_     [48]byte
}

func newLanes() *lanes { return &lanes{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}} }

// Close implements io.Closer for policy.Keep; there is nothing to close.
func (l *lanes) Close() error { return nil }

// keyOf is the key of a text.
func (l *lanes) keyOf(text []byte) key {
	return key{maphash.Bytes(l.seeds[0], text), maphash.Bytes(l.seeds[1], text)}
}

// bounds are the limits of a policy.
type bounds struct {
	longest int64 // wait, in nanoseconds; above 0
	waiting int64 // requests that wait at one time
	keys    int
}

// turn is what a request got.
type turn struct {
	wait  int64 // in nanoseconds, 0 where it goes on at once; of a refused one: how long it would have to wait
	after int64 // the moment at which the bucket is empty, with this request in it
	// refused says that it may not wait: for that long, or because too many do.
	refused, crowded bool
	evicted          bool // another key had to be forgotten too early
}

// take gives a request that came at the moment now its turn, if that is neither past patience nor
// the longest wait. After one that is to wait, done is called, and where it went away before its
// turn, giveBack.
func (l *lanes) take(k key, now, patience int64, p pace, b bounds) turn {
	s := &l.shards[k[0]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	empty, known := s.empty[k]
	if !known {
		empty = now
	}
	// Before a reload requests may have been allowed to wait for longer.
	empty = min(max(empty, now), now+p.slack+p.interval+b.longest)
	t := turn{wait: max(empty-p.slack-now, 0), after: empty + p.interval}
	if t.wait > min(patience, b.longest) {
		t.refused = true
		return t
	}
	if t.wait > 0 && l.waiting.Add(1) > b.waiting {
		l.waiting.Add(-1)
		t.refused, t.crowded = true, true
		return t
	}
	if !known {
		t.evicted = s.makeRoom(now, max(1, b.keys/shardCount))
	}
	if s.empty == nil {
		s.empty = map[key]int64{}
	}
	s.empty[k] = t.after
	return t
}

// done ends a wait.
func (l *lanes) done() { l.waiting.Add(-1) }

// giveBack is called for a request that went away before its turn: if nobody came after it,
// the next one has its turn. Else it is lost, since the others have theirs.
func (l *lanes) giveBack(k key, t turn, p pace) {
	s := &l.shards[k[0]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty[k] == t.after {
		s.empty[k] = t.after - p.interval
	}
}

// probes is how many keys are looked at for one to forget.
const probes = 16

// makeRoom forgets one key where there are too many, and says whether its bucket was not empty.
func (s *shard) makeRoom(now int64, capacity int) (early bool) {
	if len(s.empty) < capacity {
		return false
	}
	var best key
	least, seen := int64(0), 0
	for k, empty := range s.empty {
		if seen == 0 || empty < least {
			best, least = k, empty
		}
		if seen++; seen == probes || least <= now {
			break
		}
	}
	delete(s.empty, best)
	return least > now
}
