package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// begin asks for a head and leaves the body, so that the connection is in use.
func begin(t testing.TB, u *Upstream) *message.Exchange {
	t.Helper()
	x := exchange(&wire{}, "GET", nil)
	if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
		t.Fatal(err)
	}
	return x
}

// finish reads what begin has left.
func finish(t testing.TB, x *message.Exchange) {
	t.Helper()
	if _, err := message.ReadAll(x.Response.Body, 1<<20); err != nil {
		t.Error(err)
	}
	x.Response.CloseBody()
}

func limited(address string, most int) Config {
	c := to(address)
	c.MaxConnections, c.ConnectTimeout = most, time.Hour
	return c
}

// waiting returns once n exchanges wait for a connection.
func waiting(e *Endpoint, n int) {
	for {
		e.pool.mu.Lock()
		got := len(e.pool.waiters)
		e.pool.mu.Unlock()
		if got == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestWaitForAConnection has more exchanges than connections: each waits for its
// turn, in the order in which they came.
func TestWaitForAConnection(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, n := newUpstream(t, limited(o.address, 1))
	first := begin(t, u)
	order := make(chan int, 3)
	var wait sync.WaitGroup
	for i := range 3 {
		wait.Go(func() {
			x := begin(t, u)
			if x.Times.Connected <= 0 {
				t.Error("the wait is not part of the time that a connection took")
			}
			order <- i
			finish(t, x)
		})
		waiting(u.Endpoints()[0], i+1)
	}
	finish(t, first)
	wait.Wait()
	for i := range 3 {
		if got := <-order; got != i {
			t.Errorf("number %d came at place %d", got, i)
		}
	}
	if o.accepted.Load() != 1 || n.connected.Load() != 1 {
		t.Errorf("%d connections", o.accepted.Load())
	}
	atRest(t, u)
}

// TestWaitForRoom is a connection that dies in use: who waits gets its room.
func TestWaitForRoom(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, _ := newUpstream(t, limited(o.address, 1))
	first := begin(t, u)
	done := make(chan struct{})
	go func() {
		finish(t, begin(t, u))
		close(done)
	}()
	waiting(u.Endpoints()[0], 1)
	first.Response.CloseBody() // With bytes unread: this ends the connection.
	<-done
	if o.accepted.Load() != 2 {
		t.Errorf("%d connections", o.accepted.Load())
	}
	atRest(t, u)
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	slow := func(c *played) { // Never completes a body.
		_, _, _ = c.request()
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"))
		_, _ = c.in.ReadByte()
	}
	t.Run("time is up", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t, slow)
		c := limited(o.address, 1)
		c.ConnectTimeout = 200 * time.Millisecond
		u, _ := newUpstream(t, c)
		first := begin(t, u)
		_, _, err := ask(u, exchange(&wire{}, "GET", nil))
		if !errors.Is(err, message.UpstreamBusy) {
			t.Error(err)
		}
		first.Response.CloseBody()
		atRest(t, u)
	})
	t.Run("client gone", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t, slow)
		u, _ := newUpstream(t, limited(o.address, 1))
		first := begin(t, u)
		w := &wire{}
		result := make(chan error)
		go func() {
			_, _, err := ask(u, exchange(w, "GET", nil))
			result <- err
		}()
		waiting(u.Endpoints()[0], 1)
		w.hangUp()
		if err := <-result; !errors.Is(err, message.ClientGone) {
			t.Error(err)
		}
		waiting(u.Endpoints()[0], 0)
		first.Response.CloseBody()
		atRest(t, u)
	})
}

