package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

const (
	errTooManyFiles       = syscall.EMFILE
	errTooManyFilesSystem = syscall.ENFILE
)

// pool keeps the connections of one endpoint. The one that was used last is used
// next: so few stay busy, and the others grow old and are closed.
type pool struct {
	upstream *Upstream
	endpoint *Endpoint

	mu      sync.Mutex
	idle    []*http1.ClientConn // the last one was used last
	open    int                 // idle, in use and being opened
	waiters []chan *http1.ClientConn
	sweeper *time.Timer
	closed  bool
}

func (p *pool) init(u *Upstream, e *Endpoint) { p.upstream, p.endpoint = u, e }

func (p *pool) size() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, len(p.idle)
}

// take returns an idle connection, or a new one; fresh asks for a new one. Where
// the limit is reached it waits for one to come back, no longer than opening one
// may take.
func (p *pool) take(x *message.Exchange, fresh bool) (*http1.ClientConn, *http1.Failure) {
	p.mu.Lock()
	if i := p.usable(x); i >= 0 && !fresh {
		c := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		p.mu.Unlock()
		return c, nil
	}
	if p.open < p.upstream.config.MaxConnections {
		p.open++
		p.mu.Unlock()
		return p.dial(x)
	}
	if n := len(p.idle); n > 0 { // With fresh, or of other clients: an old one makes room.
		old := p.idle[0]
		p.idle = append(p.idle[:0], p.idle[1:]...)
		p.mu.Unlock()
		old.Close()
		return p.dial(x)
	}
	return p.wait(x, fresh) // unlocks
}

// wait is entered with the lock held and releases it.
func (p *pool) wait(x *message.Exchange, fresh bool) (*http1.ClientConn, *http1.Failure) {
	began := time.Now()
	turn := make(chan *http1.ClientConn, 1)
	p.waiters = append(p.waiters, turn)
	p.mu.Unlock()
	ctx, cancel := patience(x, p.upstream.config.ConnectTimeout)
	defer cancel()
	x.Wire().Await(cancelFunc(cancel))
	var c *http1.ClientConn
	served := true
	select {
	case c = <-turn:
	case <-ctx.Done():
		if served = !p.leave(turn); served { // Somebody was just about to hand one over.
			c = <-turn
		}
	}
	x.Wire().Arrived()
	x.Times.Connected += time.Since(began)
	if served {
		return p.afterWait(x, c, fresh, x.Wire().Gone())
	}
	return nil, waitedInVain(x, message.UpstreamBusy)
}

// afterWait uses what was handed over: a connection, or the room for a new one.
// Whose client has gone passes it on: nobody would end its wait for the origin.
func (p *pool) afterWait(x *message.Exchange, c *http1.ClientConn, fresh, gone bool) (*http1.ClientConn, *http1.Failure) {
	switch {
	case gone && c != nil:
		p.giveBack(c)
		return nil, &http1.Failure{Problem: message.ClientGone}
	case gone:
		p.forget()
		return nil, &http1.Failure{Problem: message.ClientGone}
	case c != nil && !fresh && p.fits(c, x):
		return c, nil
	case c != nil:
		c.Close()
	}
	return p.dial(x)
}

// leave takes a waiter out of the queue and says whether it was still there.
func (p *pool) leave(turn chan *http1.ClientConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiters {
		if w == turn {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return true
		}
	}
	return false
}

// cancelFunc makes a context's cancel a message.Canceler.
type cancelFunc context.CancelFunc

func (f cancelFunc) Cancel() { f() }

// dial opens a connection; open counts it already.
func (p *pool) dial(x *message.Exchange) (*http1.ClientConn, *http1.Failure) {
	// Who asks an endpoint that speaks HTTP/2 for such a connection wants no other.
	nc, ends, failure := p.connect(x, p.endpoint.spoken() != spokenHTTP1)
	if failure == nil && p.endpoint.h2 != nil && negotiated(nc) == spokenHTTP2 {
		p.endpoint.h2.adopt(nc)
		failure = otherProtocol
	}
	if failure != nil {
		p.forget()
		return nil, failure
	}
	c := http1.NewClientConn(nc, &p.upstream.config.Limits, p.endpoint)
	c.For = ends
	return c, nil
}

