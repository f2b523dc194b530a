package workers

import (
	"testing"
	"testing/synctest"
)

// job counts how often it was done, and waits until it may end.
type job struct {
	done chan struct{}
	end  chan struct{}
}

func (j *job) Run() { j.done <- struct{}{}; <-j.end }

func (p *Pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// TestPool is goroutines that are used again, and end when nobody needs them. The bubble
// fails the test if one is left.
func TestPool(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		p.Join()
		p.Join()
		const many = parkedWorkers + 10
		j := &job{make(chan struct{}, many), make(chan struct{})}
		for range many {
			p.Do(j)
		}
		synctest.Wait()
		if len(j.done) != many {
			t.Fatalf("%d jobs of %d run at one time", len(j.done), many)
		}
		close(j.end)
		synctest.Wait()
		if p.waiting() != parkedWorkers {
			t.Errorf("%d wait, the limit is %d", p.waiting(), parkedWorkers)
		}
		again := &job{make(chan struct{}, 1), make(chan struct{})}
		p.Do(again)
		synctest.Wait()
		if len(again.done) != 1 || p.waiting() != parkedWorkers-1 {
			t.Errorf("a further job is done by a new goroutine: %d wait", p.waiting())
		}
		p.Leave()
		if p.waiting() == 0 {
			t.Error("they end while somebody needs them")
		}
		p.Leave()
		close(again.end)
		synctest.Wait()
		if p.waiting() != 0 {
			t.Errorf("%d wait for nobody", p.waiting())
		}
	})
}