// TestGoneAtItsTurn is a client that has hung up when its turn comes: it must not
// begin a wait that nobody would end, and must pass on what it got.
func TestGoneAtItsTurn(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, _ := newUpstream(t, limited(o.address, 1))
	p := &u.Endpoints()[0].pool
	first := begin(t, u)
	finish(t, first)
	w := &wire{}
	w.gone.Store(true)
	c := p.idle[0]
	p.idle = nil
	if got, failure := p.afterWait(exchange(w, "GET", nil), c, false, true); got != nil || failure.Problem != message.ClientGone {
		t.Errorf("%v, %v", got, failure)
	}
	atRest(t, u)
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	if got, failure := p.afterWait(exchange(w, "GET", nil), nil, false, true); got != nil || failure.Problem != message.ClientGone {
		t.Errorf("%v, %v", got, failure)
	}
	atRest(t, u)
	if _, failure := p.take(exchange(w, "GET", nil), true); failure == nil || failure.Problem != message.ClientGone {
		t.Errorf("a connection was opened for nobody: %v", failure)
	}
	atRest(t, u)
}

// TestFreshMakesRoom is a request that needs a new connection where no room is left
// but idle ones are there.
func TestFreshMakesRoom(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, _ := newUpstream(t, limited(o.address, 2))
	a, b := begin(t, u), begin(t, u)
	finish(t, a)
	finish(t, b)
	p := &u.Endpoints()[0].pool
	c, failure := p.take(exchange(&wire{}, "GET", nil), true)
	if failure != nil || c.Used() != 0 {
		t.Fatalf("%v", failure)
	}
	if open, idle := p.size(); open != 2 || idle != 1 {
		t.Errorf("%d open, %d idle", open, idle)
	}
	// What is handed over to somebody who needs a new one is replaced.
	used := p.idle[0]
	p.idle = nil
	fresh, failure := p.afterWait(exchange(&wire{}, "GET", nil), used, true, false)
	if failure != nil || fresh == used || fresh.Used() != 0 {
		t.Errorf("got a used connection: %v", failure)
	}
	p.giveBack(c)
	p.giveBack(fresh)
	atRest(t, u)
}

// TestMaxIdle closes what comes back beyond the limit.
func TestMaxIdle(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.MaxIdle = 2
	u, _ := newUpstream(t, c)
	var all []*message.Exchange
	for range 5 {
		all = append(all, begin(t, u))
	}
	if open, idle := u.Endpoints()[0].Connections(); open != 5 || idle != 0 || u.Endpoints()[0].Active() != 5 {
		t.Errorf("%d open, %d idle", open, idle)
	}
	for _, x := range all {
		finish(t, x)
	}
	if open, idle := u.Endpoints()[0].Connections(); open != 2 || idle != 2 {
		t.Errorf("%d open, %d idle", open, idle)
	}
	atRest(t, u)
}

// TestClose is a reload that takes an upstream away while exchanges use it: they come
// to their end, and then nothing stays open.
func TestClose(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, _ := newUpstream(t, to(o.address))
	a, b := begin(t, u), begin(t, u)
	finish(t, a)
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if open, idle := u.Endpoints()[0].Connections(); open != 1 || idle != 0 {
		t.Errorf("%d open, %d idle after Close", open, idle)
	}
	finish(t, b)
	if open, _ := u.Endpoints()[0].Connections(); open != 0 {
		t.Errorf("%d open after the last exchange", open)
	}
	mustAsk(t, u, exchange(&wire{}, "GET", nil)) // One that still holds the snapshot may ask.
	if open, _ := u.Endpoints()[0].Connections(); open != 0 {
		t.Errorf("%d open: a closed pool keeps connections", open)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if u.Endpoints()[0].pool.sweeping() {
		t.Error("the sweeper goes on")
	}
}

// sweeping says whether a sweep is to come.
func (p *pool) sweeping() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sweeper != nil && p.sweeper.Stop()
}

func TestSweep(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.IdleTimeout = time.Hour
	u, _ := newUpstream(t, c)
	a, b := begin(t, u), begin(t, u)
	finish(t, a)
	finish(t, b)
	p := &u.Endpoints()[0].pool
	o.mu.Lock()
	_ = o.conns[0].Close()
	o.mu.Unlock()
	for p.idle[0].Quiet() && p.idle[1].Quiet() {
	}
	p.sweep()
	if open, idle := p.size(); open != 1 || idle != 1 {
		t.Errorf("%d open, %d idle: one was closed by the origin", open, idle)
	}
	p.mu.Lock()
	p.upstream.config.IdleTimeout = 1 // All are too old now.
	p.mu.Unlock()
	p.sweep()
	if open, idle := p.size(); open != 0 || idle != 0 || p.sweeper != nil {
		t.Errorf("%d open, %d idle: nothing is young enough", open, idle)
	}
	p.mu.Lock()
	p.upstream.config.IdleTimeout = time.Hour
	p.mu.Unlock()
	mustAsk(t, u, exchange(&wire{}, "GET", nil))
	if !p.sweeping() {
		t.Error("the sweeper does not begin again")
	}
}

