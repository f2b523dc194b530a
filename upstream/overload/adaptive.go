package overload

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// AdaptiveConfig bounds a limit that finds itself.
type AdaptiveConfig struct {
	Min       int           // default 4
	Max       int           // default 1000
	Tolerance float64       // how much slower than without a queue answers may be before the limit shrinks; default 1.5
	Measure   time.Duration // how often the latency without a queue is measured again while the limit is reached; default 30s
}

// Defaults of an adaptive limit.
const (
	DefaultMin       = 4
	DefaultMax       = 1000
	DefaultTolerance = 1.5
	DefaultMeasure   = 30 * time.Second
)

const (
	shortest     = int64(100 * time.Millisecond) // a window lasts at least as long
	leastSamples = 32                            // and has as many samples
	smoothing    = 0.5                           // how much of the way to a new limit is gone at once
	onDrop       = 0.85                          // what is left of the limit after a window with drops
	dropShare    = 0.02                          // of a window's samples, above which drops count
	settle       = int64(2 * time.Second)        // at least, between two measurements
	firstMeasure = int64(time.Second)            // a first guess is measured soon: it may be from an overload
	improved     = 0.85                          // a lower limit that makes answers that much faster was worth it
	confirmed    = 1.1                           // a measurement that is as near to the base as this confirms it
	carried      = 0.85                          // with less than this share of the throughput workers must have been idle
	queued       = 3                             // windows in which the limit was reached, after which answers have waited
	fallen       = 0.5                           // a limit that has become this much smaller since it was measured is doubted
)

// adaptive finds how much may be in flight from how long answers take.
//
// The base is the latency without a queue at the origin. Window by window the limit
// becomes
//
//	limit × clamp(tolerance × base / latency, ½, 1) + √limit
//
// smoothed: the gradient takes away what waits at the origin beyond the tolerance,
// √limit is the queue that is always allowed, by which the limit finds upwards; half
// of it where answers are too slow already. It changes only while it is reached: what
// takes longer else, because it is another kind of request say, does not wait for others.
// Where requests are dropped it shrinks at once.
//
// The base follows what is seen while the limit is not reached. While it is, all
// latencies contain some waiting, so now and then, and when the limit keeps falling
// and answers stay slow, the base is measured: the limit is halved as long as that
// makes answers faster and does not make them fewer. To go further would cost
// goodput and tell nothing new: where they are fewer, workers are idle, and nobody
// waits.
type adaptive struct {
	config AdaptiveConfig

	// Of the window. All samples write here.
	count, sum, drops, peak atomic.Int64
	from, settled           atomic.Int64 // samples that began before from or ended before settled are not counted
	due                     atomic.Int64 // when the window may end
	need                    atomic.Int64 // and with how many samples

	mu          sync.Mutex // guards the following; who does not get it leaves the work to who has it
	current     float64
	base        float64 // nanoseconds; 0 before the first window
	latency     float64 // of the last window
	nextMeasure int64
	highest     float64 // limit since the last measurement
	lastMeasure int64
	measured    bool    // the base comes from a measurement
	full        int     // windows in a row in which the limit was reached
	descent     float64 // the limit during a measurement; 0 when there is none
	before      float64 // the latency one step higher
	higher      float64 // the limit there
}

func newAdaptive(config AdaptiveConfig, initial int) *adaptive {
	if config.Min <= 0 {
		config.Min = DefaultMin
	}
	if config.Max <= 0 {
		config.Max = DefaultMax
	}
	config.Max = max(config.Max, config.Min)
	if config.Tolerance < 1 {
		config.Tolerance = DefaultTolerance
	}
	if config.Measure <= 0 {
		config.Measure = DefaultMeasure
	}
	a := &adaptive{config: config, current: float64(min(max(initial, config.Min), config.Max))}
	a.need.Store(leastSamples)
	return a
}

// limit is only for New: afterwards sample returns it.
func (a *adaptive) limit() int64 { return int64(a.current) }

func (a *adaptive) latencies() (base, latency time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Duration(a.base), time.Duration(a.latency)
}

// sample takes one observation. At the end of a window it returns the limit.
func (a *adaptive) sample(now int64, took time.Duration, inFlight int64, outcome Outcome) (limit int64, changed bool) {
	if now < a.settled.Load() || now-int64(took) < a.from.Load() {
		return 0, false
	}
	if inFlight > a.peak.Load() {
		a.peak.Store(inFlight) // Of two at the same time the lower may win: it is a hint.
	}
	if outcome == Dropped {
		a.drops.Add(1)
	} else {
		a.sum.Add(int64(took))
	}
	n := a.count.Add(1)
	if n < a.need.Load() || now < a.due.Load() || !a.mu.TryLock() {
		return 0, false
	}
	defer a.mu.Unlock()
	if now < a.due.Load() || a.count.Load() < a.need.Load() {
		return 0, false // Somebody else has just ended this window.
	}
	a.endWindow(now)
	return int64(a.effective()), true
}

