package engine

import (
	"sync"

	"github.com/sluice-gateway/sluice/message"
)

// tunnels are the exchanges that have become tunnels.
type tunnels struct {
	mu  sync.Mutex
	all map[*postponed]struct{}
}

// postponed is what is still to be done when a tunnel has ended. It implements message.Finisher.
type postponed struct {
	passage
	leaver          message.Leaver
	route, upstream string
}

// postpone leaves the end of an exchange to the wire, which calls Finish when the tunnel has ended. It
// allocates: a tunnel is rare and lives long.
func (p *passage) postpone() {
	x := p.x
	rest := &postponed{passage: *p, leaver: x.Leaver(), route: x.Facts.Route, upstream: x.Facts.Upstream}
	t := &p.engine.tunnels
	t.mu.Lock()
	if t.all == nil {
		t.all = map[*postponed]struct{}{}
	}
	t.all[rest] = struct{}{}
	t.mu.Unlock()
	x.Postpone(rest)
	p.postponed = true
}

// Finish implements message.Finisher.
func (p *postponed) Finish() {
	t := &p.engine.tunnels
	t.mu.Lock()
	delete(t.all, p)
	t.mu.Unlock()
	defer p.leave()
	p.done()
}

// LeaveTunnels tells those WebSockets to go away of which gone says that their route or upstream is not wanted
// any more. It may be called at any time, and does not wait.
func (e *Engine) LeaveTunnels(gone func(route, upstream string) bool) {
	var leave []message.Leaver
	t := &e.tunnels
	t.mu.Lock()
	for p := range t.all {
		if p.leaver != nil && gone(p.route, p.upstream) {
			leave = append(leave, p.leaver)
		}
	}
	t.mu.Unlock()
	for _, l := range leave {
		l.Leave()
	}
}
