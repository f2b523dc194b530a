package http2

import (
	"sync"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/message"
)

// waiting is what an exchange waits for while its client may go away. The lock makes
// sure that what it waited for is not touched afterwards.
type waiting struct {
	mu   sync.Mutex
	on   message.Canceler
	gone atomic.Bool
}

func (w *waiting) clear() {
	w.on = nil
	w.gone.Store(false)
}

// await begins a wait. A client that is gone already ends it at once.
func (w *waiting) await(on message.Canceler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone.Load() {
		on.Cancel()
		return
	}
	w.on = on
}

func (w *waiting) arrived() {
	w.mu.Lock()
	w.on = nil
	w.mu.Unlock()
}

// cancelWait ends what the stream's exchange waits for, if its client is gone.
func (s *stream) cancelWait() {
	w := &s.waiting
	if !w.gone.Load() {
		return
	}
	w.mu.Lock()
	if w.on != nil {
		w.on.Cancel()
		w.on = nil
	}
	w.mu.Unlock()
}
