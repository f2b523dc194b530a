// Package breaker stops asking who keeps failing, and finds out by probes when to
// ask again.
//
//	        failures or slow calls reach their share
//	closed ─────────────────────────────────────────▶ open ◀─────────┐
//	  ▲                                                │ time is over │ a probe fails:
//	  │             enough probes succeed              ▼              │ twice the time
//	  └─────────────────────────────────────────── half-open ─────────┘
//
// A Breaker knows neither connections nor a clock: it is asked before a try and
// told what became of it, with the time as nanoseconds of a clock that does not go
// back.
package breaker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/window"
)

// Config says when a breaker opens and how it closes.
type Config struct {
	Window       time.Duration // over which outcomes are counted; default 10s
	Volume       int           // outcomes in the window below which it never opens; default 20
	FailureShare float64       // of outcomes that are failures, above 0 and up to 1, at which it opens; 0 is never
	SlowShare    float64       // of outcomes that were slow, at which it opens; 0 is never
	SlowAfter    time.Duration // what takes longer is slow; for SlowShare

	OpenFor   time.Duration // how long it stays open the first time; default 5s
	OpenMax   time.Duration // that time doubles with each probe that fails, up to this; default 60s, at least OpenFor
	Probes    int           // at one time; default 1
	Successes int           // probes that must succeed before it closes; default 3
	ProbeTime time.Duration // after which a probe that told nothing is given up; default 30s

	// OnChange is told each change of state once, on the goroutine that caused it,
	// with no lock held. Changes that follow each other closely may arrive out of
	// order: Change.Number tells.
	OnChange func(Change)
	// Jitter draws from [0, 1), so that the breakers of many gateways do not probe at
	// once: the time is prolonged by up to a tenth. Default rand.Float64.
	Jitter func() float64
}

// Defaults of a breaker.
const (
	DefaultWindow    = 10 * time.Second
	DefaultVolume    = 20
	DefaultOpenFor   = 5 * time.Second
	DefaultOpenMax   = time.Minute
	DefaultProbes    = 1
	DefaultSuccesses = 3
	DefaultProbeTime = 30 * time.Second
)

func (c Config) withDefaults() Config {
	durations := []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Window, DefaultWindow}, {&c.OpenFor, DefaultOpenFor}, {&c.OpenMax, DefaultOpenMax}, {&c.ProbeTime, DefaultProbeTime}}
	for _, d := range durations {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	counts := []struct {
		value    *int
		fallback int
	}{{&c.Volume, DefaultVolume}, {&c.Probes, DefaultProbes}, {&c.Successes, DefaultSuccesses}}
	for _, n := range counts {
		if *n.value <= 0 {
			*n.value = n.fallback
		}
	}
	c.OpenMax = max(c.OpenMax, c.OpenFor)
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	return c
}

// State is what a breaker does with requests.
type State uint32

const (
	Closed   State = iota // lets all through
	Open                  // refuses all
	HalfOpen              // lets a few through, as probes
)

func (s State) String() string { return [...]string{"closed", "open", "half_open"}[s] }

// Reason is why a state was left.
type Reason uint8

const (
	Failures        Reason = iota // the share of failures was reached
	SlowCalls                     // the share of slow calls was reached
	ProbeFailed                   // a probe failed or was slow
	TimeOver                      // the open time is over
	ProbesSucceeded               // enough probes succeeded
)

func (r Reason) String() string {
	return [...]string{"failures", "slow_calls", "probe_failed", "time_over", "probes_succeeded"}[r]
}

// Change is one change of state.
type Change struct {
	Number   uint64 // counts the changes of this breaker from 1
	From, To State
	Reason   Reason
	OpenFor  time.Duration // where To is Open
	// What the window held where the breaker left Closed.
	Outcomes, Failures, Slow int64
}

// Decision is the answer to whether a try may begin.
type Decision struct {
	OK bool
	// Probe is not 0 where the try is a probe. It is given back with Record or Forget.
	Probe uint64
	// RetryAfter is how long a refused client should wait; 0 where a probe is on its
	// way and nobody knows.
	RetryAfter time.Duration
}

// The series of outcomes.
const (
	all = iota
	failures
	slow
	series
)

