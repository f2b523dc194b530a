package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/discovery"
)

// told is a source that says what a test wants, one thing after the other.
type told chan func(send func([]discovery.Endpoint), fault func(error))

func (s told) String() string { return "told" }

func (s told) Watch(ctx context.Context, send func([]discovery.Endpoint), fault func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case say := <-s:
			say(send, fault)
		}
	}
}

func (s told) list(addresses ...string) {
	s <- func(send func([]discovery.Endpoint), fault func(error)) {
		var list []discovery.Endpoint
		for _, a := range addresses {
			list = append(list, discovery.Endpoint{Address: a, Weight: 2, Zone: "z", Priority: 1, Secure: true})
		}
		send(list)
		fault(nil)
	}
}

func (s told) fault(err error) {
	s <- func(_ func([]discovery.Endpoint), fault func(error)) { fault(err) }
}

func inForce(u *Upstream) string {
	var words []string
	for _, e := range u.Endpoints() {
		words = append(words, fmt.Sprintf("%s*%d@%s/%d", e.Address(), e.Weight(), e.Zone(), e.Priority()))
	}
	return strings.Join(words, " ")
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		u := New(Config{Name: "orders"}, &counts{}, logger)
		source := make(told)
		u.Discover(source, 2*time.Second)
		u.Start()
		began := time.Now()
		time.Sleep(500 * time.Millisecond) // Others are waited for: the time runs for all.
		if u.Await() || time.Since(began) != 2*time.Second {
			t.Errorf("waited %v without a list", time.Since(began))
		}
		if u.Await() || time.Since(began) != 2*time.Second {
			t.Errorf("waited again, until %v", time.Since(began))
		}
		if d, ok := u.Discovered(); !ok || d != (Discovered{Source: "told"}) {
			t.Errorf("before the first list: %+v", d)
		}
		source.fault(errors.New("dead"))
		synctest.Wait()
		if d, _ := u.Discovered(); !d.Failing || d.Fault != "dead" || d.Faults != 1 || !d.FaultAt.Equal(time.Now()) || !d.Good.IsZero() {
			t.Errorf("after a fault: %+v", d)
		}
		source.list("a:1", "b:1")
		synctest.Wait()
		if !u.Await() || inForce(u) != "a:1*2@z/1 b:1*2@z/1" {
			t.Errorf("in force: %s", inForce(u))
		}
		time.Sleep(time.Minute)
		source.fault(&discovery.Note{Err: errors.New("twice")})
		source.fault(nil)
		synctest.Wait()
		if d, _ := u.Discovered(); d.Failing || d.Fault != "twice" || d.Faults != 2 || d.Updates != 1 || !d.Good.Equal(time.Now()) {
			t.Errorf("after a note: %+v", d)
		}
		source.list("b:1", "c:1")
		source.list()
		synctest.Wait()
		if inForce(u) != "" {
			t.Errorf("in force: %s", inForce(u))
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait() // The source has ended, or this test does not.
		for _, want := range []string{
			`msg="discovery fault" upstream=orders error=dead endpoints_kept=0`,
			`msg="endpoints discovered" upstream=orders source=told endpoints=2 added="a:1 b:1" removed=""`,
			`msg="discovery works again" upstream=orders source=told`,
			`error=twice endpoints_kept=2`,
			`endpoints=2 added=c:1 removed=a:1`,
			`endpoints=0 added="" removed="b:1 c:1"`,
		} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("the log has not once %s:\n%s", want, log.String())
			}
		}
		if got := strings.Count(log.String(), "works again"); got != 1 {
			t.Errorf("works again is said %d times", got)
		}
	})
}

// TestInherit: an upstream that takes another's place begins with its endpoints.
func TestInherit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		make2 := func(source discovery.Source) *Upstream {
			u := New(Config{Name: "orders"}, &counts{}, nil)
			u.Discover(source, time.Hour)
			return u
		}
		source := make(told)
		before := make2(source)
		before.Start()
		unknown := make2(make(told))
		unknown.Inherit(before)
		source.list("a:1")
		synctest.Wait()
		after := make2(make(told))
		after.Inherit(before)
		if !after.Await() || inForce(after) != "a:1*2@z/1" || !after.Endpoints()[0].secure {
			t.Errorf("in force: %s", inForce(after))
		}
		if d, _ := after.Discovered(); d.Good.IsZero() || d.Updates != 0 {
			t.Errorf("inherited: %+v", d)
		}
		if inForce(unknown) != "" {
			t.Errorf("nothing was there to inherit: %s", inForce(unknown))
		}
		fixed := New(Config{Name: "orders", Endpoints: []EndpointConfig{{Address: "x:1"}}}, &counts{}, nil)
		fixed.Inherit(before)
		if _, ok := fixed.Discovered(); ok || fixed.Endpoints()[0].Address() != "x:1" || !fixed.Await() {
			t.Error("an upstream without a source inherits")
		}
		_ = before.Close()
	})
}

func TestNamed(t *testing.T) {
	t.Parallel()
	list := make([]string, maxNamed+5)
	for i := range list {
		list[i] = "a"
	}
	if got := named(list); !strings.HasSuffix(got, "a a and 5 more") || named(list[:2]) != "a a" {
		t.Errorf("%s", got)
	}
}

// TestNoRequestIsLost: endpoints come and go under load, and no request fails because of it,
// though nothing is tried again.
func TestNoRequestIsLost(t *testing.T) {
	t.Parallel()
	t.Run("http/1.1", func(t *testing.T) {
		t.Parallel()
		noRequestIsLost(t, HTTP1, newOrigin(t, echo).address, newOrigin(t, echo).address)
	})
	t.Run("h2", func(t *testing.T) {
		t.Parallel()
		noRequestIsLost(t, HTTP2, multiplexed(t), multiplexed(t))
	})
}

// multiplexed is an origin that speaks HTTP/2 with prior knowledge.
func multiplexed(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+string(body))
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func noRequestIsLost(t *testing.T, protocol Protocol, a, b string) {
	c := to(a)
	c.Protocol = protocol
	u, _ := newUpstream(t, c)
	one, other := []EndpointConfig{{Address: a}}, []EndpointConfig{{Address: b, Weight: 2}}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, body, err := ask(u, exchange(&wire{}, "POST", message.NewBytes([]byte("x")))); err != nil || status != 200 {
					t.Errorf("%d %s %v", status, body, err)
					return
				}
			}
		})
	}
	for i := range 500 {
		if i%2 == 0 {
			u.SetEndpoints(other)
		} else {
			u.SetEndpoints(one)
		}
		if body := mustAsk(t, u, exchange(&wire{}, "GET", nil)); body != "GET example.com " {
			t.Errorf("the origin got %q", body)
		}
	}
	close(stop)
	asking.Wait()
	u.SetEndpoints(nil)
	if len(u.Endpoints()) != 0 {
		t.Error("endpoints are left")
	}
}
