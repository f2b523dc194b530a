// Package peakewma estimates how long an endpoint takes to answer: an average in
// which what is recent weighs more, and which jumps to a peak at once.
//
// So an endpoint that has become slow is avoided after one answer, and is tried
// again as the peak fades. Time is handed in as nanoseconds of a clock that does
// not go back.
package peakewma

import (
	"math"
	"sync/atomic"
	"time"
)

// Latency is the estimate for one endpoint. The zero value knows nothing yet. All
// methods may be called from any goroutine.
//
// The estimate, as a float32 of nanoseconds, is in the upper half of the word, and
// the time at which it was made, in ticks, in the lower half: so one
// compare-and-swap changes both.
type Latency struct{ word atomic.Uint64 }

// tick is 65.5 µs: what is observed more often than that weighs nothing unless it
// is a peak. After a day and a half
// without an answer the estimate may count as a fresh one, which one answer puts right.
const tick = 16

// unknown is the cost of an endpoint from which no answer has come, while there are
// requests waiting for one: more are not sent until it is known how it does.
const unknown = float64(time.Hour)

// Observe takes one answer that took so long. Decay is how long it takes until an
// estimate has lost two thirds of its weight: ten seconds, say.
func (l *Latency) Observe(now int64, took, decay time.Duration) {
	took = max(took, 1)
	for {
		word := l.word.Load()
		value := float64(took)
		if old := float64(math.Float32frombits(uint32(word >> 32))); value < old {
			weight := fade(now, word, decay)
			value = old*weight + value*(1-weight)
		}
		if l.word.CompareAndSwap(word, uint64(math.Float32bits(float32(value)))<<32|uint64(uint32(now>>tick))) {
			return
		}
	}
}

// Adopt makes the estimate that of another one.
func (l *Latency) Adopt(from *Latency) { l.word.Store(from.word.Load()) }

// fade is what is left of an estimate's weight.
func fade(now int64, word uint64, decay time.Duration) float64 {
	ticks := max(int32(uint32(now>>tick)-uint32(word)), 0)
	if ticks == 0 {
		return 1
	}
	return math.Exp(-float64(int64(ticks)<<tick) / float64(decay))
}

// Value is the estimate at a time; 0 where nothing is known. Nobody observes an
// endpoint that nobody asks, so an estimate fades: it would be avoided for ever.
func (l *Latency) Value(now int64, decay time.Duration) time.Duration {
	word := l.word.Load()
	return time.Duration(float64(math.Float32frombits(uint32(word>>32))) * fade(now, word, decay))
}

// Cost is what it would cost to wait here behind active others: who has less is asked.
func (l *Latency) Cost(now int64, active int64, decay time.Duration) float64 {
	value := float64(l.Value(now, decay))
	if value == 0 && active > 0 {
		return unknown * float64(active)
	}
	return value * float64(active+1)
}