// Breaker guards one upstream or one endpoint. Its methods may be called from any
// goroutine; while it is closed, Allow is one load and Record one atomic add or a
// few.
type Breaker struct {
	config  Config
	counts  *window.Counts
	state   atomic.Uint32
	until   atomic.Int64 // when the open time is over
	refused atomic.Int64
	opened  atomic.Int64

	mu        sync.Mutex // guards the changes of state and what follows
	number    uint64     // of changes
	inARow    int        // times that it opened since it was closed
	cause     Reason     // why it left Closed: Failures or SlowCalls
	round     uint64     // tells the probes of one half-open time from those of another
	underway  int        // probes of this round
	last      int64      // when the last probe of this round began
	succeeded int        // probes of this half-open time
}

// buckets is how finely the window slides.
const buckets = 10

// New returns a closed breaker. Shards is 1 for an endpoint, and 8 for what all
// cores ask.
func New(config Config, shards int) *Breaker {
	config = config.withDefaults()
	return &Breaker{config: config, counts: window.New(int64(config.Window), buckets, series, shards)}
}

// Allow says whether a try may begin. After a yes, Record or Forget is called.
func (b *Breaker) Allow(now int64) Decision {
	if State(b.state.Load()) == Closed {
		return Decision{OK: true}
	}
	return b.allowCarefully(now)
}

func (b *Breaker) allowCarefully(now int64) Decision {
	if left := b.until.Load() - now; left > 0 && State(b.state.Load()) == Open {
		b.refused.Add(1)
		return Decision{RetryAfter: time.Duration(left)}
	}
	decision, change := b.probe(now)
	b.tell(change)
	if !decision.OK {
		b.refused.Add(1)
	}
	return decision
}

// probe gives out a probe, if one may begin.
func (b *Breaker) probe(now int64) (Decision, Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var change Change
	switch State(b.state.Load()) {
	case Closed:
		return Decision{OK: true}, change
	case Open:
		if left := b.until.Load() - now; left > 0 {
			return Decision{RetryAfter: time.Duration(left)}, change
		}
		b.round++
		b.underway, b.succeeded = 0, 0
		change = b.become(HalfOpen, TimeOver)
	}
	if b.underway >= b.config.Probes {
		if now-b.last < int64(b.config.ProbeTime) {
			return Decision{}, change
		}
		// Probes that were never reported must not wedge the breaker. If they are
		// after all, they belong to a round that is over.
		b.round++
		b.underway = 0
	}
	b.underway++
	b.last = now
	return Decision{OK: true, Probe: b.round}, change
}

// Record tells what became of a try: whether it failed, and how long it took until
// the head of the answer came. Probe is that of its Decision. Shard is
// Exchange.Shard.
func (b *Breaker) Record(now int64, shard uint32, probe uint64, failed bool, took time.Duration) {
	isSlow := b.config.SlowShare > 0 && took > b.config.SlowAfter
	if probe != 0 {
		b.tell(b.recordProbe(now, probe, failed || isSlow))
		return
	}
	if State(b.state.Load()) != Closed {
		return // It began before the breaker opened: no news.
	}
	b.counts.Add(now, shard, all, 1)
	if failed {
		b.counts.Add(now, shard, failures, 1)
	}
	if isSlow {
		b.counts.Add(now, shard, slow, 1)
	}
	if failed || isSlow {
		b.tell(b.judge(now))
	}
}

