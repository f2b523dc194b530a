package spill

import (
	"sync/atomic"
	"time"
)

// Capacity is how much a member can bear. It is comparable; the zero value is as much as
// comes.
type Capacity struct {
	Requests    int           // in Per; 0: any number
	Per         time.Duration // of Requests
	Burst       int           // how many may come at once after a rest; at least 1
	Concurrency int           // how many may wait for the head of their answer; 0: any number
	// Resume is the low-water mark: a member that was full takes again when no more than this
	// part of its capacity is used, from 0 to 1. Without it, it would change from full to not
	// full with each request.
	Resume float64
}

// room is what is left of a capacity. The rate is kept as the moment at which all that was
// taken is worn off (the generic cell rate algorithm), so that to take is one
// compare-and-swap.
type room struct {
	limit  int64 // of requests under way; 0: none
	resume int64 // how many of them may be left where it takes again

	cost, depth int64 // of a request, and of a burst, in nanoseconds; cost 0: no rate
	low         int64 // how much of the depth may be used where it takes again

	active  atomic.Int64
	crowded atomic.Bool // the limit was reached, and it has not come down to resume
	worn    atomic.Int64
	dry     atomic.Bool // the depth was used up, and it has not come down to low
}

func (r *room) init(c *Capacity) {
	if c.Concurrency > 0 {
		r.limit = int64(c.Concurrency)
		r.resume = min(int64(c.Resume*float64(r.limit)), r.limit-1)
	}
	if c.Requests > 0 {
		r.cost = max(int64(c.Per)/int64(c.Requests), 1)
		r.depth = int64(max(c.Burst, 1)) * r.cost
		r.low = min(int64(c.Resume*float64(r.depth)), r.depth-r.cost)
	}
}

// enter takes room for one request. Where there is none, wait is how long it takes until there
// may be; 0 where nobody knows.
func (r *room) enter(now int64) (wait int64, ok bool) {
	if r.limit > 0 && !r.begin() {
		return 0, false
	}
	if r.cost > 0 {
		if wait := r.spend(now); wait > 0 {
			if r.limit > 0 {
				r.active.Add(-1)
			}
			return wait, false
		}
	}
	return 0, true
}

func (r *room) begin() bool {
	before := r.active.Add(1) - 1
	crowded := r.crowded.Load()
	switch {
	case crowded && before <= r.resume:
		r.crowded.Store(false)
	case crowded:
		r.active.Add(-1)
		return false
	case before >= r.limit:
		r.active.Add(-1)
		r.crowded.Store(true)
		return false
	}
	return true
}

// spend takes one request's worth; what is returned is how long to wait for it.
func (r *room) spend(now int64) (wait int64) {
	for {
		worn := r.worn.Load()
		used := max(worn-now, 0)
		if r.dry.Load() {
			if used > r.low {
				return used - r.low
			}
			r.dry.Store(false)
		}
		if used+r.cost > r.depth {
			r.dry.Store(true)
			return max(used-r.low, 1)
		}
		if r.worn.CompareAndSwap(worn, now+used+r.cost) {
			return 0
		}
	}
}

// leave gives back what a request has taken; unused says that the member did not get it.
func (r *room) leave(unused bool) {
	if r.limit > 0 {
		r.active.Add(-1)
	}
	if unused && r.cost > 0 {
		r.worn.Add(-r.cost)
	}
}

// full says whether enter would find no room.
func (r *room) full(now int64) bool {
	if r.limit > 0 {
		active := r.active.Load()
		if active >= r.limit || r.crowded.Load() && active > r.resume {
			return true
		}
	}
	used := max(r.worn.Load()-now, 0)
	return r.cost > 0 && (used+r.cost > r.depth || r.dry.Load() && used > r.low)
}
