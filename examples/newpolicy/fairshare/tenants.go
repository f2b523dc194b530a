package fairshare

import (
	"errors"
	"sync"
)

// tenants counts the requests that are under way. It is kept over a reload: requests
// that began before it end after it.
type tenants struct {
	mu   sync.Mutex
	open map[string]int // only those that have any
}

func newTenants() *tenants { return &tenants{open: map[string]int{}} }

var errTooMany = errors.New("fairshare: more tenants than can be counted")

// enter counts a request and says whether it may go on. The name is copied into the
// table only while the tenant has requests under way.
func (t *tenants) enter(name string, limit, most int) (ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := t.open[name]
	switch {
	case open >= limit:
		return false, nil
	case open == 0 && len(t.open) >= most:
		return false, errTooMany
	}
	t.open[name] = open + 1
	return true, nil
}

func (t *tenants) leave(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[name]--; t.open[name] == 0 {
		delete(t.open, name)
	}
}

// Close is called when no snapshot uses the counts any more.
func (t *tenants) Close() error { return nil }