// effective is the limit that is in force.
func (a *adaptive) effective() float64 {
	if a.descent > 0 {
		return a.descent
	}
	return a.current
}

// seen is what has been seen in one.
type seen struct {
	latency float64 // mean of what was served; 0 if nothing was
	dropped bool
	peak    float64
}

func (a *adaptive) endWindow(now int64) {
	count, sum, drops := a.count.Swap(0), a.sum.Swap(0), a.drops.Swap(0)
	w := seen{peak: float64(a.peak.Swap(0)), dropped: float64(drops) > dropShare*float64(count)}
	if served := count - drops; served > 0 {
		w.latency = float64(sum) / float64(served)
		a.latency = w.latency
	}
	if a.base == 0 {
		a.base = w.latency
		a.nextMeasure = now + firstMeasure
	}
	if a.descent > 0 {
		a.descend(now, &w)
	} else {
		a.adjust(now, &w)
	}
	a.need.Store(max(leastSamples, int64(2*a.effective())))
	a.due.Store(now + max(shortest, int64(2*a.latency)))
}

// adjust moves the limit by one step.
func (a *adaptive) adjust(now int64, w *seen) {
	reached := w.peak >= 0.8*a.current
	if a.full++; !reached {
		a.full = 0
	}
	switch {
	case w.dropped:
		a.set(a.current * onDrop)
		return
	case w.latency == 0 || a.base == 0:
		return
	case w.latency < a.base:
		a.base += 0.1 * (w.latency - a.base)
	case !reached:
		a.base += 0.05 * (w.latency - a.base)
	}
	if !reached {
		return
	}
	gradient := min(max(a.config.Tolerance*a.base/w.latency, 0.5), 1)
	queue := math.Sqrt(a.current)
	if gradient < 1 {
		queue /= 2
	}
	target := a.current*gradient + queue
	falling := target < a.current
	if gradient < 1 {
		a.set(a.current + smoothing*(target-a.current))
	} else {
		a.set(target)
	}
	// The first step is compared with this window: its answers must have waited in the
	// queue that a limit which was just reached has not made yet.
	if a.full >= queued && a.doubtful(now, falling) {
		a.descent = a.current
		a.stepDown(now, w.latency)
	}
}

func (a *adaptive) set(limit float64) {
	a.current = min(max(limit, float64(a.config.Min)), float64(a.config.Max))
	a.highest = max(a.highest, a.current)
}

// doubtful says that it is time to measure the base. A limit that has fallen far and still
// falls does not find the latency that it expects: the base may be from other days. One
// that has fallen and stands, as after a while in which the machine was busy, is no
// reason: each measurement costs goodput.
func (a *adaptive) doubtful(now int64, falling bool) bool {
	if now >= a.nextMeasure {
		return true
	}
	return falling && a.current < fallen*a.highest && now-a.lastMeasure >= max(settle, int64(20*a.latency))
}

// stepDown halves the limit of a measurement. Only what begins below it counts.
func (a *adaptive) stepDown(now int64, latency float64) {
	a.higher = a.descent
	a.descent = max(a.descent/2, float64(a.config.Min))
	a.before = latency
	// Of what begins now the quickest ends first, and would speak for all.
	a.settled.Store(now + int64(2*latency))
	a.from.Store(now)
}

// carries says whether as much was answered as one step higher, by Little's law: the
// throughput is what is in flight over the latency.
func (a *adaptive) carries(w *seen) bool {
	return a.descent/w.latency >= carried*a.higher/a.before
}

// descend judges one step of a measurement.
func (a *adaptive) descend(now int64, w *seen) {
	switch {
	case w.dropped || w.latency == 0: // This is no time to measure anything.
	case a.measured && w.latency <= a.base*confirmed && w.latency >= a.base/confirmed:
		a.base += 0.3 * (w.latency - a.base)
	case w.latency < improved*a.before && a.descent > float64(a.config.Min) && a.carries(w):
		a.stepDown(now, w.latency)
		return
	case w.latency < improved*a.before:
		a.base = w.latency
		a.measured = true
	default:
		a.base = min(w.latency, (w.latency+a.before)/2)
		a.measured = true
	}
	a.descent = 0
	a.highest = a.current
	a.lastMeasure = now
	a.nextMeasure = now + max(int64(a.config.Measure), int64(100*a.base))
}
