package listen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	intime "github.com/sluice-gateway/sluice/internal/attempt"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// site answers with the name of the listener; /slow waits until it is told to go on.
type site struct {
	begun chan struct{}
	goOn  chan struct{}
}

func newSite() *site { return &site{make(chan struct{}, 10), make(chan struct{})} }

func (s *site) Serve(x *message.Exchange) {
	x.Response.Status = 200
	if p := x.Problem(); p != nil {
		x.Response.Status = p.Status
	}
	if x.Request.RawPath == "/slow" {
		s.begun <- struct{}{}
		<-s.goOn
	}
	x.Response.SetBody([]byte(x.Client.Listener))
	_ = x.Wire().Respond(x)
	x.Times.Done = time.Since(x.Times.Started)
}

// counts are the metrics of all listeners.
type counts struct{ open, opened, refused, failed atomic.Int64 }

func (c *counts) Opened(uint32)    { c.open.Add(1); c.opened.Add(1) }
func (c *counts) Closed(uint32)    { c.open.Add(-1) }
func (c *counts) Refused()         { c.refused.Add(1) }
func (c *counts) HandshakeFailed() { c.failed.Add(1) }

func (c *counts) ProxyProtocolRefused(string) { c.refused.Add(1) }

// rig is a set with its site.
type rig struct {
	*Set
	t       testing.TB
	site    *site
	metrics *counts
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, site: newSite(), metrics: &counts{}}
	r.Set = NewSet(r.site, func(string) Metrics { return r.metrics }, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.Shutdown(ctx)
	})
	return r
}

// apply puts a list of listeners in force.
func (r *rig) apply(specs ...Spec) {
	r.t.Helper()
	c, err := r.Prepare(specs)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Commit()
}

// free is an address at which nobody listens: one of the millions of the loopback network that
// nobody else uses, at a port that the kernel gives to no connection.
func free(testing.TB) string {
	n := rand.Uint32()
	return fmt.Sprintf("127.%d.%d.%d:%d", 1+n>>24%250, n>>16&255, 1+n>>8&255%250, 10_000+n&255)
}

// client is one connection.
type client struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{nc, t, bufio.NewReader(nc)}
}

func (c *client) send(path string, fields ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: example.com\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n"); err != nil {
		c.t.Error(err)
	}
}

// answer reads an answer; closed is what the other side says of the connection.
func (c *client) answer() (status int, body string, closed bool) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Error(err)
		return 0, "", true
	}
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	return resp.StatusCode, string(all), resp.Close
}

func (c *client) ask(path string, fields ...string) (status int, body string, closed bool) {
	c.t.Helper()
	c.send(path, fields...)
	return c.answer()
}

// ended fails the test unless the connection ends without a further byte.
func (c *client) ended() {
	c.t.Helper()
	if b, err := c.in.ReadByte(); err == nil || errors.Is(err, net.ErrClosed) {
		c.t.Errorf("the connection goes on with %q: %v", b, err)
	}
}

// until waits for something that happens elsewhere.
func until(done func() bool) {
	for !done() {
		time.Sleep(time.Millisecond)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := free(t), free(t)
	r.apply(Spec{Name: "web", Address: a}, Spec{Name: "inner", Address: b})
	for address, name := range map[string]string{a: "web", b: "inner"} {
		c := dial(t, address)
		for range 2 {
			if status, body, closed := c.ask("/"); status != 200 || body != name || closed {
				t.Errorf("%d %q", status, body)
			}
		}
	}
	status := r.Status()
	if len(status) != 2 || status[0] != (Status{"web", a, 1}) || status[1] != (Status{"inner", b, 1}) {
		t.Errorf("%+v", status)
	}
	if r.metrics.open.Load() != 2 || r.metrics.opened.Load() != 2 {
		t.Errorf("%d of %d connections are open", r.metrics.open.Load(), r.metrics.opened.Load())
	}
}

// TestConnectionLimit turns away who comes when the listener is full. The refusal is
// to be read also by a client that has sent a long request before.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	address := free(t)
	r.apply(Spec{Name: "web", Address: address, MaxConnections: 1})
	first := dial(t, address)
	first.ask("/")
	const refused = 20
	for i := range refused {
		c := dial(t, address)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("x", 20000))
		}
		status, body, closed := c.answer()
		if status != 503 || !closed || !strings.Contains(body, `"code":"too_many_connections"`) {
			t.Errorf("%d %s, closed %t", status, body, closed)
		}
		if _, err := c.in.ReadByte(); err != io.EOF { // A reset may overtake the answer.
			t.Errorf("the refusal ends with %v", err)
		}
		for range 3 { // Somebody still takes what is on its way.
			if _, err := io.WriteString(c, "more"); err != nil {
				t.Errorf("the connection was reset: %v", err)
			}
		}
		_ = c.Close()
	}
	if r.metrics.refused.Load() != refused || r.metrics.opened.Load() != 1 {
		t.Errorf("%d refused, %d opened", r.metrics.refused.Load(), r.metrics.opened.Load())
	}
	_ = first.Close()
	until(func() bool { return r.Status()[0].Connections == 0 })
	if status, _, _ := dial(t, address).ask("/"); status != 200 {
		t.Errorf("%d although there is room", status)
	}
	until(func() bool { return r.refusals.open.Load() == 0 })
}

