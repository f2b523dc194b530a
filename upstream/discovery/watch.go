package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"time"
)

// round is what one look at a source brought.
type round struct {
	list  []Endpoint    // as complete returns it
	same  bool          // the source says that nothing changed: list is not set
	note  error         // what was passed over
	again time.Duration // when to look next; after an error at the earliest
}

// Times between looks at a source that fails: they double from the first to the
// last, and half of each is chance, so that many gateways do not ask together.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// watch looks at a source until ctx ends, and tells what changed. Name stands at the
// beginning of each fault.
func watch(ctx context.Context, name string, look func(context.Context) (round, error), send func([]Endpoint), fault func(error)) {
	w := watcher{name: name, send: send, fault: fault}
	for {
		r, err := look(ctx)
		if ctx.Err() != nil || !sleep(ctx, w.took(r, err)) {
			return
		}
	}
}

// watcher remembers what was told.
type watcher struct {
	name  string
	send  func([]Endpoint)
	fault func(error)

	sent   bool
	last   []Endpoint
	failed int    // looks that failed in a row
	told   string // the fault of the last look that failed, "" after a good one
	noted  string // what the list in force had that was passed over
}

// took tells what a look brought, and returns when to look again.
func (w *watcher) took(r round, err error) time.Duration {
	if err != nil {
		w.complain(&w.told, err)
		w.failed++
		return max(r.again, pause(w.failed))
	}
	w.failed, w.told = 0, ""
	if !r.same && (!w.sent || !slices.Equal(w.last, r.list)) {
		w.sent, w.last = true, r.list
		w.send(slices.Clone(r.list))
	}
	switch {
	case r.note != nil:
		w.complain(&w.noted, &Note{r.note})
	case !r.same:
		w.noted = ""
	}
	w.fault(nil)
	return r.again
}

// complain tells a fault, unless it was the last one of its sort that was told.
func (w *watcher) complain(told *string, err error) {
	if text := err.Error(); text != *told {
		*told = text
		w.fault(fmt.Errorf("discovery: %s: %w", w.name, err))
	}
}

// pause is how long to wait after so many failures in a row.
func pause(failed int) time.Duration {
	d := longestPause
	if failed < 6 {
		d = min(d, firstPause<<(failed-1))
	}
	return d/2 + rand.N(d/2+1)
}

// later lengthens a time by up to a tenth of it.
func later(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// sleep waits; it returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// plain is an error of the network in words that do not change from one time to the
// next: without the port from which it was asked, which would make each a new fault.
func plain(err error) error {
	if timeout(err) {
		return errTimeout
	}
	var operation *net.OpError
	if errors.As(err, &operation) {
		err = operation.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

var errTimeout = errors.New("no answer in time")

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