// connect opens a socket, ready for the first request. It has the time that opening a
// connection may take, TLS included.
func (p *pool) connect(x *message.Exchange, onlyHTTP1 bool) (net.Conn, *proxyprotocol.Ends, *http1.Failure) {
	config, metrics := &p.upstream.config, p.upstream.metrics
	ctx, cancel := patience(x, config.ConnectTimeout)
	defer cancel()
	began := time.Now()
	nc, err := p.socket(ctx, cancel, x)
	var ends *proxyprotocol.Ends
	if err == nil && !x.Wire().Gone() {
		ends, err = p.introduce(nc, x)
	}
	if err == nil && !x.Wire().Gone() {
		nc, err = p.protect(ctx, cancel, nc, x, onlyHTTP1)
	}
	took := time.Since(began)
	x.Times.Connected += took
	if err == nil && !x.Wire().Gone() {
		metrics.Connected(x.Shard, took)
		return nc, ends, nil
	}
	if nc != nil {
		_ = nc.Close()
	}
	failure := connectFailure(x, err)
	if failure.Problem != message.ClientGone {
		metrics.ConnectFailed(x.Shard)
	}
	return nil, nil, failure
}

func (p *pool) socket(ctx context.Context, cancel context.CancelFunc, x *message.Exchange) (net.Conn, error) {
	x.Wire().Await(cancelFunc(cancel))
	defer x.Wire().Arrived()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", p.endpoint.address)
}

func connectFailure(x *message.Exchange, err error) *http1.Failure {
	f := &http1.Failure{Problem: message.UpstreamConnect, Cause: err}
	var ne net.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case x.Wire().Gone():
		f.Problem = message.ClientGone
	case outOfDescriptors(err):
		f.Problem = message.OutOfDescriptors
	case errors.As(err, &untrusted):
		f.Problem = message.UpstreamUntrusted
	case nothingAgreed(err):
		f.Problem = errNotOffered
	case x.Expired():
		f.Problem = message.DeadlineExceeded
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		f.Problem = message.UpstreamConnectTime
	}
	return f
}

// giveBack takes a connection that can be used again.
func (p *pool) giveBack(c *http1.ClientConn) {
	p.mu.Lock()
	if len(p.waiters) > 0 {
		p.nextWaiter() <- c
		p.mu.Unlock()
		return
	}
	if p.closed || len(p.idle) >= p.upstream.config.MaxIdle {
		p.open--
		c = p.displace(c)
		p.mu.Unlock()
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.upstream.config.IdleTimeout, p.sweep)
	}
	p.mu.Unlock()
}

// forget gives up the room of a connection that is closed.
func (p *pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) > 0 {
		p.nextWaiter() <- nil // The room is theirs.
		return
	}
	p.open--
}

// nextWaiter takes the one that has waited longest. Its channel has room for one.
func (p *pool) nextWaiter() chan *http1.ClientConn {
	w := p.waiters[0]
	p.waiters = append(p.waiters[:0], p.waiters[1:]...)
	return w
}

// sweep closes what was idle for too long or was closed by the origin meanwhile.
func (p *pool) sweep() {
	p.mu.Lock()
	var old []*http1.ClientConn
	kept := p.idle[:0]
	for _, c := range p.idle {
		if c.IdleSince() >= p.upstream.config.IdleTimeout || !c.Quiet() {
			old = append(old, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.open -= len(old)
	if len(kept) > 0 && !p.closed {
		p.sweeper.Reset(p.upstream.config.IdleTimeout / 2)
	} else {
		p.sweeper = nil
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// close closes what is idle and lets nothing become idle any more.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.open -= len(idle)
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// outOfDescriptors says that the process or the system has none left.
func outOfDescriptors(err error) bool {
	return errors.Is(err, errTooManyFiles) || errors.Is(err, errTooManyFilesSystem)
}
