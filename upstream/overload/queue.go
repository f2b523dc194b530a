package overload

import "time"

// Levels is the number of priorities: 0 is served first and shed last.
const Levels = 4

// Verdict is what became of a wish to enter.
type Verdict uint8

const (
	Waiting   Verdict = iota // not decided yet
	Admitted                 // it may begin, and calls Leave when it is over
	Full                     // there was no room to wait
	Displaced                // something more important, or under overload something younger, took its room
	TimedOut                 // it has waited for the longest time
	Cancelled                // whoever waited has gone
	verdicts
)

func (v Verdict) String() string {
	return [...]string{"waiting", "admitted", "full", "displaced", "timed_out", "cancelled"}[v]
}

// Waiter waits for its turn. It is got from Limiter.Queue, and used by one
// goroutine, but for Cancel.
type Waiter struct {
	limiter    *Limiter
	priority   uint8
	queued     bool // guarded by the limiter's lock, as are the links
	deadline   int64
	prev, next *Waiter // older and younger ones of the same priority
	turn       chan Verdict
	timer      *time.Timer
}

// Wait returns when the verdict is there, after the shorter of atMost and the
// limiter's timeout at the latest. It is called once.
func (w *Waiter) Wait(atMost time.Duration) Verdict {
	w.timer.Reset(min(atMost, w.limiter.config.Timeout))
	defer w.timer.Stop()
	select {
	case v := <-w.turn:
		return v
	case <-w.timer.C:
		w.limiter.abandon(w, TimedOut)
		return <-w.turn // Another verdict may have been just ahead.
	}
}

// Cancel ends the wait, from any goroutine: its client has gone. It must not be
// called any more when Free was.
func (w *Waiter) Cancel() { w.limiter.abandon(w, Cancelled) }

// Free gives the waiter's memory back, after Wait has returned.
func (w *Waiter) Free() {
	l := w.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.spares < l.config.Queue {
		l.queue.spares++
		w.next = l.queue.spare
		l.queue.spare = w
	}
}

// queue is waiters by priority, oldest first. The limiter's lock guards it.
type queue struct {
	levels [Levels]struct{ oldest, youngest *Waiter }
	length int
	since  int64 // when it was empty last

	spare  *Waiter // what was freed, to be used again
	spares int
}

// waiter makes one, or uses one again.
func (q *queue) waiter(l *Limiter) *Waiter {
	if w := q.spare; w != nil {
		q.spare, w.next = w.next, nil
		q.spares--
		return w
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &Waiter{limiter: l, turn: make(chan Verdict, 1), timer: timer}
}

func (q *queue) push(w *Waiter, now int64) {
	if q.length == 0 {
		q.since = now
	}
	q.length++
	level := &q.levels[w.priority]
	w.queued = true
	w.prev, w.next = level.youngest, nil
	if level.youngest == nil {
		level.oldest = w
	} else {
		level.youngest.next = w
	}
	level.youngest = w
}

func (q *queue) remove(w *Waiter) {
	q.length--
	level := &q.levels[w.priority]
	if w.prev == nil {
		level.oldest = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		level.youngest = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}

// overloaded says that the queue has not been empty for some time: it does not
// smooth a burst, it is a load that never becomes less. Who has waited for long
// then will be given up by its client anyway, so the youngest go first.
func (q *queue) overloaded(now int64, after time.Duration) bool {
	return q.length > 0 && now-q.since > int64(after)
}

// first is who is served next: of the most important the oldest, or under overload
// the youngest.
func (q *queue) first(overloaded bool) *Waiter {
	for i := range q.levels {
		switch level := &q.levels[i]; {
		case level.oldest == nil:
		case overloaded:
			return level.youngest
		default:
			return level.oldest
		}
	}
	return nil
}

// last is who is shed first, if something of the given priority wants its room; nil
// if nobody. It is of the least important the one that would be served last.
// Something of the same priority makes room only under overload.
func (q *queue) last(priority uint8, overloaded bool) *Waiter {
	for i := len(q.levels) - 1; i >= int(priority); i-- {
		switch level := &q.levels[i]; {
		case level.oldest == nil:
		case overloaded:
			return level.oldest
		case i > int(priority):
			return level.youngest
		}
	}
	return nil
}
