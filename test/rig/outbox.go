package rig

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// outbox sends behind the caller's back, in order, so that a script can send more
// than the other side takes before it looks there.
type outbox struct {
	mu      sync.Mutex
	queue   []func() error
	busy    bool
	failed  error
	written atomic.Int64
}

// enqueue runs something behind everything that was sent so far.
func (o *outbox) enqueue(job func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, job)
	if !o.busy {
		o.busy = true
		go o.work()
	}
}

func (o *outbox) work() {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			o.busy = false
			o.mu.Unlock()
			return
		}
		job := o.queue[0]
		o.queue = o.queue[1:]
		o.mu.Unlock()
		if err := job(); err != nil {
			o.mu.Lock()
			o.failed = err
			o.mu.Unlock()
		}
	}
}

// Stuck waits until what is being sent does not move any more: the other side
// has stopped reading.
func (o *outbox) Stuck() error {
	last, since := int64(-1), time.Now()
	return Eventually(func() error {
		if now := o.written.Load(); now != last {
			last, since = now, time.Now()
		}
		o.mu.Lock()
		busy := o.busy
		o.mu.Unlock()
		if !busy {
			return fmt.Errorf("all %d bytes were taken: nothing holds the sender back", last)
		}
		if quiet := time.Since(since); quiet < 300*time.Millisecond {
			return fmt.Errorf("%d bytes were taken, and it goes on", last)
		}
		return nil
	})
}

// Written is the number of bytes that the kernel took.
func (o *outbox) Written() int64 { return o.written.Load() }

// Drain waits until everything sent was written.
func (o *outbox) Drain() error {
	return Eventually(func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.busy {
			return fmt.Errorf("the other side does not read")
		}
		return o.failed
	})
}
