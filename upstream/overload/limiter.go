// Package overload keeps an upstream from getting more at one time than it can
// bear: a limit of what is in flight, a short queue in front of it, and a way to
// find the limit by itself.
//
// Time is handed in as nanoseconds of a clock that does not go back.
package overload

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a limiter.
type Config struct {
	Limit   int           // in flight at one time; at least 1, and with Adaptive the one to begin with
	Queue   int           // how many may wait; 0 is none
	Timeout time.Duration // longest wait; default 1s
	// LIFOAfter is how long the queue must not have been empty before the youngest
	// are served first; default 100ms.
	LIFOAfter time.Duration
	Adaptive  *AdaptiveConfig // nil: the limit stays as it is
}

// Defaults of a limiter.
const (
	DefaultTimeout   = time.Second
	DefaultLIFOAfter = 100 * time.Millisecond
)

// Outcome is what a limiter learns from something that was in flight.
type Outcome uint8

const (
	Served  Outcome = iota // how long it took tells how busy the origin is
	Dropped                // it ran out of time, or the origin said that it has too much to do
	Ignored                // it says nothing: its client has gone, say, or it was never sent
)

// Limiter lets a number of requests be in flight. Its methods may be called from
// any goroutine.
//
// The lower half of state is what is in flight, the upper half who waits: to enter
// is one compare-and-swap, which fails where somebody waits, so that nobody
// overtakes the queue. Only with the lock held somebody begins or ceases to wait.
type Limiter struct {
	config   Config
	adaptive *adaptive
	state    atomic.Uint64
	limit    atomic.Int64 // that holds: the smaller one of own and ceiling
	own      atomic.Int64 // as configured, or as found
	ceiling  atomic.Int64 // see SetCeiling
	counts   [verdicts]atomic.Int64

	mu    sync.Mutex
	queue queue
}

const oneWaiter = 1 << 32

// New returns a limiter with nothing in flight.
func New(config Config) *Limiter {
	config.Limit = max(config.Limit, 1)
	config.Queue = max(config.Queue, 0)
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	if config.LIFOAfter <= 0 {
		config.LIFOAfter = DefaultLIFOAfter
	}
	l := &Limiter{config: config}
	l.own.Store(int64(config.Limit))
	if config.Adaptive != nil {
		l.adaptive = newAdaptive(*config.Adaptive, config.Limit)
		l.own.Store(l.adaptive.limit())
	}
	l.ceiling.Store(math.MaxInt32) // What is in flight is counted in 32 bits.
	l.settle()
	return l
}

// settle puts the limit in force. It is called with the lock held, or before anybody else knows the limiter.
func (l *Limiter) settle() { l.limit.Store(min(l.own.Load(), l.ceiling.Load())) }

// SetCeiling changes how high the limit may be, whatever is configured or found: what lies behind the
// limiter cannot bear more. A ceiling of 0 or less is 1.
func (l *Limiter) SetCeiling(now, ceiling int64) {
	l.mu.Lock()
	l.ceiling.Store(min(max(ceiling, 1), math.MaxInt32))
	l.settle()
	l.mu.Unlock()
	l.handOver(now)
}

// Enter says whether a request may begin at once. After a yes, Leave is called. After
// a no, Queue is.
func (l *Limiter) Enter() bool {
	limit := uint64(l.limit.Load())
	for {
		s := l.state.Load()
		if s >= limit { // Too much is in flight, or somebody waits.
			return false
		}
		if l.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// Queue asks for a place to wait. Where it returns a Waiter, its Wait has the
// verdict; else the verdict is Admitted after all, or Full. Priority is from 0, the
// most important, to Levels-1.
func (l *Limiter) Queue(now int64, priority int) (*Waiter, Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	level := uint8(min(max(priority, 0), Levels-1))
	for {
		s := l.state.Load()
		if s < uint64(l.limit.Load()) {
			if l.state.CompareAndSwap(s, s+1) {
				return nil, Admitted
			}
			continue // Somebody has entered or left.
		}
		if l.queue.length >= l.config.Queue {
			last := l.queue.last(level, l.queue.overloaded(now, l.config.LIFOAfter))
			if last == nil {
				l.counts[Full].Add(1)
				return nil, Full
			}
			l.dismiss(last, Displaced)
			continue
		}
		if l.state.CompareAndSwap(s, s+oneWaiter) {
			w := l.queue.waiter(l)
			w.priority, w.deadline = level, now+int64(l.config.Timeout)
			l.queue.push(w, now)
			return w, Waiting
		}
	}
}

// dismiss ends a wait with a verdict that is not Admitted. The lock is held.
func (l *Limiter) dismiss(w *Waiter, v Verdict) {
	l.queue.remove(w)
	l.state.Add(^uint64(oneWaiter - 1))
	l.counts[v].Add(1)
	w.turn <- v
}

// abandon ends a wait, unless there is a verdict already.
func (l *Limiter) abandon(w *Waiter, v Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.queued {
		l.dismiss(w, v)
	}
}

// Leave ends what Enter or Queue admitted: took is how long it was in flight, until
// the head of its answer came.
func (l *Limiter) Leave(now int64, took time.Duration, outcome Outcome) {
	if l.adaptive != nil && outcome != Ignored {
		if limit, changed := l.adaptive.sample(now, took, int64(uint32(l.state.Load())), outcome); changed {
			l.mu.Lock()
			l.own.Store(limit)
			l.settle() // If it has grown, handOver lets in more than one.
			l.mu.Unlock()
		}
	}
	if s := l.state.Add(^uint64(0)); s >= oneWaiter {
		l.handOver(now)
	}
}

// handOver lets in who is next, as long as there is room.
func (l *Limiter) handOver(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// While somebody waits nobody else enters, so what is in flight cannot grow
	// between the look at it and the addition.
	for l.queue.length > 0 && int64(uint32(l.state.Load())) < l.limit.Load() {
		w := l.queue.first(l.queue.overloaded(now, l.config.LIFOAfter))
		if w.deadline <= now {
			l.dismiss(w, TimedOut)
			continue
		}
		l.queue.remove(w)
		l.state.Add(^uint64(oneWaiter-1) + 1)
		l.counts[Admitted].Add(1)
		w.turn <- Admitted
	}
}

// View is what a limiter looks like from outside.
type View struct {
	Limit, InFlight, Waiting int
	// Since the beginning: who waited and was admitted, and who was not.
	Admitted, Full, Displaced, TimedOut, Cancelled int64
	// What the adaptive limit goes by; 0 where there is none, or nothing is known yet.
	BaseLatency, Latency time.Duration
}

// View is for status and metrics.
func (l *Limiter) View() View {
	s := l.state.Load()
	v := View{
		Limit: int(l.limit.Load()), InFlight: int(uint32(s)), Waiting: int(s >> 32),
		Admitted: l.counts[Admitted].Load(), Full: l.counts[Full].Load(), Displaced: l.counts[Displaced].Load(),
		TimedOut: l.counts[TimedOut].Load(), Cancelled: l.counts[Cancelled].Load(),
	}
	if l.adaptive != nil {
		v.BaseLatency, v.Latency = l.adaptive.latencies()
	}
	return v
}

// Config is what the limiter was made of, defaults included.
func (l *Limiter) Config() *Config { return &l.config }
