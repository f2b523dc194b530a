// Package retry decides whether a request is sent again, and when: conditions,
// what is safe, a budget, and a backoff.
//
// It knows no connections. Package upstream asks it after each try, on the
// goroutine of the exchange; nothing is allocated. Time is handed in as
// nanoseconds of a clock that does not go back.
package retry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/window"
)

// BudgetConfig says how many further tries an upstream bears. Further tries are
// retries and hedges alike. The zero value is the default one.
type BudgetConfig struct {
	Share   float64       // of the requests in the window, and of the requests under way; default 0.2
	Minimum int           // further tries that are allowed in any case, at one time and in one window; 0 is none
	Window  time.Duration // over which requests and further tries are counted; default 10s
}

// Defaults of a budget: one further try for five requests.
const (
	DefaultShare   = 0.2
	DefaultMinimum = 3
	DefaultWindow  = 10 * time.Second
)

func (c BudgetConfig) withDefaults() BudgetConfig {
	if c == (BudgetConfig{}) {
		c.Minimum = DefaultMinimum
	}
	if c.Share <= 0 {
		c.Share = DefaultShare
	}
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	return c
}

// Budget keeps retries from becoming the load that an ill upstream dies of. There are
// two bounds:
//
//   - further tries in a window ≤ Minimum + Share × requests in that window;
//   - further tries under way ≤ max(Minimum, Share × requests under way).
//
// The first holds for all that an origin notices: whatever fails, the upstream gets no
// more than (1+Share) times the requests, and Minimum more in a window. The second
// holds too where the origin may still be busy with the try before (Take), so that
// what it holds does not grow. It does not hold for a try that takes the place of one
// that is over (Replace): an endpoint that dies cuts off all that it was doing at once,
// a third of what is under way, say, and that would be more than a share of it.
//
// All methods may be called from any goroutine.
type Budget struct {
	config   BudgetConfig
	requests *window.Counts
	underway atomic.Int64
	refused  atomic.Int64

	mu      sync.Mutex // makes the look at the window and the count of a further try one step
	retries *window.Counts
}

// budgetBuckets is how finely the window slides.
const budgetBuckets = 10

// NewBudget returns a budget of which nothing is used.
func NewBudget(config BudgetConfig) *Budget {
	config = config.withDefaults()
	return &Budget{
		config:   config,
		requests: window.New(int64(config.Window), budgetBuckets, 1, 8),
		retries:  window.New(int64(config.Window), budgetBuckets, 1, 1),
	}
}

// Request counts a request that begins. It is called once per request, before its
// first try. Shard is Exchange.Shard.
func (b *Budget) Request(now int64, shard uint32) { b.requests.Add(now, shard, 0, 1) }

// Take asks for one further try beside one that the origin may still be busy with, while
// active requests (this one included) are under way at the upstream. Who was given one
// calls Return when the try is over, however it ends.
func (b *Budget) Take(now, active int64) bool {
	if !b.reserve(max(int64(b.config.Minimum), int64(b.config.Share*float64(active)))) {
		b.refused.Add(1)
		return false
	}
	if !b.count(now) {
		b.underway.Add(-1)
		b.refused.Add(1)
		return false
	}
	return true
}

// Replace asks for one further try in place of one that is over: it was answered, or its
// connection has ended. Who was given one calls Return.
func (b *Budget) Replace(now int64) bool {
	if !b.count(now) {
		b.refused.Add(1)
		return false
	}
	b.underway.Add(1)
	return true
}

// Grant gives one further try in place of one that no origin has noticed: all of them
// together get no more than they would without. Return is called after it as well.
func (b *Budget) Grant() { b.underway.Add(1) }

// reserve adds one to the further tries under way, unless they are limit already.
func (b *Budget) reserve(limit int64) bool {
	for {
		n := b.underway.Load()
		if n >= limit {
			return false
		}
		if b.underway.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// count adds one to the further tries of the window, if it has room.
func (b *Budget) count(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := int64(b.config.Minimum) + int64(b.config.Share*float64(b.requests.Sum(now, 0)))
	if b.retries.Sum(now, 0) >= room {
		return false
	}
	b.retries.Add(now, 0, 0, 1)
	return true
}

// Return gives back what Take, Replace or Grant gave.
func (b *Budget) Return() { b.underway.Add(-1) }

// Underway is the number of further tries at this moment.
func (b *Budget) Underway() int64 { return b.underway.Load() }

// Refused is the number of times that Take or Replace said no, since the beginning.
func (b *Budget) Refused() int64 { return b.refused.Load() }

// Config is what the budget was made of, defaults included.
func (b *Budget) Config() BudgetConfig { return b.config }
