package certificates

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

const (
	// ticketAge is how long one key encrypts new session tickets.
	ticketAge = 12 * time.Hour
	// ticketKeys is how many keys are kept: a ticket can be used for 24 to 36 hours.
	// Who steals the keys from memory can read no more than that of TLS 1.2.
	ticketKeys = 3
)

// tickets are the keys of session tickets. They belong to one listener, so that a
// session begun where client certificates are asked for, or are not, means nothing
// elsewhere; they outlive every change of its configuration.
type tickets struct {
	mu    sync.Mutex
	list  [][32]byte // the newest first
	since time.Time
}

// rotate makes a new key where the newest is old, and forgets the oldest.
func (t *tickets) rotate(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) > 0 && now.Sub(t.since) < ticketAge {
		return false
	}
	// A gateway that slept for days must not accept what its keys would have missed.
	missed := ticketKeys
	if len(t.list) > 0 {
		missed = min(int(now.Sub(t.since)/ticketAge), ticketKeys)
	}
	keep := t.list[:max(0, min(len(t.list), ticketKeys-missed))]
	var key [32]byte
	_, _ = rand.Read(key[:]) // It never fails: crypto/rand ends the process instead.
	t.list = append([][32]byte{key}, keep...)
	t.since = now
	return true
}

// keys is a copy, the first of which is for new tickets.
func (t *tickets) keys() [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}
