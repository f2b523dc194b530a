// Package keep holds what survives a reload: counters, caches, pools, and how far a
// roll-out has come. Packages policy and target hand it to their authors.
package keep

import (
	"errors"
	"io"
	"sync"
)

// Keeper holds what survives a reload. One lives as long as the process; the
// compiler gives each policy and each target that it builds a Lease.
type Keeper struct {
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	key    string
	value  io.Closer
	users  int
	before *kept // what stood under the key, of another type
}

// New returns an empty keeper.
func New() *Keeper { return &Keeper{kept: map[string]*kept{}} }

// Len is the number of things that are kept.
func (k *Keeper) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.kept)
}

// Lease is what one policy or target in one snapshot holds.
type Lease struct {
	keeper *Keeper
	held   []*kept
}

// Lease starts an empty lease.
func (k *Keeper) Lease() *Lease { return &Lease{keeper: k} }

// Open returns what is kept under a key, if it is a T, and opens it if there is none.
// It is closed when no lease holds it any more. One goroutine at a time opens under a
// key.
func Open[T io.Closer](l *Lease, key string, open func() (T, error)) (T, error) {
	fits := func(v io.Closer) bool { _, ok := v.(T); return ok }
	if v, ok := l.takeOld(key, fits); ok {
		return v.(T), nil
	}
	t, err := open() // No lock is held: it may take its time, and keep something itself.
	if err != nil {
		var none T
		return none, err
	}
	l.put(key, t)
	return t, nil
}

// takeOld takes what is kept under a key, if it fits.
func (l *Lease) takeOld(key string, fits func(io.Closer) bool) (io.Closer, bool) {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	current := k.kept[key]
	if current == nil || !fits(current.value) {
		return nil, false
	}
	current.users++
	l.held = append(l.held, current)
	return current.value, true
}

// put keeps a new value. What stood under the key before stays with those that
// hold it.
func (l *Lease) put(key string, value io.Closer) {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &kept{key: key, value: value, users: 1, before: k.kept[key]}
	k.kept[key] = e
	l.held = append(l.held, e)
}

// Empty says that nothing is held: there is nothing to give back.
func (l *Lease) Empty() bool { return len(l.held) == 0 }

// remove forgets what nobody holds any more. Where it had replaced something that
// is still held, that stands there again: the configuration that wanted the new
// one was refused.
func (k *Keeper) remove(e *kept) {
	last := k.kept[e.key]
	if last == e {
		if e.before == nil {
			delete(k.kept, e.key)
		} else {
			k.kept[e.key] = e.before
		}
		return
	}
	for ; last != nil; last = last.before {
		if last.before == e {
			last.before = e.before
			return
		}
	}
}

// Close gives everything back and closes what nobody else holds.
func (l *Lease) Close() error {
	k := l.keeper
	var idle []io.Closer
	k.mu.Lock()
	for _, e := range l.held {
		if e.users--; e.users > 0 {
			continue
		}
		idle = append(idle, e.value)
		k.remove(e)
	}
	l.held = nil
	k.mu.Unlock()
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
