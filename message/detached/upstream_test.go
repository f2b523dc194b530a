package detached_test

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/leaktest"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/detached"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, "upstream")) }

// counts are metrics that nobody reads.
type counts struct{}

func (counts) Answered(uint32, int, time.Duration) {}
func (counts) Unanswered(uint32)                   {}
func (counts) Retried(uint32)                      {}
func (counts) RetryRefused(uint32)                 {}
func (counts) HedgeWon(uint32)                     {}
func (counts) HedgeLost(uint32)                    {}
func (counts) HedgeRefused(uint32)                 {}
func (counts) Connected(uint32, time.Duration)     {}
func (counts) ConnectFailed(uint32)                {}
func (counts) Watch(bool, bool, bool)              {}
func (counts) Checked(bool)                        {}
func (counts) Ejected(string)                      {}
func (counts) BreakerOpened(bool)                  {}
func (counts) BreakerRefused(uint32, bool)         {}

// origin stops where the path says, and tells of it.
type origin struct {
	server  *httptest.Server
	reached chan struct{} // a value for each request that has come to where it stops
	release chan struct{} // closed at the end
}

func newOrigin(t *testing.T, protocol upstream.Protocol) *origin {
	t.Helper()
	o := &origin{reached: make(chan struct{}, 1000), release: make(chan struct{})}
	o.server = httptest.NewUnstartedServer(http.HandlerFunc(o.serve))
	if protocol == upstream.HTTP2 {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		o.server.Config.Protocols = p
	}
	o.server.Start()
	t.Cleanup(func() { close(o.release); o.server.Close() })
	return o
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	stop := func() {
		o.reached <- struct{}{}
		select {
		case <-o.release:
		case <-r.Context().Done():
		}
	}
	switch r.URL.Path {
	case "/head":
		stop()
	case "/upload":
		_, _ = r.Body.Read(make([]byte, 1))
		stop()
	case "/body":
		_, _ = io.WriteString(w, "begin")
		w.(http.Flusher).Flush()
		stop()
	case "/busy":
		w.WriteHeader(503)
		o.reached <- struct{}{}
	default:
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+r.RequestURI+" "+r.Header.Get("X-Tier")+" "+string(body))
	}
}

// clientless is the wire of exchanges from which the calls are copied; nothing of it is used.
type clientless struct{ message.Wire }

func request(method, path string, body []byte) *message.Exchange {
	x := &message.Exchange{}
	x.Begin(clientless{})
	x.Times.Started = time.Now()
	r := &x.Request
	r.Method, r.Path, r.Authority = method, path, "example.com"
	r.Header.Append("X-Tier", "gold")
	if body != nil {
		r.Body = message.NewBytes(body)
	}
	return x
}

// made is an upstream of one origin.
func made(t *testing.T, protocol upstream.Protocol, address string, change func(*upstream.Config)) *upstream.Upstream {
	t.Helper()
	c := upstream.Config{Name: "orders", Protocol: protocol, Endpoints: []upstream.EndpointConfig{{Address: address}}, ConnectTimeout: 20 * time.Second}
	if change != nil {
		change(&c)
	}
	u := upstream.New(c, counts{}, nil)
	t.Cleanup(func() {
		atRest(t, u)
		_ = u.Close()
	})
	return u
}

// atRest waits until nothing of an upstream is in use.
func atRest(t *testing.T, u *upstream.Upstream) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		e := u.Endpoints()[0]
		open, idle := e.Connections()
		load, _ := u.Load()
		if open == idle && e.Active() == 0 && load.InFlight == 0 && load.Waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d open, %d idle, %d active, %+v", open, idle, e.Active(), load)
			return
		}
	}
}

// ask sends the request of a call and reads the answer.
func ask(u *upstream.Upstream, c *detached.Call) (string, error) {
	x := c.Exchange()
	if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
		return "", err
	}
	body, err := message.ReadAll(x.Response.Body, 1<<20)
	x.Response.CloseBody()
	return string(body), err
}

var protocols = map[string]upstream.Protocol{"http1": upstream.HTTP1, "http2": upstream.HTTP2}

func each(t *testing.T, run func(t *testing.T, p upstream.Protocol)) {
	t.Parallel()
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t, p) })
	}
}

