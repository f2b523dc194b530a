package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

// origin is a server whose every connection is played by a function.
type origin struct {
	address  string
	listener net.Listener
	accepted atomic.Int64
	requests atomic.Int64
	wait     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// played is one connection of an origin.
type played struct {
	net.Conn
	in     *bufio.Reader
	number int64 // of the connection, from 1
	origin *origin
}

func newOrigin(t testing.TB, play func(c *played)) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{address: l.Addr().String(), listener: l}
	o.wait.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns = append(o.conns, nc)
			o.mu.Unlock()
			c := &played{nc, bufio.NewReader(nc), o.accepted.Add(1), o}
			o.wait.Go(func() { defer nc.Close(); play(c) })
		}
	})
	t.Cleanup(o.close)
	return o
}

// close ends the origin and all its connections.
func (o *origin) close() {
	_ = o.listener.Close()
	o.mu.Lock()
	for _, c := range o.conns {
		_ = c.Close()
	}
	o.mu.Unlock()
	o.wait.Wait()
}

// request reads a whole request, with net/http as the other opinion.
func (c *played) request() (*http.Request, string, bool) {
	r, err := http.ReadRequest(c.in)
	if err != nil {
		return nil, "", false
	}
	body, err := io.ReadAll(r.Body)
	c.origin.requests.Add(1)
	return r, string(body), err == nil
}

func (c *played) answer(status int, body string) {
	_, _ = io.WriteString(c, "HTTP/1.1 "+strconv.Itoa(status)+" X\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
}

// echo answers every request with what it was: method, host and body.
func echo(c *played) {
	for {
		r, body, ok := c.request()
		if !ok {
			return
		}
		c.answer(200, r.Method+" "+r.Host+" "+body)
	}
}

// refusing is an address at which nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) }) // Until then the port is nobody else's.
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

// wire is a client that never says anything.
type wire struct {
	gone atomic.Bool
	mu   sync.Mutex
	on   message.Canceler
	// awaited gets a value for each Await, if it is there.
	awaited chan struct{}
}

func (w *wire) Respond(*message.Exchange) error { return nil }
func (w *wire) Started() bool                   { return false }
func (w *wire) Abort()                          {}
func (w *wire) Inform(int, *message.Header)     {}
func (w *wire) LendBody()                       {}
func (w *wire) StopBody()                       {}
func (w *wire) ReturnBody()                     {}
func (w *wire) Gone() bool                      { return w.gone.Load() }
func (w *wire) BytesIn() int64                  { return 0 }
func (w *wire) BytesOut() int64                 { return 0 }
func (w *wire) Arrived()                        { w.mu.Lock(); w.on = nil; w.mu.Unlock() }
func (w *wire) Await(c message.Canceler) {
	w.mu.Lock()
	w.on = c
	if w.gone.Load() {
		c.Cancel()
	}
	w.mu.Unlock()
	if w.awaited != nil {
		w.awaited <- struct{}{}
	}
}

// hangUp is what the patrol does when a client has gone.
func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone.Store(true)
	if w.on != nil {
		w.on.Cancel()
	}
}

// exchange returns a request that has just arrived.
func exchange(w *wire, method string, body message.Body) *message.Exchange {
	x := &message.Exchange{}
	x.Begin(w)
	x.Times.Started = time.Now()
	x.Request.Method, x.Request.Path, x.Request.Authority, x.Request.Body = method, "/", "example.com", body
	x.Response.Length = -1
	return x
}

// streaming is a body that cannot be replayed.
type streaming struct {
	chunks []string
	read   int
	panics bool
	length int64 // 0: not known
	err    error // at the end, in place of io.EOF
}

func (b *streaming) Next() ([]byte, error) {
	if b.panics {
		panic("a wrapper's mistake")
	}
	if b.read == len(b.chunks) {
		if b.err != nil {
			return nil, b.err
		}
		return nil, io.EOF
	}
	b.read++
	return []byte(b.chunks[b.read-1]), nil
}
func (b *streaming) Length() int64 {
	if b.length == 0 {
		return -1
	}
	return b.length
}
func (b *streaming) Trailer() *message.Header { return nil }
func (b *streaming) Close() error             { return nil }

// ready is a streaming body that says that it would not block.
type ready struct{ streaming }

func (b *ready) Ready() bool { return true }

// counts are the metrics of an upstream.
type counts struct {
	answered, unanswered, retried, connected, failed atomic.Int64
	good, bad, ejected, opened, refused              atomic.Int64
	hedgeWon, hedgeLost, hedgeRefused, retryRefused  atomic.Int64
}

func (c *counts) Answered(uint32, int, time.Duration) { c.answered.Add(1) }
func (c *counts) Unanswered(uint32)                   { c.unanswered.Add(1) }
func (c *counts) Retried(uint32)                      { c.retried.Add(1) }
func (c *counts) RetryRefused(uint32)                 { c.retryRefused.Add(1) }
func (c *counts) HedgeWon(uint32)                     { c.hedgeWon.Add(1) }
func (c *counts) HedgeLost(uint32)                    { c.hedgeLost.Add(1) }
func (c *counts) HedgeRefused(uint32)                 { c.hedgeRefused.Add(1) }
func (c *counts) Connected(uint32, time.Duration)     { c.connected.Add(1) }
func (c *counts) ConnectFailed(uint32)                { c.failed.Add(1) }
func (c *counts) Watch(bool, bool, bool)              {}
func (c *counts) Checked(good bool) {
	if good {
		c.good.Add(1)
	} else {
		c.bad.Add(1)
	}
}
func (c *counts) Ejected(string)              { c.ejected.Add(1) }
func (c *counts) BreakerOpened(bool)          { c.opened.Add(1) }
func (c *counts) BreakerRefused(uint32, bool) { c.refused.Add(1) }

func to(addresses ...string) Config {
	c := Config{Name: "orders"}
	for _, a := range addresses {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: a})
	}
	return c
}

func newUpstream(t testing.TB, c Config) (*Upstream, *counts) {
	t.Helper()
	n := &counts{}
	u := New(c, n, nil)
	t.Cleanup(func() { _ = u.Close() })
	return u, n
}

// ask sends a request of the exchange and reads the answer to its end.
func ask(u *Upstream, x *message.Exchange) (status int, body string, err error) {
	if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
		return 0, "", err
	}
	defer x.Response.CloseBody()
	if x.Response.Body == nil {
		return x.Response.Status, "", nil
	}
	all, err := message.ReadAll(x.Response.Body, 1<<20)
	return x.Response.Status, string(all), err
}

// mustAsk is ask for tests in which the origin answers.
func mustAsk(t testing.TB, u *Upstream, x *message.Exchange) string {
	t.Helper()
	status, body, err := ask(u, x)
	if err != nil || status != 200 {
		t.Fatalf("%d %q, %v", status, body, err)
	}
	return body
}

// atRest fails the test if something of an endpoint is still in use.
func atRest(t testing.TB, u *Upstream) {
	t.Helper()
	for _, e := range u.Endpoints() {
		if open, idle := e.Connections(); open != idle || e.Active() != 0 {
			t.Errorf("%s: %d open, %d idle, %d active", e.Address(), open, idle, e.Active())
		}
	}
}

// again are the settings of retries that are within any budget.
func again(attempts int, on ...string) Retry {
	conditions, err := retry.Compile(on)
	if err != nil {
		panic(err)
	}
	return Retry{Attempts: attempts, On: conditions, Budget: retry.BudgetConfig{Share: 1, Minimum: 1000}}
}
