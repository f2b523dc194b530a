// Package engine takes an exchange through its life: see serve.go. It runs what it is
// given and knows neither the configuration nor any policy or target.
package engine

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
)

// Engine serves exchanges with the snapshot that is in force. It implements
// message.Handler.
type Engine struct {
	current atomic.Pointer[Snapshot]
	logger  *slog.Logger
	gateway *observe.Gateway
	faults  observe.LogLimiter
	via10   string
	via11   string
	via20   string
	via30   string
	name    string // our pseudonym in Via, one for each process

	tunnels tunnels

	challenge func(host, path string) (answer string, ok bool)

	mu      sync.Mutex
	old     []*Snapshot // still in use
	reaping bool
}

// New returns an engine without a configuration: it answers 503 until the first
// Swap.
func New(gateway *observe.Gateway, logger *slog.Logger) *Engine {
	var id [4]byte
	_, _ = rand.Read(id[:])
	name := "sluice-" + hex.EncodeToString(id[:])
	return &Engine{
		logger:  logger,
		gateway: gateway,
		name:    name,
		via10:   "1.0 " + name,
		via11:   "1.1 " + name,
		via20:   "2 " + name,
		via30:   "3 " + name,
	}
}

// AnswerChallenges says who answers what an authority of certificates asks over plain
// HTTP (RFC 8555 §8.3), before any route. It is called before anything is served.
func (e *Engine) AnswerChallenges(by func(host, path string) (answer string, ok bool)) {
	e.challenge = by
}

// Current is the snapshot in force, or nil.
func (e *Engine) Current() *Snapshot { return e.current.Load() }

// Swap puts a snapshot in force. The one before is closed when the last exchange
// that began with it has ended, however long that takes.
func (e *Engine) Swap(s *Snapshot) {
	s.vouched = newVouchedNames(s.Vouched)
	before := e.current.Swap(s)
	if before == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.old = append(e.old, before)
	if !e.reaping {
		e.reaping = true
		go e.reap()
	}
}

// reapEvery is how often old snapshots are looked at.
const reapEvery = 50 * time.Millisecond

// reap closes old snapshots that nobody uses, and ends when there are none.
func (e *Engine) reap() {
	ticker := time.NewTicker(reapEvery)
	defer ticker.Stop()
	for range ticker.C {
		if e.reapOnce() == 0 {
			return
		}
	}
}

func (e *Engine) reapOnce() (left int) {
	var idle []*Snapshot
	e.mu.Lock()
	kept := e.old[:0]
	for _, s := range e.old {
		if s.inUse() {
			kept = append(kept, s)
		} else {
			idle = append(idle, s)
		}
	}
	clear(e.old[len(kept):])
	e.old = kept
	left = len(kept)
	if left == 0 {
		e.reaping = false
	}
	e.mu.Unlock()
	for _, s := range idle {
		if err := s.close(); err != nil {
			e.logger.Error("closing an old configuration", "revision", s.Revision, "error", err)
		}
	}
	return left
}

// Old is the number of snapshots that are kept only for exchanges that began
// with them.
func (e *Engine) Old() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.old)
}

// closeWait is how long Close waits for exchanges whose connections were cut.
const closeWait = 2 * time.Second

// Close closes all snapshots. Connections have ended or were cut before; exchanges
// that are still on their way out are waited for, a little. What is in use even
// then stays open, and the error says so.
func (e *Engine) Close() error {
	if s := e.current.Swap(nil); s != nil {
		e.mu.Lock()
		e.old = append(e.old, s)
		e.mu.Unlock()
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); ; <-ticker.C {
		left := e.reapOnce()
		if left == 0 {
			return nil
		}
		if time.Since(began) > closeWait {
			return fmt.Errorf("engine: %d configurations are still in use", left)
		}
	}
}

// pin returns the current snapshot and keeps it open until unpin. Looking twice
// closes the gap in which it could be swapped and closed before it was counted.
func (e *Engine) pin(x *message.Exchange) *Snapshot {
	for {
		s := e.current.Load()
		if s == nil {
			return nil
		}
		if e.enter(s, x.Shard) {
			return s
		}
	}
}

// enter counts a user of a snapshot, unless that is not in force any more: then it
// may be closed already.
func (e *Engine) enter(s *Snapshot, shard uint32) bool {
	s.pins[shard%pinCells].users.Add(1)
	if e.current.Load() == s {
		return true
	}
	s.unpin(shard)
	return false
}
