package concurrency

import (
	"hash/maphash"
	"sync"

	"github.com/sluice-gateway/sluice/internal/pause"
)

// slots count the exchanges that go on, by key. A key is known only while one of its
// exchanges goes on, by a hash of 128 bits under a secret seed. Keys are spread over
// shards, each with its own lock, which is held for some tens of nanoseconds.
//
// One value is used by all snapshots that have the policy in the same place: limits
// are handed in with every call, and an exchange that began before a reload is counted
// until its end.
type slots struct {
	seeds  [2]maphash.Seed
	shards [shardCount]shard
	pauses pause.Pool
}

// shardCount is a power of two.
const shardCount = 64

// maxSpare is how many slots a shard keeps to use them again.
const maxSpare = 256

// key is who is counted together.
type key [2]uint64

// shard is a part of the keys.
type shard struct {
	mu     sync.Mutex
	slots  map[key]*slot
	spare  *slot
	spares int
}

// slot is one key. It is guarded by the lock of its shard.
type slot struct {
	key      key
	going    int // exchanges that go on
	waiting  int
	oldest   *waiter
	youngest *waiter
	next     *slot // of those that are spare
}

// waiter is a request that waits for its turn. It lives in its exchange's room.
type waiter struct {
	pause         *pause.Pause
	limit         int
	admitted      bool
	before, after *waiter // in the queue
}

func newSlots() *slots { return &slots{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}} }

// Close implements io.Closer for policy.Keep; there is nothing to close.
func (s *slots) Close() error { return nil }

// keyOf is the key of a text.
func (s *slots) keyOf(text []byte) key {
	return key{maphash.Bytes(s.seeds[0], text), maphash.Bytes(s.seeds[1], text)}
}

// verdict is what becomes of a request.
type verdict uint8

const (
	admitted  verdict = iota // it may go on, and calls leave when it is over
	uncounted                // it may go on: there are too many keys to count
	refused                  // there is neither room to go on nor to wait
	queued                   // it waits: settle has its verdict
	timedOut                 // it has waited for long enough
)

// enter asks for room for one more exchange. Nobody overtakes those who wait. Where w is
// not nil and the queue has room, the request is put there.
func (s *slots) enter(k key, limit, queue, maxKeys int, w *waiter) verdict {
	sh := &s.shards[k[0]%shardCount]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	it := sh.slots[k]
	if it == nil {
		if len(sh.slots) >= max(1, maxKeys/shardCount) {
			return uncounted
		}
		it = sh.add(k)
	}
	if it.going < limit && it.oldest == nil {
		it.going++
		return admitted
	}
	if w == nil || it.waiting >= queue {
		return refused
	}
	w.limit, w.pause = limit, s.pauses.Take()
	it.push(w)
	return queued
}

// settle ends a wait and says whether it was the request's turn. It is called when nobody
// can cancel the pause any more but this shard.
func (s *slots) settle(k key, w *waiter) verdict {
	sh := &s.shards[k[0]%shardCount]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	v := admitted
	if !w.admitted {
		it := sh.slots[k] // It is there as long as somebody waits.
		it.remove(w)
		it.handOver() // Who was behind it may have a larger limit.
		sh.drop(it)
		v = timedOut
	}
	s.pauses.Give(w.pause)
	w.pause = nil
	return v
}

// leave ends an exchange that was admitted, and lets those in who are next.
func (s *slots) leave(k key) {
	sh := &s.shards[k[0]%shardCount]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	it := sh.slots[k]
	it.going--
	it.handOver()
	sh.drop(it)
}

// handOver lets in who is next, as long as there is room.
func (it *slot) handOver() {
	for w := it.oldest; w != nil && it.going < w.limit; w = it.oldest {
		it.remove(w)
		it.going++
		w.admitted = true
		w.pause.Cancel()
	}
}

// add makes a slot, or uses one again.
func (sh *shard) add(k key) *slot {
	it := sh.spare
	if it == nil {
		it = &slot{}
	} else {
		sh.spare = it.next
		sh.spares--
	}
	*it = slot{key: k}
	if sh.slots == nil {
		sh.slots = map[key]*slot{}
	}
	sh.slots[k] = it
	return it
}

// drop forgets a key of which nothing goes on and nobody waits.
func (sh *shard) drop(it *slot) {
	if it.going > 0 || it.oldest != nil {
		return
	}
	delete(sh.slots, it.key)
	if sh.spares < maxSpare {
		it.next, sh.spare = sh.spare, it
		sh.spares++
	}
}

// push puts a request at the end of the queue.
func (it *slot) push(w *waiter) {
	w.before, w.after = it.youngest, nil
	if it.youngest == nil {
		it.oldest = w
	} else {
		it.youngest.after = w
	}
	it.youngest = w
	it.waiting++
}

// remove takes a request out of the queue.
func (it *slot) remove(w *waiter) {
	if w.before == nil {
		it.oldest = w.after
	} else {
		w.before.after = w.after
	}
	if w.after == nil {
		it.youngest = w.before
	} else {
		w.after.before = w.before
	}
	w.before, w.after = nil, nil
	it.waiting--
}
