package http2

import "sync"

// job is something that a worker does once. Jobs are long-lived values: handing
// one over costs no memory.
type job interface{ run() }

// workers are goroutines that wait for something to do. One that has served an
// exchange has a stack that is large enough for the next one, which a new
// goroutine would have to grow.
type workers struct {
	mu    sync.Mutex
	idle  []*worker // the last one to come is the first to go: its stack is in the cache
	users int
}

type worker struct{ jobs chan job }

// parkedWorkers is how many goroutines may wait for something to do. More than
// that end when they are done.
const parkedWorkers = 256

// join and leave count the connections; without any nobody waits.
func (w *workers) join() {
	w.mu.Lock()
	w.users++
	w.mu.Unlock()
}

func (w *workers) leave() {
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

// do has a job done on another goroutine.
func (w *workers) do(j job) {
	w.mu.Lock()
	n := len(w.idle)
	if n == 0 {
		w.mu.Unlock()
		go w.work(&worker{jobs: make(chan job, 1)}, j)
		return
	}
	k := w.idle[n-1]
	w.idle[n-1] = nil
	w.idle = w.idle[:n-1]
	w.mu.Unlock()
	k.jobs <- j
}

func (w *workers) work(k *worker, j job) {
	for ; j != nil; j = <-k.jobs {
		j.run()
		w.mu.Lock()
		if w.users == 0 || len(w.idle) >= parkedWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, k)
		w.mu.Unlock()
	}
}
