package http1

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// patrol knows all connections of a server. While there are any it walks past
// them from time to time and looks whether a client has hung up on an exchange
// that has been waiting for its origin: that is cheaper than a goroutine that
// watches each request.
type patrol struct {
	mu    sync.Mutex
	first *serverConn
	count int
	stop  chan struct{}
	round atomic.Uint32
}

// patrolEvery is the time between two rounds: a hang-up is noticed after one to
// two of them.
const patrolEvery = 250 * time.Millisecond

func (p *patrol) add(c *serverConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.next = p.first
	if p.first != nil {
		p.first.prev = c
	}
	p.first = c
	if p.count++; p.count == 1 {
		p.stop = make(chan struct{})
		go p.walk(p.stop)
	}
}

func (p *patrol) remove(c *serverConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	if p.count--; p.count == 0 {
		close(p.stop)
	}
}

func (p *patrol) each(do func(*serverConn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := p.first; c != nil; c = c.next {
		do(c)
	}
}

func (p *patrol) walk(stop chan struct{}) {
	ticker := time.NewTicker(patrolEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			round := p.round.Add(1)
			p.each(func(c *serverConn) { c.waiting.look(c, round) })
		}
	}
}

// waiting is what an exchange waits for. since is 0 while it waits for nothing;
// the lock makes sure that what it waited for is not touched afterwards.
type waiting struct {
	since atomic.Uint32 // the round in which the wait began, plus one
	mu    sync.Mutex
	on    message.Canceler
	gone  atomic.Bool
}

func (w *waiting) look(c *serverConn, round uint32) {
	since := w.since.Load()
	if since == 0 || round-(since-1) < 2 || w.gone.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on != nil && c.stream.sock.peerGone() {
		w.gone.Store(true)
		w.on.Cancel()
	}
}

// Await implements message.Wire.
func (c *serverConn) Await(on message.Canceler) {
	w := &c.waiting
	w.mu.Lock()
	w.on = on
	w.mu.Unlock()
	if w.gone.Load() { // The patrol does not come again; and it is we who call Arrived.
		on.Cancel()
		return
	}
	w.since.Store(c.server.patrol.round.Load() + 1)
}

// Arrived implements message.Wire.
func (c *serverConn) Arrived() {
	w := &c.waiting
	w.since.Store(0)
	w.mu.Lock()
	w.on = nil
	w.mu.Unlock()
}

// Gone implements message.Wire.
func (c *serverConn) Gone() bool { return c.waiting.gone.Load() }