// TestFloodOfRefusals does not wait for anybody once too many are refused at once.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	var many refusals
	many.open.Store(maxRefusals)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs := dial(t, l.Addr().String())
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	many.refuse(ours)
	answer, err := io.ReadAll(theirs)
	if err != nil || !bytes.Equal(answer, refusal) {
		t.Errorf("%q, %v", answer, err)
	}
	if n := many.open.Load(); n != maxRefusals {
		t.Errorf("%d refusals are counted", n)
	}
}

// TestPrepareIsAllOrNothing has one address that is taken.
func TestPrepareIsAllOrNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := free(t), free(t)
	r.apply(Spec{Name: "web", Address: a})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = r.Prepare([]Spec{
		{Name: "other", Address: a},
		{Name: "second", Address: b},
		{Name: "third", Address: taken.Addr().String()},
		{Name: "fourth", Address: "192.0.2.1:1"},
	})
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listener third") || !strings.Contains(err.Error(), "listener fourth") {
		t.Fatalf("%v", err)
	}
	if status := r.Status(); len(status) != 1 || status[0].Name != "web" {
		t.Errorf("%+v", status)
	}
	if status, body, _ := dial(t, a).ask("/"); status != 200 || body != "web" {
		t.Errorf("%d %q", status, body)
	}
	again, err := net.Listen("tcp", b)
	if err != nil {
		t.Fatalf("a socket was left open: %v", err)
	}
	_ = again.Close()

	// A change that is not wanted after all, for another reason.
	c, err := r.Prepare([]Spec{{Name: "other", Address: a}, {Name: "second", Address: b}})
	if err != nil {
		t.Fatal(err)
	}
	c.Rollback()
	if again, err = net.Listen("tcp", b); err != nil {
		t.Fatalf("a socket was left open: %v", err)
	}
	_ = again.Close()
	if status, body, _ := dial(t, a).ask("/"); status != 200 || body != "web" {
		t.Errorf("%d %q", status, body)
	}
}

// TestRename gives two sockets to each other's names. From then on every connection
// belongs to the new name, and old ones end with their exchange.
func TestRename(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := free(t), free(t)
	r.apply(Spec{Name: "one", Address: a}, Spec{Name: "two", Address: b})
	idle, busy := dial(t, a), dial(t, a)
	idle.ask("/")
	busy.send("/slow")
	<-r.site.begun
	r.apply(Spec{Name: "two", Address: a}, Spec{Name: "one", Address: b})
	idle.ended()
	for range 10 {
		if status, body, closed := dial(t, a).ask("/"); status != 200 || body != "two" || closed {
			t.Errorf("%d %q, closed %t", status, body, closed)
		}
	}
	close(r.site.goOn)
	if status, body, closed := busy.answer(); status != 200 || body != "one" || !closed {
		t.Errorf("%d %q, closed %t", status, body, closed)
	}
	// Back again, and to the end.
	r.apply(Spec{Name: "one", Address: a})
	if _, body, _ := dial(t, a).ask("/"); body != "one" {
		t.Errorf("%q", body)
	}
	if nc, err := net.Dial("tcp", b); err == nil {
		t.Error("a listener that was taken away accepts")
		_ = nc.Close()
	}
}

// TestChangedLimits apply to the connections that are there.
func TestChangedLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	spec := Spec{Name: "web", Address: free(t)}
	r.apply(spec)
	c := dial(t, spec.Address)
	if status, _, _ := c.ask("/", "A: 1", "B: 2"); status != 200 {
		t.Errorf("%d", status)
	}
	spec.Limits, spec.MaxConnections = http1.Limits{HeaderFields: 2}, 1
	r.apply(spec)
	// What waited for its next request when the limits changed may still serve that
	// with the old ones.
	c.ask("/")
	if status, _, closed := c.ask("/", "A: 1", "B: 2"); status != 431 || !closed {
		t.Errorf("%d, closed %t", status, closed)
	}
	_ = c.Close()
	until(func() bool { return r.Status()[0].Connections == 0 })
	first := dial(t, spec.Address)
	first.ask("/")
	if status, _, _ := dial(t, spec.Address).answer(); status != 503 {
		t.Errorf("%d although the new limit is 1", status)
	}
}

