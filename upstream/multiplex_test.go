package upstream

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// shallow is an origin that takes few streams on a connection, and answers each request when it is told to.
type shallow struct {
	address string
	release chan struct{}
	most    atomic.Int64 // requests at one time
}

func newShallow(t *testing.T, streams int) *shallow {
	t.Helper()
	o := &shallow{release: make(chan struct{})}
	var busy atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for now, most := busy.Add(1), o.most.Load(); now > most && !o.most.CompareAndSwap(most, now); most = o.most.Load() {
		}
		defer busy.Add(-1)
		select {
		case <-o.release:
		case <-req.Context().Done():
		}
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	s.Start()
	o.address = s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return o
}

// queued waits until so many exchanges wait for room on a connection.
func queued(t *testing.T, u *Upstream, n int) {
	t.Helper()
	for range 5000 {
		if int(u.Endpoints()[0].h2.waiting.Load()) == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d wait, not %d", u.Endpoints()[0].h2.waiting.Load(), n)
}

// busy waits until an exchange is under way.
func busy(t *testing.T, u *Upstream) {
	t.Helper()
	for range 5000 {
		if u.Endpoints()[0].Active() > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no exchange is under way")
}

// TestRoomIsWaitedFor sends far more requests at one time than an origin takes, with bodies that cannot be sent again:
// none of them fails, whether the connections that may be opened are enough or not.
func TestRoomIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, connections := range map[string]int{"few connections": 2, "enough of them": 64} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const streams, requests = 3, 90
			o := newShallow(t, streams)
			c := to(o.address)
			c.Protocol, c.MaxConnections, c.ConnectTimeout = HTTP2, connections, time.Minute
			u, _ := newUpstream(t, c)
			var all sync.WaitGroup
			for range requests {
				all.Go(func() {
					x := exchange(&wire{}, "POST", &ready{streaming{chunks: []string{"hello", "you"}}})
					if _, _, err := ask(u, x); err != nil {
						t.Error(err)
					}
				})
			}
			for range requests {
				o.release <- struct{}{}
			}
			all.Wait()
			atRest(t, u)
			if most := int(o.most.Load()); most > connections*streams {
				t.Errorf("%d requests at one time", most)
			}
			queued(t, u, 0)
		})
	}
}

// TestRoomIsWaitedForInVain ends waits: by their time, and because clients leave.
func TestRoomIsWaitedForInVain(t *testing.T) {
	t.Parallel()
	o := newShallow(t, 1)
	c := to(o.address)
	c.Protocol, c.MaxConnections, c.ConnectTimeout = HTTP2, 1, time.Minute
	u, _ := newUpstream(t, c)
	first := asking(u, exchange(&wire{}, "GET", nil))
	busy(t, u)
	w := &wire{}
	leaves := asking(u, exchange(w, "GET", nil))
	late := exchange(&wire{}, "GET", nil)
	late.Deadline = time.Now().Add(20 * time.Millisecond)
	if _, _, err := ask(u, late); !errors.Is(err, message.DeadlineExceeded) {
		t.Errorf("whose time is over gets %v", err)
	}
	queued(t, u, 1)
	w.hangUp()
	if err := <-leaves; !errors.Is(err, message.ClientGone) {
		t.Error(err)
	}
	queued(t, u, 0)
	last := asking(u, exchange(&wire{}, "GET", nil))
	queued(t, u, 1)
	for _, result := range []chan error{first, last} {
		o.release <- struct{}{}
		if err := <-result; err != nil {
			t.Error(err)
		}
	}

	c.ConnectTimeout = 2 * time.Second
	u, _ = newUpstream(t, c)
	first = asking(u, exchange(&wire{}, "GET", nil))
	o.release <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	first = asking(u, exchange(&wire{}, "GET", nil))
	busy(t, u)
	if _, _, err := ask(u, exchange(&wire{}, "GET", nil)); !errors.Is(err, message.UpstreamBusy) {
		t.Errorf("who has waited for long enough gets %v", err)
	}
	o.release <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
}