// TestExchangeEndsFirst lets the exchange from which a call was copied carry another request
// before the call is sent.
func TestExchangeEndsFirst(t *testing.T) {
	each(t, func(t *testing.T, p upstream.Protocol) {
		u := made(t, p, newOrigin(t, p).server.Listener.Addr().String(), nil)
		buffer := []byte("hello")
		x := request("PUT", "/a", nil)
		for range 20 {
			copy(buffer, "hello")
			x.Request.Method, x.Request.Path, x.Request.Authority = "PUT", "/a", "example.com"
			x.Request.Header.Append("X-Tier", "gold")
			x.Request.Hold(buffer)
			x.Times.Started = time.Now()
			c := detached.New(x, &x.Request)
			x.Request.Header.Fields()[0].Value = "other"
			x.Reset()
			x.Begin(clientless{})
			copy(buffer, "wrong")
			if got, err := ask(u, c); got != "PUT example.com /a gold hello" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			c.Free()
		}
	})
}

// TestCancelInEveryPhase cancels a call while it waits for each thing that it can wait for.
func TestCancelInEveryPhase(t *testing.T) {
	each(t, func(t *testing.T, p upstream.Protocol) {
		large := make([]byte, 16<<20) // More than sockets and windows take.
		for _, phase := range []struct {
			name, method, path string
			body               []byte
			change             func(*upstream.Config)
		}{
			{"head", "GET", "/head", nil, nil},
			{"head, with a body", "PUT", "/head", []byte("hello"), nil},
			{"upload", "PUT", "/upload", large, nil},
			{"backoff", "GET", "/busy", nil, backoff},
		} {
			t.Run(phase.name, func(t *testing.T) {
				t.Parallel()
				o := newOrigin(t, p)
				u := made(t, p, o.server.Listener.Addr().String(), phase.change)
				c := detached.New(request(phase.method, phase.path, phase.body), &request(phase.method, phase.path, phase.body).Request)
				c.Share()
				go func() {
					<-o.reached
					c.Cancel()
					c.Free()
				}()
				if _, err := ask(u, c); !errors.Is(err, message.ClientGone) {
					t.Errorf("%v", err)
				}
				c.Free()
			})
		}
		t.Run("before", func(t *testing.T) {
			t.Parallel()
			u := made(t, p, newOrigin(t, p).server.Listener.Addr().String(), nil)
			x := request("GET", "/", nil)
			c := detached.New(x, &x.Request)
			c.Cancel()
			if _, err := ask(u, c); !errors.Is(err, message.ClientGone) {
				t.Errorf("%v", err)
			}
			c.Free()
		})
		t.Run("body", func(t *testing.T) { t.Parallel(); cancelInBody(t, p) })
		t.Run("queue", func(t *testing.T) { t.Parallel(); cancelInQueue(t, p) })
		t.Run("after", func(t *testing.T) { t.Parallel(); cancelAfter(t, p) })
	})
}

func backoff(c *upstream.Config) {
	c.Retry.Attempts = 1
	c.Retry.On, _ = retry.Compile([]string{"503"})
	c.Retry.Backoff = retry.Backoff{Base: 10 * time.Hour, Cap: 10 * time.Hour}
}

func cancelInBody(t *testing.T, p upstream.Protocol) {
	o := newOrigin(t, p)
	u := made(t, p, o.server.Listener.Addr().String(), nil)
	x := request("GET", "/body", nil)
	c := detached.New(x, &x.Request)
	c.Share()
	y := c.Exchange()
	if err := u.RoundTrip(y, &y.Request, &y.Response); err != nil {
		t.Fatal(err)
	}
	if chunk, err := y.Response.Body.Next(); string(chunk) != "begin" || err != nil {
		t.Fatalf("%q, %v", chunk, err)
	}
	go func() {
		<-o.reached
		c.Cancel()
		c.Free()
	}()
	if _, err := y.Response.Body.Next(); !errors.Is(err, message.ClientGone) {
		t.Errorf("%v", err)
	}
	c.Free() // It closes the body.
}

