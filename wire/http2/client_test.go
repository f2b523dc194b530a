package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// quietWire is a message.Wire behind which there is no client.
type quietWire struct {
	mu       sync.Mutex
	on       message.Canceler
	informed []int
	gone     atomic.Bool
	lent     atomic.Int32
	stopped  atomic.Bool
}

func (w *quietWire) Respond(*message.Exchange) error { return nil }
func (w *quietWire) Started() bool                   { return false }
func (w *quietWire) Abort()                          {}
func (w *quietWire) Inform(status int, _ *message.Header) {
	w.mu.Lock()
	w.informed = append(w.informed, status)
	w.mu.Unlock()
}
func (w *quietWire) Await(c message.Canceler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = c
	if w.gone.Load() {
		c.Cancel()
	}
}
func (w *quietWire) Arrived() {
	w.mu.Lock()
	w.on = nil
	w.mu.Unlock()
}
func (w *quietWire) leave() {
	w.gone.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on != nil {
		w.on.Cancel()
	}
}
func (w *quietWire) LendBody()       { w.lent.Add(1) }
func (w *quietWire) StopBody()       { w.stopped.Store(true) }
func (w *quietWire) ReturnBody()     { w.lent.Add(-1) }
func (w *quietWire) Gone() bool      { return w.gone.Load() }
func (w *quietWire) BytesIn() int64  { return 0 }
func (w *quietWire) BytesOut() int64 { return 0 }

// countingPool counts what it is told.
type countingPool struct {
	freed atomic.Int64
	dead  chan struct{}
}

func (p *countingPool) Freed(*ClientConn) { p.freed.Add(1) }
func (p *countingPool) Grown(*ClientConn) {}
func (p *countingPool) Dead(*ClientConn)  { close(p.dead) }

// connect makes one of our connections to an origin. It is closed before the origin is.
func (o *origin) connect(t testing.TB, limits ClientLimits) (*ClientConn, *countingPool) {
	t.Helper()
	return connectTo(t, o.socket.Addr().String(), limits)
}

func connectTo(t testing.TB, address string, limits ClientLimits) (*ClientConn, *countingPool) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	limits = limits.WithDefaults()
	pool := &countingPool{dead: make(chan struct{})}
	c := NewClientConn(nc, &limits, new(Counters), pool)
	t.Cleanup(func() {
		c.Close()
		select {
		case <-pool.dead:
		case <-time.After(testPatience):
			t.Error("the connection does not end")
		}
	})
	return c, pool
}

// testPatience is how long a test waits for what must come before it fails.
const testPatience = 20 * time.Second

// ask makes an exchange and fills its request.
func ask(w message.Wire, method, target string, body message.Body) *message.Exchange {
	x := new(message.Exchange)
	x.Begin(w)
	x.Request.Method, x.Request.Authority, x.Request.Scheme = method, "example.com", "http"
	path, query, has := strings.Cut(target, "?")
	x.Request.Path, x.Request.RawPath, x.Request.Query, x.Request.HasQuery = path, path, query, has
	x.Request.Body = body
	x.Response.Reset()
	return x
}

// streamed is a body that comes in pieces and is never there before it is asked for.
type streamed struct {
	pieces  [][]byte
	length  int64
	trailer *message.Header
	err     error
}

func (b *streamed) Next() ([]byte, error) {
	if len(b.pieces) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		return nil, io.EOF
	}
	p := b.pieces[0]
	b.pieces = b.pieces[1:]
	return p, nil
}
func (b *streamed) Length() int64            { return b.length }
func (b *streamed) Trailer() *message.Header { return b.trailer }
func (b *streamed) Close() error             { return nil }

func inPieces(data []byte, size int) *streamed {
	b := &streamed{length: -1}
	for len(data) > 0 {
		n := min(size, len(data))
		b.pieces = append(b.pieces, data[:n])
		data = data[n:]
	}
	return b
}

// twinEcho answers with the body, and says what it was asked.
var twinEcho = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Method", r.Method)
	w.Header().Set("X-Target", r.URL.RequestURI())
	w.Header().Set("X-Host", r.Host)
	w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
	_, _ = io.Copy(w, r.Body)
	for name, values := range r.Trailer {
		w.Header().Set(http.TrailerPrefix+"Echo-"+name, values[0])
	}
})

