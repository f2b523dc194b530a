package http2

import (
	"sync"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/message"
)

// waiting is what an exchange waits for while its client may go away. The lock makes
// sure that what it waited for is not touched afterwards: also not by a reader that comes so late
// with the end of one exchange that its stream serves the next.
type waiting struct {
	mu   sync.Mutex
	on   message.Canceler
	gone atomic.Bool
}

func (w *waiting) clear() {
	w.mu.Lock()
	w.on = nil
	w.gone.Store(false)
	w.mu.Unlock()
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

// cancel ends the wait, if the client is gone: the one of the exchange that is there now.
func (w *waiting) cancel() {
	if !w.gone.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on == nil || !w.gone.Load() {
		return
	}
	w.on.Cancel()
	w.on = nil
}

// cancelWait ends what the stream's exchange waits for, if its client is gone. It is called
// without the lock of the link, when the stream may have gone on to another exchange.
func (s *stream) cancelWait() { s.waiting.cancel() }