// TestShutdown lets an exchange end, closes what is idle, and still serves a
// connection that has asked for nothing yet.
func TestShutdown(t *testing.T) {
	t.Parallel()
	intime.Run(t, time.Second, func(t *intime.T) { shutDown(t) }) // A first request has that long.
}

func shutDown(t testing.TB) {
	r := newRig(t)
	a, b := free(t), free(t)
	r.apply(Spec{Name: "web", Address: a}, Spec{Name: "old", Address: b})
	busy, idle, fresh, removed := dial(t, a), dial(t, a), dial(t, a), dial(t, b)
	idle.ask("/")
	busy.send("/slow")
	removed.send("/slow")
	<-r.site.begun
	<-r.site.begun
	until(func() bool { return r.metrics.opened.Load() == 4 })
	r.apply(Spec{Name: "web", Address: a})
	done := make(chan int)
	go func() { done <- r.Shutdown(context.Background()) }()
	idle.ended()
	if status, _, closed := fresh.ask("/"); status != 200 || !closed {
		t.Errorf("%d, closed %t", status, closed)
	}
	select {
	case cut := <-done:
		t.Errorf("the end did not wait; %d were cut", cut)
	default:
	}
	close(r.site.goOn)
	for _, c := range []*client{busy, removed} {
		if status, _, closed := c.answer(); status != 200 || !closed {
			t.Errorf("%d, closed %t", status, closed)
		}
		c.ended()
	}
	// A connection whose client does not close is waited for, shortly.
	for _, c := range []*client{busy, idle, fresh, removed} {
		_ = c.Close()
	}
	if cut := <-done; cut != 0 {
		t.Errorf("%d were cut", cut)
	}
	if r.metrics.open.Load() != 0 {
		t.Errorf("%d connections are counted as open", r.metrics.open.Load())
	}
	if nc, err := net.Dial("tcp", a); err == nil {
		t.Error("the socket is still open")
		_ = nc.Close()
	}
}

// TestShutdownLimit cuts what does not end in time, of listeners that were taken
// away too.
func TestShutdownLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := free(t), free(t)
	r.apply(Spec{Name: "web", Address: a}, Spec{Name: "old", Address: b})
	busy, removed := dial(t, a), dial(t, b)
	busy.send("/slow")
	removed.send("/slow")
	<-r.site.begun
	<-r.site.begun
	r.apply(Spec{Name: "web", Address: a})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if cut := r.Shutdown(ctx); cut != 2 {
		t.Errorf("%d were cut", cut)
	}
	busy.ended()
	removed.ended()
	close(r.site.goOn)
	until(func() bool { return r.metrics.open.Load() == 0 })
}

// failing is a listener whose Accept fails until it is closed.
type failing struct {
	mu     sync.Mutex
	err    error
	left   int // failures; then one connection
	at     []time.Duration
	began  time.Time
	conn   net.Conn
	closed chan struct{}
}

func (f *failing) Accept() (net.Conn, error) {
	f.mu.Lock()
	f.at = append(f.at, time.Since(f.began))
	fails, conn := f.left > 0, f.conn
	f.left--
	if !fails {
		f.conn = nil
	}
	f.mu.Unlock()
	if fails {
		return nil, f.err
	}
	if conn != nil {
		return conn, nil
	}
	<-f.closed
	return nil, net.ErrClosed
}
func (f *failing) Close() error   { close(f.closed); return nil }
func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }

// TestOutOfDescriptors: accept waits longer and longer, up to a second, goes on by
// itself, and a pause does not hold up the end.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(newSite(), func(string) Metrics { return &counts{} }, slog.New(slog.DiscardHandler))
		ours, theirs := net.Pipe()
		err := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		f := &failing{err: err, left: 11, began: time.Now(), conn: ours, closed: make(chan struct{})}
		l := newListener(s, Spec{Name: "web"}, newSocket(f, s.logger))
		l.socket.owner.Store(l)
		go l.socket.accept()
		c := &client{theirs, t, bufio.NewReader(theirs)}
		if status, _, _ := c.ask("/"); status != 200 {
			t.Errorf("%d", status)
		}
		var pauses []time.Duration
		f.mu.Lock()
		for i := range 11 {
			pauses = append(pauses, f.at[i+1]-f.at[i])
		}
		f.mu.Unlock()
		want := firstPause
		for i, pause := range pauses {
			if pause != want {
				t.Errorf("pause %d is %s, not %s", i, pause, want)
			}
			want = min(2*want, lastPause)
		}
		_ = theirs.Close()
		l.stop()

		f = &failing{err: err, left: 1 << 30, began: time.Now(), closed: make(chan struct{})}
		l = newListener(s, Spec{Name: "web"}, newSocket(f, s.logger))
		l.socket.owner.Store(l)
		go l.socket.accept()
		time.Sleep(10*time.Second + time.Millisecond)
		began := time.Now()
		l.stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end had to wait %s for a pause", took)
		}
	})
}
