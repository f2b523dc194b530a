package overload

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	second      = int64(time.Second)
	millisecond = int64(time.Millisecond)
)

// origin is a server that is simulated event by event: workers, a queue without a
// bound in front of them, and a distribution of service times. Both may change.
type origin struct {
	workers func(now int64) int
	service func(now int64, random *rand.Rand) int64
}

// job is one request.
type job struct {
	arrived  int64 // at the gateway
	entered  int64 // at the origin
	priority int
}

type event struct {
	at  int64
	do  func(now int64)
	seq int
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// waiting is a job in the queue of the limiter.
type waiting struct {
	w *Waiter
	j *job
}

// simulation is clients, a limiter (or none) and an origin.
type simulation struct {
	origin  origin
	limiter *Limiter
	random  *rand.Rand
	events  events
	seq     int

	busy    int
	backlog []*job // at the origin
	waiting []waiting

	delay    func(at int64) int64 // of an event, because the machine stands still; nil: none
	again    bool                 // who has an answer asks again
	patience int64                // how long a client waits; 0 is for ever
	from, to int64                // what arrives then is counted
	offered  int
	done     []int64 // latencies of what was answered in time
	byLevel  [Levels]struct{ offered, done int }
}

func newSimulation(o origin, limiter *Limiter) *simulation {
	return &simulation{origin: o, limiter: limiter, random: rand.New(rand.NewPCG(21, 22)), to: math.MaxInt64}
}

func (s *simulation) at(at int64, do func(now int64)) {
	s.seq++
	heap.Push(&s.events, event{at, do, s.seq})
}

func (s *simulation) run(until int64) {
	for len(s.events) > 0 && s.events[0].at <= until {
		e := heap.Pop(&s.events).(event)
		if s.delay != nil {
			if later := s.delay(e.at); later > e.at {
				e.at = later
				heap.Push(&s.events, e)
				continue
			}
		}
		e.do(e.at)
	}
}

// arrivals come at a rate a second that may change, independently of each other.
func (s *simulation) arrivals(rate func(now int64) float64, priority func() int) {
	var next func(now int64)
	next = func(now int64) {
		if r := rate(now); r > 0 {
			s.arrive(&job{arrived: now, priority: priority()}, now)
			s.at(now+int64(s.random.ExpFloat64()/r*float64(second)), next)
		}
	}
	s.at(0, next)
}

func (s *simulation) counted(j *job) bool { return j.arrived >= s.from && j.arrived < s.to }

func (s *simulation) arrive(j *job, now int64) {
	if s.counted(j) {
		s.offered++
		s.byLevel[j.priority].offered++
	}
	if s.limiter == nil || s.limiter.Enter() {
		s.begin(j, now)
		return
	}
	w, verdict := s.limiter.Queue(now, j.priority)
	if verdict == Admitted {
		s.begin(j, now)
	}
	if w == nil {
		return
	}
	entry := waiting{w, j}
	s.waiting = append(s.waiting, entry)
	s.at(now+int64(s.limiter.config.Timeout), func(now int64) {
		if slices.Contains(s.waiting, entry) {
			s.limiter.abandon(w, TimedOut)
			s.verdicts(now)
		}
	})
	s.verdicts(now)
}

// verdicts goes on with everybody who has waited for long enough.
func (s *simulation) verdicts(now int64) {
	s.waiting = slices.DeleteFunc(s.waiting, func(e waiting) bool {
		select {
		case v := <-e.w.turn:
			e.w.Free()
			if v == Admitted {
				s.at(now, func(now int64) { s.begin(e.j, now) })
			}
			return true
		default:
			return false
		}
	})
}

func (s *simulation) begin(j *job, now int64) {
	j.entered = now
	s.backlog = append(s.backlog, j)
	s.work(now)
}

func (s *simulation) work(now int64) {
	for s.busy < s.origin.workers(now) && len(s.backlog) > 0 {
		j := s.backlog[0]
		s.backlog = s.backlog[1:]
		s.busy++
		s.at(now+s.origin.service(now, s.random), func(now int64) { s.finish(j, now) })
	}
}

func (s *simulation) finish(j *job, now int64) {
	s.busy--
	if s.counted(j) && (s.patience == 0 || now-j.arrived <= s.patience) {
		s.done = append(s.done, now-j.arrived)
		s.byLevel[j.priority].done++
	}
	if s.limiter != nil {
		s.limiter.Leave(now, time.Duration(now-j.entered), Served)
		s.verdicts(now)
	}
	s.work(now)
	if s.again {
		s.arrive(&job{arrived: now}, now)
	}
}

func (s *simulation) p99() time.Duration {
	if len(s.done) == 0 {
		return 0
	}
	slices.Sort(s.done)
	return time.Duration(s.done[len(s.done)*99/100])
}

func constant[T any](v T) func(int64) T { return func(int64) T { return v } }

func gold() int { return 0 }

func exponential(mean time.Duration) func(int64, *rand.Rand) int64 {
	return func(_ int64, r *rand.Rand) int64 { return int64(r.ExpFloat64() * float64(mean)) }
}

func lognormal(median time.Duration, sigma float64) func(int64, *rand.Rand) int64 {
	return func(_ int64, r *rand.Rand) int64 { return int64(math.Exp(sigma*r.NormFloat64()) * float64(median)) }
}

func fixed(took time.Duration) func(int64, *rand.Rand) int64 {
	return func(_ int64, r *rand.Rand) int64 { return int64(float64(took) * (0.95 + 0.1*r.Float64())) }
}

// measured is the origin's capacity in requests a second, found by clients that
// keep it busy and ask again when they have an answer, and its p99 at three tenths
// of that.
func measured(o origin) (capacity float64, p99 time.Duration) {
	const span = 10
	full := newSimulation(o, nil)
	full.again = true
	for range 3 * o.workers(0) {
		full.arrive(&job{}, 0)
	}
	full.run(span * second)
	capacity = float64(len(full.done)) / span
	idle := newSimulation(o, nil)
	idle.arrivals(constant(0.3*capacity), gold)
	idle.run(2 * span * second)
	return capacity, idle.p99()
}
