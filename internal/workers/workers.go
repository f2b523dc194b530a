// Package workers has goroutines that wait for something to do: those that serve the exchanges of
// wires on which many share a connection.
package workers

import "sync"

// Job is something that a worker does once. Jobs are long-lived values: handing
// one over costs no memory.
type Job interface{ Run() }

// Pool is goroutines that wait for something to do. One that has served an
// exchange has a stack that is large enough for the next one, which a new
// goroutine would have to grow. Its zero value is ready.
type Pool struct {
	mu    sync.Mutex
	idle  []*worker // the last one to come is the first to go: its stack is in the cache
	users int
}

type worker struct{ jobs chan Job }

// parkedWorkers is how many goroutines may wait for something to do. More than
// that end when they are done.
const parkedWorkers = 256

// Join and Leave count the connections; without any nobody waits.
func (w *Pool) Join() {
	w.mu.Lock()
	w.users++
	w.mu.Unlock()
}

// Leave is the end of what Join began.
func (w *Pool) Leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users--; w.users > 0 {
		return
	}
	for _, k := range w.idle {
		k.jobs <- nil
	}
	clear(w.idle)
	w.idle = w.idle[:0]
}

// Do has a job done on another goroutine.
func (w *Pool) Do(j Job) {
	w.mu.Lock()
	n := len(w.idle)
	if n == 0 {
		w.mu.Unlock()
		go w.work(&worker{jobs: make(chan Job, 1)}, j)
		return
	}
	k := w.idle[n-1]
	w.idle[n-1] = nil
	w.idle = w.idle[:n-1]
	w.mu.Unlock()
	k.jobs <- j
}

func (w *Pool) work(k *worker, j Job) {
	for ; j != nil; j = <-k.jobs {
		j.Run()
		w.mu.Lock()
		if w.users == 0 || len(w.idle) >= parkedWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, k)
		w.mu.Unlock()
	}
}
