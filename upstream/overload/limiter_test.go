package overload

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// script plays words against a limiter and returns what became of each request:
//
//	a0    request a with priority 0 comes
//	-a    request a, which is in flight, is over
//	!a    the client of request a goes away
//	+5    five milliseconds pass
func script(t *testing.T, l *Limiter, words string) map[string]Verdict {
	t.Helper()
	now := int64(0)
	waiting := map[string]*Waiter{}
	verdicts := map[string]Verdict{}
	for _, word := range strings.Fields(words) {
		name := word[1:]
		switch word[0] {
		case '+':
			var ms int64
			if _, err := fmt.Sscan(name, &ms); err != nil {
				t.Fatal(err)
			}
			now += ms * millisecond
		case '-':
			if verdicts[name] != Admitted {
				t.Fatalf("%s is not in flight: %v", name, verdicts[name])
			}
			l.Leave(now, 0, Ignored)
		case '!':
			waiting[name].Cancel()
		default:
			name := word[:1]
			if l.Enter() {
				verdicts[name] = Admitted
				break
			}
			w, v := l.Queue(now, int(word[1]-'0'))
			verdicts[name] = v
			if w != nil {
				waiting[name] = w
			}
		}
		for name, w := range waiting {
			select {
			case v := <-w.turn:
				verdicts[name] = v
				delete(waiting, name)
			default:
			}
		}
	}
	if got := l.View().Waiting; got != len(waiting) || got != l.queue.length {
		t.Errorf("%d wait, counted as %d and %d", len(waiting), got, l.queue.length)
	}
	return verdicts
}

func TestWhoIsServedAndWhoIsNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		limit, queue  int
		words         string
		admitted      string
		others        map[string]Verdict
		timeout, lifo time.Duration
	}{
		{"no queue", 2, 0, "a0 b0 c0 d0", "ab", map[string]Verdict{"c": Full, "d": Full}, 0, 0},
		{"first come, first served", 1, 3, "a0 b0 c0 d0 -a -b", "abc", map[string]Verdict{"d": Waiting}, 0, 0},
		{"the queue is full", 1, 2, "a0 b0 c0 d0", "a", map[string]Verdict{"d": Full, "b": Waiting}, 0, 0},
		{"the more important first", 1, 3, "a3 b3 c1 d0 -a -d -c", "abcd", nil, 0, 0},
		{"gold takes the room of the youngest free one", 1, 2, "a3 b3 c3 d0 -a", "ad", map[string]Verdict{"c": Displaced, "b": Waiting}, 0, 0},
		{"the least important makes room", 1, 3, "a0 b1 c3 d2 e0", "a", map[string]Verdict{"c": Displaced, "d": Waiting, "e": Waiting}, 0, 0},
		{"free does not take the room of gold", 1, 1, "a0 b0 c3 d0", "a", map[string]Verdict{"b": Waiting, "c": Full, "d": Full}, 0, 0},
		{"nobody overtakes who waits", 2, 2, "a0 b0 c0 -a d0", "abc", map[string]Verdict{"d": Waiting}, 0, 0},
		{"a client goes", 1, 2, "a0 b0 c0 !b -a", "ac", map[string]Verdict{"b": Cancelled}, 0, 0},
		{"all clients go", 1, 2, "a0 b0 c0 !c !b -a d0", "ad", map[string]Verdict{"b": Cancelled, "c": Cancelled}, 0, 0},
		{"under overload the youngest first", 1, 4, "a0 b0 +50 c0 +60 d0 -a -d -c", "abcd", nil, 0, 100 * time.Millisecond},
		{"under overload the youngest of the most important", 1, 4, "a0 b0 c2 +101 d0 e2 -a -d -b", "abde", map[string]Verdict{"c": Waiting}, 0, 100 * time.Millisecond},
		{"a full queue under overload sheds the oldest", 1, 2, "a0 b0 c0 +101 d0 -a", "ad", map[string]Verdict{"b": Displaced, "c": Waiting}, 0, 100 * time.Millisecond},
		{"but not for the less important", 1, 2, "a0 b0 c0 +101 d1", "a", map[string]Verdict{"d": Full}, 0, 100 * time.Millisecond},
		{"a queue that was empty is not overloaded", 1, 4, "a0 b0 +99 -a c0 +99 d0 -b", "abc", map[string]Verdict{"d": Waiting}, 0, 100 * time.Millisecond},
		{"whose time is over is not served", 1, 4, "a0 b0 +30 c0 +30 -a", "ac", map[string]Verdict{"b": TimedOut}, 50 * time.Millisecond, 0},
		{"priorities out of range", 1, 1, "a0 b9 c3", "a", map[string]Verdict{"b": Waiting, "c": Full}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := New(Config{Limit: c.limit, Queue: c.queue, Timeout: c.timeout, LIFOAfter: c.lifo})
			got := script(t, l, c.words)
			var admitted []string
			for name, v := range got {
				if v == Admitted {
					admitted = append(admitted, name)
				}
			}
			slices.Sort(admitted)
			if strings.Join(admitted, "") != c.admitted {
				t.Errorf("admitted %v, want %s; %v", admitted, c.admitted, got)
			}
			for name, want := range c.others {
				if got[name] != want {
					t.Errorf("%s: %v, want %v", name, got[name], want)
				}
			}
		})
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	l := New(Config{Limit: 1, Queue: 2, Timeout: 50 * time.Millisecond})
	script(t, l, "a3 b3 c3 d3 e0 +10 !b +20 -a f0 +60 -e")
	want := View{Limit: 1, InFlight: 0, Waiting: 0, Admitted: 1, Full: 1, Displaced: 1, TimedOut: 1, Cancelled: 1}
	if got := l.View(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if l.Config().LIFOAfter != DefaultLIFOAfter {
		t.Errorf("%+v", l.Config())
	}
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Limit: 1, Queue: 5, Timeout: 3 * time.Second})
		l.Enter()
		wait := func(atMost time.Duration, then func(w *Waiter)) (Verdict, time.Duration) {
			began := time.Now()
			w, _ := l.Queue(0, 0)
			var other sync.WaitGroup
			other.Go(func() { then(w) })
			verdict := w.Wait(atMost)
			after := time.Since(began)
			other.Wait()
			w.Free()
			return verdict, after
		}
		for _, c := range []struct {
			name   string
			atMost time.Duration
			then   func(w *Waiter)
			want   Verdict
			after  time.Duration
		}{
			{"its time", time.Hour, func(*Waiter) {}, TimedOut, 3 * time.Second},
			{"less time", time.Second, func(*Waiter) {}, TimedOut, time.Second},
			{"no time", 0, func(*Waiter) {}, TimedOut, 0},
			{"cancelled", time.Hour, func(w *Waiter) { time.Sleep(time.Second / 2); w.Cancel() }, Cancelled, time.Second / 2},
			{"cancelled twice", time.Hour, func(w *Waiter) { w.Cancel(); w.Cancel() }, Cancelled, 0},
			{"served", time.Hour, func(*Waiter) { time.Sleep(time.Second); l.Leave(0, 0, Served) }, Admitted, time.Second},
		} {
			if got, after := wait(c.atMost, c.then); got != c.want || after != c.after {
				t.Errorf("%s: %v after %v, want %v after %v", c.name, got, after, c.want, c.after)
			}
		}
		if got := l.View(); got.InFlight != 1 || got.Waiting != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Many goroutines come, wait, give up and leave. Nothing is lost: all have a
// verdict, never too much is in flight, and at last there is nothing.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	for _, adaptive := range []*AdaptiveConfig{nil, {Min: 1, Max: 8}} {
		const limit = 4
		l := New(Config{Limit: limit, Queue: 8, Timeout: 20 * time.Millisecond, LIFOAfter: time.Millisecond, Adaptive: adaptive})
		began := time.Now()
		var inFlight, most atomic.Int64
		var got [verdicts]atomic.Int64
		var wg sync.WaitGroup
		for g := range 32 {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(g), 5))
				for range 300 {
					v := Admitted
					if !l.Enter() {
						var w *Waiter
						if w, v = l.Queue(int64(time.Since(began)), random.IntN(Levels)); w != nil {
							if random.IntN(4) == 0 {
								cancelled := make(chan struct{})
								go func() { w.Cancel(); close(cancelled) }()
								v = w.Wait(time.Hour)
								<-cancelled
							} else {
								v = w.Wait(time.Hour)
							}
							w.Free()
						}
					}
					got[v].Add(1)
					if v == Admitted {
						n := inFlight.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						if random.IntN(3) == 0 {
							runtime.Gosched()
						}
						inFlight.Add(-1)
						l.Leave(int64(time.Since(began)), time.Duration(random.Int64N(millisecond)), Outcome(random.IntN(3)))
					}
				}
			})
		}
		wg.Wait()
		view := l.View()
		if view.InFlight != 0 || view.Waiting != 0 || l.queue.length != 0 || got[Waiting].Load() != 0 {
			t.Errorf("something is left: %+v", view)
		}
		if adaptive == nil && most.Load() > limit || most.Load() > 8 {
			t.Errorf("%d were in flight at one time", most.Load())
		}
		if got[Admitted].Load() == 0 || view.Full != got[Full].Load() || view.Displaced != got[Displaced].Load() {
			t.Errorf("%+v, counted %d full, %d displaced", view, got[Full].Load(), got[Displaced].Load())
		}
	}
}

