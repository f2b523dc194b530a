package retry

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const second = int64(time.Second)

func TestBudgetDefaults(t *testing.T) {
	t.Parallel()
	got := NewBudget(BudgetConfig{}).Config()
	if got != (BudgetConfig{Share: 0.2, Minimum: 3, Window: 10 * time.Second}) {
		t.Errorf("%+v", got)
	}
}

// A minimum of nothing is one: only the share counts.
func TestBudgetWithoutAMinimum(t *testing.T) {
	t.Parallel()
	b := NewBudget(BudgetConfig{Share: 0.1})
	if b.Replace(0) || b.Take(0, 1) {
		t.Error("there is a further try before there were requests")
	}
	for range 10 {
		b.Request(0, 0)
	}
	if !b.Replace(0) || b.Replace(0) {
		t.Error("a tenth of ten requests is not one further try")
	}
}

func TestBudgetUnderWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ active, want int64 }{{0, 3}, {1, 3}, {15, 3}, {19, 3}, {20, 4}, {100, 20}} {
		b := NewBudget(BudgetConfig{})
		for range 10000 {
			b.Request(0, 0)
		}
		var got int64
		for b.Take(0, c.active) {
			got++
		}
		if got != c.want || b.Underway() != c.want || b.Refused() != 1 {
			t.Errorf("%d active: %d further tries at once, want %d; refused %d", c.active, got, c.want, b.Refused())
		}
		b.Return()
		if !b.Take(0, c.active) {
			t.Errorf("%d active: one came back and cannot be taken", c.active)
		}
	}
}

func TestBudgetOfTheWindow(t *testing.T) {
	t.Parallel()
	b := NewBudget(BudgetConfig{Share: 0.2, Minimum: 3})
	take := func(now int64) (n int) {
		for b.Take(now, 1000) {
			b.Return()
			n++
		}
		return n
	}
	if got := take(0); got != 3 {
		t.Errorf("without requests %d, want the minimum", got)
	}
	for range 100 {
		b.Request(second, 0)
	}
	if got := take(second); got != 20 {
		t.Errorf("after 100 requests %d more, want 20", got)
	}
	if got := take(10 * second); got != 3 { // The first three have left the window, the requests have not.
		t.Errorf("at 10 s: %d, want 3", got)
	}
	if got := take(11 * second); got != 0 {
		t.Errorf("at 11 s: %d; what was taken at 10 s is in the window", got)
	}
	if got := take(20 * second); got != 3 {
		t.Errorf("at 20 s: %d, want the minimum", got)
	}
}

// What takes the place of a try that is over is bounded by the window alone, and what
// nobody has noticed by nothing.
func TestBudgetReplaces(t *testing.T) {
	t.Parallel()
	b := NewBudget(BudgetConfig{Share: 0.2, Minimum: 3})
	for range 100 {
		b.Request(0, 0)
	}
	for range 50 {
		b.Grant()
	}
	got := 0
	for b.Replace(0) {
		got++
	}
	if got != 23 || b.Underway() != 73 || b.Refused() != 1 {
		t.Errorf("%d further tries, want 23; %d under way, %d refused", got, b.Underway(), b.Refused())
	}
	for range 73 {
		b.Return()
	}
	if b.Take(0, 1000) || b.Underway() != 0 {
		t.Error("the window is used up, and there is one more")
	}
}

// flight is a try that is under way.
type flight struct {
	at   int64 // when it is over
	left int   // further tries that the request may still ask for
	more bool  // it is a further try itself
}

// flights is a heap of tries in the order in which they end.
type flights []flight

func (f flights) Len() int           { return len(f) }
func (f flights) Less(i, j int) bool { return f[i].at < f[j].at }
func (f flights) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)        { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	last := old[len(old)-1]
	*f = old[:len(old)-1]
	return last
}

// Requests arrive, all of them fail from second 20 on, and each asks for three
// further tries: four times the load, without a budget.
func TestRetryStormIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rate   int64 // requests a second
		takes  time.Duration
		budget bool
	}{
		{"fast failures", 500, time.Millisecond, true},
		{"slow failures", 500, 2 * time.Second, true},
		{"little load", 2, 10 * time.Millisecond, true},
		{"no budget", 500, time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			requests, tries := storm(c.rate, int64(c.takes), c.budget)
			allowed := 1.25 * float64(requests)
			if c.rate < 10 {
				allowed += 3 * 9 // The minimum, once in a window of the 80 s.
			}
			if within := float64(tries) <= allowed; within != c.budget {
				t.Errorf("%d requests became %d tries, %.3f of the load", requests, tries, float64(tries)/float64(requests))
			}
			if tries <= requests {
				t.Errorf("%d requests, %d tries: nothing is tried again", requests, tries)
			}
		})
	}
}

func storm(rate, takes int64, budget bool) (requests, tries int) {
	random := rand.New(rand.NewPCG(3, 4))
	b := NewBudget(BudgetConfig{})
	backoff := Backoff{}.WithDefaults()
	var queue flights
	var active int64
	next := int64(0)
	for now := int64(0); now < 100*second; {
		if len(queue) == 0 || next <= queue[0].at {
			now = next
			next += second / rate
			b.Request(now, 0)
			active++
			if now >= 20*second {
				requests++
				tries++
			}
			heap.Push(&queue, flight{now + takes, 3, false})
			continue
		}
		over := heap.Pop(&queue).(flight)
		now = over.at
		if over.more {
			b.Return()
		}
		if now < 20*second || over.left == 0 || budget && !b.Take(now, active) {
			active--
			continue
		}
		if !budget {
			b.underway.Add(1)
		}
		tries++
		wait := int64(backoff.Delay(4-over.left, random.Uint64()))
		heap.Push(&queue, flight{now + wait + takes, over.left - 1, true})
	}
	return requests, tries
}

func TestBudgetIsExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	b := NewBudget(BudgetConfig{Share: 0.5, Minimum: 10})
	for range 1000 {
		b.Request(0, 0)
	}
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if b.Take(0, 1<<40) {
					taken.Add(1)
					b.Return()
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() != 510 || b.Underway() != 0 || b.Refused() != 1600-510 {
		t.Errorf("taken %d, under way %d, refused %d", taken.Load(), b.Underway(), b.Refused())
	}
}

func TestNothingIsAllocated(t *testing.T) {
	b := NewBudget(BudgetConfig{})
	c, err := Compile([]string{"5xx", "reset"})
	if err != nil {
		t.Fatal(err)
	}
	backoff := Backoff{}.WithDefaults()
	try := Try{Status: 503, GRPC: NoGRPC, Whole: true, Repeatable: true}
	n := testing.AllocsPerRun(100, func() {
		b.Request(0, 0)
		if c.Wants(&try) && b.Take(0, 10) {
			backoff.Delay(1, 5)
			b.Return()
		}
		ParseAfter("3", time.Time{})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	budget := NewBudget(BudgetConfig{})
	for b.Loop() {
		budget.Request(1, 1)
	}
}

func BenchmarkTake(b *testing.B) {
	budget := NewBudget(BudgetConfig{Minimum: 1 << 30})
	for b.Loop() {
		budget.Take(1, 100)
		budget.Return()
	}
}
