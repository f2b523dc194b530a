// Package pause is a wait that somebody else may end before its time: of a request that is
// held back, until its client goes away or its turn comes.
package pause

import (
	"sync"
	"time"
)

// Pause is one wait after another. It is used by one goroutine, but for Cancel.
type Pause struct {
	timer *time.Timer
	ended chan struct{}
}

// Cancel ends the wait that goes on, or the next one. It never blocks, and may be called
// by any goroutine.
func (p *Pause) Cancel() {
	select {
	case p.ended <- struct{}{}:
	default: // It was cancelled already.
	}
}

// For waits for d and says whether it was all of that: false is that Cancel was quicker.
func (p *Pause) For(d time.Duration) bool {
	p.timer.Reset(d)
	defer p.timer.Stop()
	select {
	case <-p.timer.C:
		return true
	case <-p.ended:
		return false
	}
}

// Pool has pauses to be used again: a wait costs no allocation. The zero value is ready.
type Pool struct{ pool sync.Pool }

// Take returns a pause that nobody has cancelled.
func (p *Pool) Take() *Pause {
	if v, ok := p.pool.Get().(*Pause); ok {
		return v
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &Pause{timer: timer, ended: make(chan struct{}, 1)}
}

// Give takes a pause back. Nobody may call its Cancel any more.
func (p *Pool) Give(v *Pause) {
	select {
	case <-v.ended: // It was cancelled just after its time was over.
	default:
	}
	p.pool.Put(v)
}