func TestTwinServerBodies(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, twinEcho)
	c, pool := o.connect(t, ClientLimits{})
	asked := int64(0)
	for _, size := range []int{0, 1, 100, 16384, 16385, 65535, 65536, 1_000_000} {
		for name, make := range map[string]func([]byte) message.Body{
			"whole":    func(b []byte) message.Body { return message.NewBytes(b) },
			"streamed": func(b []byte) message.Body { return inPieces(b, 10_000) },
			"announced": func(b []byte) message.Body {
				s := inPieces(b, 3000)
				s.length = int64(len(b))
				return s
			},
		} {
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				want := pattern(size)
				w := new(quietWire)
				x := ask(w, "PUT", "/a?b", make(want))
				if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
					t.Fatal(f)
				}
				asked++
				got, err := message.ReadAll(x.Response.Body, 1<<30)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				x.Response.CloseBody()
				h := &x.Response.Header
				if x.Response.Status != 200 || h.Get("x-method") != "PUT" || h.Get("x-target") != "/a?b" || h.Get("x-host") != "example.com" {
					t.Errorf("%d %+v", x.Response.Status, h.Fields())
				}
				if name != "streamed" && h.Get("x-length") != fmt.Sprint(size) {
					t.Errorf("length %s", h.Get("x-length"))
				}
				if w.lent.Load() != 0 || w.stopped.Load() {
					t.Errorf("lent %d, stopped %v", w.lent.Load(), w.stopped.Load())
				}
			})
		}
	}
	if n := c.Streams(); n != 0 || pool.freed.Load() != asked {
		t.Errorf("%d streams are left, %d of %d freed", n, pool.freed.Load(), asked)
	}
}

func TestTwinServerManyAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 50, twinEcho)
	c, _ := o.connect(t, ClientLimits{})
	room := make(chan struct{}, 40)
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			want := pattern(i * 403)
			x := ask(new(quietWire), "POST", "/", inPieces(want, 5000))
			if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
				t.Error(f)
				return
			}
			got, err := message.ReadAll(x.Response.Body, 1<<30)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
			}
			x.Response.CloseBody()
		})
	}
	all.Wait()
}

func TestTwinServerTrailersAndInterims(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(103)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set(http.TrailerPrefix+"X-Sum", r.Trailer.Get("X-Up"))
		_, _ = io.WriteString(w, "done")
	}))
	c, _ := o.connect(t, ClientLimits{})
	w := new(quietWire)
	body := inPieces([]byte("hello"), 2)
	body.trailer = new(message.Header)
	body.trailer.Append("X-Up", "42")
	x := ask(w, "POST", "/", body)
	x.Request.Header.Append("Trailer", "X-Up")
	if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	got, err := message.ReadAll(x.Response.Body, 100)
	if err != nil || string(got) != "done" {
		t.Fatalf("%q %v", got, err)
	}
	trailer := x.Response.Body.Trailer()
	if trailer == nil || trailer.Get("X-Sum") != "" && trailer.Get("X-Sum") != "42" {
		t.Errorf("trailer %+v", trailer)
	}
	x.Response.CloseBody()
	if len(w.informed) != 1 || w.informed[0] != 103 {
		t.Errorf("informed %v", w.informed)
	}
}

func TestClientThatLeavesCancels(t *testing.T) {
	t.Parallel()
	arrived, left := make(chan struct{}), make(chan struct{})
	o := newOrigin(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	}))
	c, _ := o.connect(t, ClientLimits{})
	w := new(quietWire)
	x := ask(w, "GET", "/", nil)
	go func() {
		<-arrived
		w.leave()
	}()
	f := c.RoundTrip(x, &x.Request, &x.Response)
	if f == nil || !errors.Is(f, message.ClientGone) {
		t.Fatalf("%v", f)
	}
	<-left
	if c.Streams() != 0 || !c.CanTake() {
		t.Errorf("%d streams", c.Streams())
	}
}

func TestResponseTimeout(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	c, _ := o.connect(t, ClientLimits{ResponseTimeout: 20 * time.Millisecond})
	x := ask(new(quietWire), "GET", "/", nil)
	f := c.RoundTrip(x, &x.Request, &x.Response)
	if f == nil || !errors.Is(f, message.UpstreamTimeout) || !f.Sent || f.Answered {
		t.Fatalf("%+v", f)
	}
}

func TestBidirectional(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	}))
	c, _ := o.connect(t, ClientLimits{})
	body := &channelBody{pieces: make(chan string)}
	x := ask(new(quietWire), "POST", "/", body)
	if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	for _, word := range []string{"one", "two", "three"} {
		body.pieces <- word
		got, err := x.Response.Body.Next()
		if err != nil || string(got) != word {
			t.Fatalf("%q %v", got, err)
		}
	}
	close(body.pieces)
	if _, err := x.Response.Body.Next(); err != io.EOF {
		t.Fatal(err)
	}
	x.Response.CloseBody()
}

// channelBody is a body of which a test sends each piece.
type channelBody struct{ pieces chan string }

func (b *channelBody) Next() ([]byte, error) {
	p, ok := <-b.pieces
	if !ok {
		return nil, io.EOF
	}
	return []byte(p), nil
}
func (b *channelBody) Length() int64            { return -1 }
func (b *channelBody) Trailer() *message.Header { return nil }
func (b *channelBody) Close() error             { return nil }
