package compile

import "errors"

// A compiled route lives in the snapshots of one stretch of time: it is built for
// one, taken over by those that follow, and left out by some later one. It can be
// closed when no snapshot of that stretch is open any more. Counting its users
// would touch every route at each reload, hundred thousands of cache misses in a
// row; this touches only those that come and go.

// lifetimes knows which snapshots are open; guarded by Compiler.mu.
type lifetimes struct {
	open    []uint64 // numbers of results, few
	waiting []leaving
}

// leaving is a route that no current snapshot has, but perhaps an open one.
type leaving struct {
	route *sharedRoute
	last  uint64 // the last result that has it
}

func (l *lifetimes) opened(number uint64) { l.open = append(l.open, number) }

// closed forgets a result, adds the routes that left with it, and returns those that
// can be closed now.
func (l *lifetimes) closed(number uint64, left []*sharedRoute) (free []*sharedRoute) {
	for i, n := range l.open {
		if n == number {
			l.open = append(l.open[:i], l.open[i+1:]...)
			break
		}
	}
	for _, r := range left {
		l.waiting = append(l.waiting, leaving{r, number})
	}
	kept := l.waiting[:0]
	for _, w := range l.waiting {
		if l.used(w) {
			kept = append(kept, w)
		} else {
			free = append(free, w.route)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
	return free
}

func (l *lifetimes) used(w leaving) bool {
	for _, n := range l.open {
		if w.route.first <= n && n <= w.last {
			return true
		}
	}
	return false
}

// succeed notes which routes of the result before this one are not in it.
func (b *build) succeed() {
	r := b.result
	if b.old == nil {
		return
	}
	b.old.next = r
	if r.Reused == len(b.old.owned) {
		return
	}
	for i, shared := range b.old.owned {
		if i%paceEvery == 0 {
			b.pace()
		}
		if shared.seen != r.number {
			r.left = append(r.left, shared)
		}
	}
}

// built are the routes that were made for this result.
func (r *Result) built() (own []*sharedRoute) {
	for _, shared := range r.owned {
		if shared.first == r.number {
			own = append(own, shared)
		}
	}
	return own
}

// Abandon closes a result that was not put in force. The next Compile reuses what the
// one before it, which may be nil, has.
func (c *Compiler) Abandon(r, before *Result) error {
	if before != nil {
		before.next = nil
	}
	c.last, r.abandoned = before, true
	return r.Snapshot.Close()
}

// leavers are the routes that nobody after this result has.
func (r *Result) leavers() []*sharedRoute {
	switch {
	case r.abandoned:
		return r.built()
	case r.next != nil:
		left := r.next.left
		r.next.left = nil // Its work is done; nobody else should keep them.
		return left
	}
	return r.owned
}

// release gives up what a snapshot holds, and closes what no other one uses.
func (r *Result) release(c *Compiler) error {
	var upstreams []*sharedUpstream
	c.mu.Lock()
	routes := c.lifetimes.closed(r.number, r.leavers())
	for _, u := range r.upstreams {
		if u.users--; u.users == 0 {
			upstreams = append(upstreams, u)
		}
	}
	lastTop := false
	if r.top != nil {
		r.top.users--
		lastTop = r.top.users == 0
	}
	c.mu.Unlock()
	var errs []error
	for _, shared := range routes {
		errs = append(errs, shared.close())
	}
	for _, u := range upstreams {
		errs = append(errs, u.Close())
	}
	if lastTop {
		errs = append(errs, closeAll(r.top.chain.closers))
	}
	return errors.Join(errs...)
}