func TestConnectFailures(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, test := range map[string]struct {
		err  error
		gone bool
		want *message.Problem
	}{
		"refused":            {dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), false, message.UpstreamConnect},
		"unreachable":        {dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), false, message.UpstreamConnect},
		"no such host":       {dial(&net.DNSError{Err: "no such host", Name: "orders.example.com", IsNotFound: true}), false, message.UpstreamConnect},
		"slow name server":   {dial(&net.DNSError{Err: "i/o timeout", Name: "orders.example.com", IsTimeout: true}), false, message.UpstreamConnectTime},
		"timeout":            {dial(os.ErrDeadlineExceeded), false, message.UpstreamConnectTime},
		"deadline":           {context.DeadlineExceeded, false, message.UpstreamConnectTime},
		"kernel's timeout":   {dial(os.NewSyscallError("connect", syscall.ETIMEDOUT)), false, message.UpstreamConnectTime},
		"process is full":    {dial(os.NewSyscallError("socket", syscall.EMFILE)), false, message.OutOfDescriptors},
		"system is full":     {dial(os.NewSyscallError("socket", syscall.ENFILE)), false, message.OutOfDescriptors},
		"nobody waits":       {dial(context.Canceled), true, message.ClientGone},
		"nobody waits: late": {dial(os.ErrDeadlineExceeded), true, message.ClientGone},
	} {
		w := &wire{}
		w.gone.Store(test.gone)
		f := connectFailure(exchange(w, "GET", nil), test.err)
		if f.Problem != test.want || f.Sent || f.Answered || !errors.Is(f.Cause, test.err) {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// TestCrowd lets many ask at once over few connections, with an origin that closes
// some of them in between, and counts at the end.
func TestCrowd(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, func(c *played) {
		for i := int64(0); ; i++ {
			r, body, ok := c.request()
			if !ok || (i+c.number)%7 == 6 {
				return // Without a word: the others' requests are GETs and go again.
			}
			c.answer(200, r.Method+body)
		}
	})
	c := limited(o.address, 4)
	c.MaxIdle = 2
	c.Retry = again(2, "connect_failure")
	u, n := newUpstream(t, c)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for range 50 {
				x := exchange(&wire{}, "GET", nil)
				status, body, err := ask(u, x)
				// A fresh connection may be the one that is closed.
				if err != nil && !errors.Is(err, message.UpstreamClosed) || err == nil && (status != 200 || body != "GET") {
					t.Errorf("%d %q %v", status, body, err)
				}
			}
		})
	}
	wait.Wait()
	if n.answered.Load() < 700 {
		t.Errorf("only %d of 800 were answered", n.answered.Load())
	}
	atRest(t, u)
	if open, idle := u.Endpoints()[0].Connections(); open > 4 || idle > 2 {
		t.Errorf("%d open, %d idle", open, idle)
	}
}

// TestAllocations keeps the price of asking an origin: the head of the answer is
// copied once into one string.
func TestAllocations(t *testing.T) {
	o := newOrigin(t, func(c *played) { // Allocates nothing itself.
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(hello); err != nil {
				return
			}
		}
	})
	u, _ := newUpstream(t, to(o.address))
	w := &wire{}
	x := exchange(w, "GET", nil)
	run := func() {
		x.Facts.Tries, x.Times.Connected = 0, 0
		if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := x.Response.Body.Next(); err != nil {
				break
			}
		}
		x.Response.CloseBody()
		x.Response.Reset()
	}
	run()
	if n := testing.AllocsPerRun(200, run); n > 1 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

var hello = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