// The slow twin of the queue is a list that is searched.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 0x41, 0x82, 0xc3})
	f.Fuzz(func(t *testing.T, ops []byte) {
		l := New(Config{Limit: 1, Queue: 5, Timeout: time.Hour, LIFOAfter: 20 * time.Millisecond})
		type entry struct {
			w        *Waiter
			priority int
		}
		var list []entry // oldest first
		now, since := int64(0), int64(0)
		l.Enter()
		pick := func(overloaded, best bool) int {
			found := -1
			for i, e := range list {
				if found < 0 || best && e.priority < list[found].priority || !best && e.priority > list[found].priority ||
					e.priority == list[found].priority && overloaded == best {
					found = i
				}
			}
			return found
		}
		for _, op := range ops {
			now += int64(op>>2&15) * millisecond
			overloaded := len(list) > 0 && now-since > 20*millisecond
			if op < 0x80 {
				priority := int(op & 3)
				w, v := l.Queue(now, priority)
				if len(list) == 5 {
					out := pick(overloaded, false)
					if list[out].priority < priority || list[out].priority == priority && !overloaded {
						if v != Full {
							t.Fatalf("%v, want full", v)
						}
						continue
					}
					if got := <-list[out].w.turn; got != Displaced {
						t.Fatal(got)
					}
					list = slices.Delete(list, out, out+1)
				}
				if v != Waiting {
					t.Fatal(v)
				}
				if len(list) == 0 {
					since = now
				}
				list = append(list, entry{w, priority})
				continue
			}
			if len(list) == 0 {
				continue
			}
			next := pick(overloaded, true)
			l.Leave(now, 0, Served)
			select {
			case got := <-list[next].w.turn:
				if got != Admitted {
					t.Fatal(got)
				}
			default:
				t.Fatalf("at %d ms, overloaded %v: another one was served than %d of %v", now/millisecond, overloaded, next, list)
			}
			list = slices.Delete(list, next, next+1)
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	l := New(Config{Limit: 2, Queue: 2, Adaptive: &AdaptiveConfig{}})
	n := testing.AllocsPerRun(1000, func() {
		if l.Enter() {
			l.Leave(1, time.Millisecond, Served)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEnterAndLeave(b *testing.B) {
	l := New(Config{Limit: 10})
	for b.Loop() {
		l.Enter()
		l.Leave(1, 1, Served)
	}
}

func BenchmarkAdaptive(b *testing.B) {
	l := New(Config{Limit: 10, Adaptive: &AdaptiveConfig{}})
	var now int64
	for b.Loop() {
		now += 10000
		l.Enter()
		l.Leave(now, time.Millisecond, Served)
	}
}

func BenchmarkWait(b *testing.B) {
	l := New(Config{Limit: 1, Queue: 10})
	l.Enter()
	for b.Loop() {
		w, _ := l.Queue(1, 0)
		l.Leave(1, 1, Served)
		w.Wait(time.Second)
		w.Free()
	}
}

func TestCeiling(t *testing.T) {
	t.Parallel()
	l := New(Config{Limit: 10, Queue: 1, Timeout: time.Hour})
	for _, c := range []struct{ ceiling, want int64 }{{3, 3}, {100, 10}, {0, 1}, {1 << 40, 10}, {1, 1}} {
		l.SetCeiling(0, c.ceiling)
		if got := l.View().Limit; int64(got) != c.want {
			t.Errorf("ceiling %d: the limit is %d", c.ceiling, got)
		}
	}
	if !l.Enter() || l.Enter() {
		t.Fatal("not one is let in")
	}
	w, _ := l.Queue(0, 0)
	l.SetCeiling(0, 2) // It has grown, so that who waits may begin.
	if v := w.Wait(time.Hour); v != Admitted {
		t.Error(v)
	}
	w.Free()
	l.Leave(0, 0, Ignored)
	l.Leave(0, 0, Ignored)
	if v := l.View(); v.InFlight != 0 || v.Waiting != 0 {
		t.Errorf("%+v", v)
	}
}