// judge opens the breaker if the window says so.
func (b *Breaker) judge(now int64) Change {
	outcomes := b.counts.Sum(now, all)
	if outcomes < int64(b.config.Volume) {
		return Change{}
	}
	reason, ill := b.verdict(now, outcomes)
	if !ill {
		return Change{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if State(b.state.Load()) != Closed {
		return Change{}
	}
	b.cause = reason
	change := b.open(now, reason)
	change.Outcomes, change.Failures, change.Slow = outcomes, b.counts.Sum(now, failures), b.counts.Sum(now, slow)
	return change
}

func (b *Breaker) verdict(now, outcomes int64) (Reason, bool) {
	reached := func(series int, share float64) bool {
		return share > 0 && float64(b.counts.Sum(now, series)) >= share*float64(outcomes)
	}
	if reached(failures, b.config.FailureShare) {
		return Failures, true
	}
	return SlowCalls, reached(slow, b.config.SlowShare)
}

func (b *Breaker) recordProbe(now int64, probe uint64, failed bool) Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if State(b.state.Load()) != HalfOpen || probe != b.round {
		return Change{}
	}
	b.underway--
	if failed {
		return b.open(now, ProbeFailed)
	}
	b.succeeded++
	if b.succeeded < b.config.Successes {
		return Change{}
	}
	b.inARow = 0
	b.counts.Reset()
	return b.become(Closed, ProbesSucceeded)
}

// Forget takes back a try of which nothing will be known: its client has gone, or
// it was refused elsewhere.
func (b *Breaker) Forget(probe uint64) {
	if probe == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if State(b.state.Load()) == HalfOpen && probe == b.round {
		b.underway--
	}
}

// open is called with the lock held.
func (b *Breaker) open(now int64, reason Reason) Change {
	openFor := b.config.OpenMax
	if shift := b.inARow; shift < 32 && b.config.OpenFor <= b.config.OpenMax>>shift {
		openFor = b.config.OpenFor << shift
	}
	openFor += time.Duration(b.config.Jitter() * float64(openFor) / 10)
	b.inARow++
	b.opened.Add(1)
	b.until.Store(now + int64(openFor))
	change := b.become(Open, reason)
	change.OpenFor = openFor
	return change
}

// become is called with the lock held.
func (b *Breaker) become(to State, reason Reason) Change {
	b.number++
	from := State(b.state.Swap(uint32(to)))
	return Change{Number: b.number, From: from, To: to, Reason: reason}
}

func (b *Breaker) tell(change Change) {
	if change.Number != 0 && b.config.OnChange != nil {
		b.config.OnChange(change)
	}
}

// View is what a breaker looks like from outside.
type View struct {
	State                    State
	Outcomes, Failures, Slow int64         // in the window
	Reopens                  time.Duration // until the next probe may begin, where it is open
	Opened, Refused          int64         // since the beginning
}

// Adopt makes a new breaker go on where another one is, which it replaces: one that was open, or
// sending probes, is open and sends its own. What it was opened for must still count; else it begins
// closed. It is called before the breaker is used, and tells no change.
func (b *Breaker) Adopt(from *Breaker, now int64) {
	from.mu.Lock()
	state, until, inARow, cause := State(from.state.Load()), from.until.Load(), from.inARow, from.cause
	from.mu.Unlock()
	b.opened.Store(from.opened.Load())
	b.refused.Store(from.refused.Load())
	if state == Closed || cause == Failures && b.config.FailureShare <= 0 || cause == SlowCalls && b.config.SlowShare <= 0 {
		return
	}
	if state == HalfOpen {
		until = now
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inARow, b.cause = inARow, cause
	b.until.Store(min(until, now+int64(b.config.OpenMax)))
	b.state.Store(uint32(Open))
}

// State is what the breaker does at the moment. An open one whose time is over stays open until
// somebody asks.
func (b *Breaker) State() State { return State(b.state.Load()) }

// View is for status and metrics.
func (b *Breaker) View(now int64) View {
	v := View{
		State:    State(b.state.Load()),
		Outcomes: b.counts.Sum(now, all), Failures: b.counts.Sum(now, failures), Slow: b.counts.Sum(now, slow),
		Opened: b.opened.Load(), Refused: b.refused.Load(),
	}
	if v.State == Open {
		v.Reopens = max(time.Duration(b.until.Load()-now), 0)
	}
	return v
}

// Ready says whether Allow would let a try through, without beginning a probe: for
// who chooses among endpoints.
func (b *Breaker) Ready(now int64) bool {
	switch State(b.state.Load()) {
	case Closed:
		return true
	case Open:
		return now >= b.until.Load()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.underway < b.config.Probes || now-b.last >= int64(b.config.ProbeTime)
}

// Refuses says whether Allow would let nothing through at all, not even a probe: for who may
// as well go elsewhere.
func (b *Breaker) Refuses(now int64) bool {
	return State(b.state.Load()) == Open && now < b.until.Load()
}

// Config is what the breaker was made of, defaults included.
func (b *Breaker) Config() *Config { return &b.config }
