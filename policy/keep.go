package policy

import (
	"errors"
	"io"
	"sync"
)

// Keeper holds what survives a reload. One lives as long as the process; the
// compiler gives each policy that it builds a Lease.
type Keeper struct {
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	key   string
	value io.Closer
	users int
}

// NewKeeper returns an empty keeper.
func NewKeeper() *Keeper { return &Keeper{kept: map[string]*kept{}} }

// Len is the number of things that are kept.
func (k *Keeper) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.kept)
}

// Lease is what one policy in one snapshot holds.
type Lease struct {
	keeper *Keeper
	held   []*kept
}

// Lease starts an empty lease.
func (k *Keeper) Lease() *Lease { return &Lease{keeper: k} }

func (l *Lease) take(key string, open func(old io.Closer) (io.Closer, error)) (io.Closer, error) {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	var old io.Closer
	current := k.kept[key]
	if current != nil {
		old = current.value
	}
	value, err := open(old)
	if err != nil {
		return nil, err
	}
	if current == nil || value != old {
		// What stood here before stays with those that hold it.
		current = &kept{key: key, value: value}
		k.kept[key] = current
	}
	current.users++
	l.held = append(l.held, current)
	return value, nil
}

// Empty says that nothing is held: there is nothing to give back.
func (l *Lease) Empty() bool { return len(l.held) == 0 }

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
		if k.kept[e.key] == e {
			delete(k.kept, e.key)
		}
	}
	l.held = nil
	k.mu.Unlock()
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