// cancelInQueue holds the only place of a limiter while another call waits for it.
func cancelInQueue(t *testing.T, p upstream.Protocol) {
	o := newOrigin(t, p)
	u := made(t, p, o.server.Listener.Addr().String(), func(c *upstream.Config) {
		c.Concurrency = &upstream.Concurrency{Limiter: overload.Config{Limit: 1, Queue: 1, Timeout: time.Hour}}
	})
	x := request("GET", "/head", nil)
	holder, waiter := detached.New(x, &x.Request), detached.New(x, &x.Request)
	holder.Share()
	waiter.Share()
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := ask(u, holder); !errors.Is(err, message.ClientGone) {
			t.Errorf("%v", err)
		}
		holder.Free()
	})
	<-o.reached
	wait.Go(func() {
		if _, err := ask(u, waiter); !errors.Is(err, message.ClientGone) {
			t.Errorf("%v", err)
		}
		waiter.Free()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if load, _ := u.Load(); load.Waiting == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
	waiter.Cancel()
	holder.Cancel()
	waiter.Free()
	holder.Free()
	wait.Wait()
}

// cancelAfter cancels calls whose answer is complete: their memory and connections are used again.
func cancelAfter(t *testing.T, p upstream.Protocol) {
	u := made(t, p, newOrigin(t, p).server.Listener.Addr().String(), nil)
	for range 20 {
		x := request("GET", "/a", nil)
		c := detached.New(x, &x.Request)
		if got, err := ask(u, c); !strings.HasPrefix(got, "GET example.com /a gold") || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		c.Cancel()
		c.Free()
	}
	if open, _ := u.Endpoints()[0].Connections(); open != 1 {
		t.Errorf("%d connections", open)
	}
}

// TestCancelForAConnection waits for a connection of a full pool.
func TestCancelForAConnection(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, upstream.HTTP1)
	u := made(t, upstream.HTTP1, o.server.Listener.Addr().String(), func(c *upstream.Config) { c.MaxConnections = 1 })
	x := request("GET", "/head", nil)
	holder, waiter := detached.New(x, &x.Request), detached.New(x, &x.Request)
	holder.Share()
	waiter.Share()
	var wait sync.WaitGroup
	for i, c := range []*detached.Call{holder, waiter} {
		wait.Go(func() {
			if _, err := ask(u, c); !errors.Is(err, message.ClientGone) {
				t.Errorf("%d: %v", i, err)
			}
			c.Free()
		})
		if i == 0 {
			<-o.reached
		}
	}
	waiter.Cancel()
	waiter.Free()
	holder.Cancel()
	holder.Free()
	wait.Wait()
}

// TestCancelAtAnyTime cancels at moments that nobody has chosen, and frees calls that others take up
// at once.
func TestCancelAtAnyTime(t *testing.T) {
	each(t, func(t *testing.T, p upstream.Protocol) {
		o := newOrigin(t, p)
		u := made(t, p, o.server.Listener.Addr().String(), nil)
		body := make([]byte, 100<<10)
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				x := request("PUT", "/a", body)
				for range 60 {
					c := detached.New(x, &x.Request)
					c.Share()
					after := time.Duration(rand.Int64N(int64(4 * time.Millisecond)))
					wait.Go(func() {
						time.Sleep(after)
						c.Cancel()
						c.Free()
					})
					got, err := ask(u, c)
					if err == nil && len(got) != len(body)+len("PUT example.com /a gold ") {
						t.Errorf("%d bytes came back", len(got))
					}
					if err != nil && !errors.Is(err, message.ClientGone) {
						t.Errorf("%v", err)
					}
					c.Free()
				}
			})
		}
		wait.Wait()
	})
}

// TestCancelInTheHandshake asks an origin that says nothing.
func TestCancelInTheHandshake(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u := made(t, upstream.HTTP1, l.Addr().String(), func(c *upstream.Config) { c.Endpoints[0].Secure = true })
	u.Secure(security{})
	x := request("GET", "/", nil)
	c := detached.New(x, &x.Request)
	c.Share()
	go func() {
		nc, err := l.Accept()
		if err == nil {
			_, _ = nc.Read(make([]byte, 1)) // The handshake has begun.
			c.Cancel()
			c.Free()
			_, _ = io.Copy(io.Discard, nc)
			_ = nc.Close()
		}
	}()
	if _, err := ask(u, c); !errors.Is(err, message.ClientGone) {
		t.Errorf("%v", err)
	}
	c.Free()
}

// security believes everybody.
type security struct{}

func (security) Config(string) *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
