package restart

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// origin answers everything; /hold waits until it is told to go on, /stream sends
// what it is told to.
type origin struct {
	address string
	begun   chan struct{}
	goOn    chan struct{}
	words   chan string

	mu   sync.Mutex
	seen map[string]int // bodies that came to /once
}

func newOrigin(t *testing.T) *origin {
	o := &origin{begun: make(chan struct{}, 100), goOn: make(chan struct{}), words: make(chan string), seen: map[string]int{}}
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	o.address = s.Listener.Addr().String()
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/once":
		o.mu.Lock()
		o.seen[string(body)]++
		o.mu.Unlock()
	case "/hold":
		o.begun <- struct{}{}
		select {
		case <-o.goOn:
		case <-r.Context().Done():
			return
		}
	case "/stream":
		o.begun <- struct{}{}
		for {
			select {
			case word := <-o.words:
				_, _ = io.WriteString(w, word)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
	_, _ = w.Write(body)
}

// visitor is a client that forgives nothing: it never asks twice.
type visitor struct {
	net.Conn
	in *bufio.Reader
}

func dial(address string) (*visitor, error) {
	c, err := net.DialTimeout("tcp", address, rig.Patience)
	if err != nil {
		return nil, err
	}
	return &visitor{c, bufio.NewReader(c)}, nil
}

// send sends a request that must not be repeated by anybody.
func (v *visitor) send(path, body string, fields ...string) error {
	_ = v.SetDeadline(time.Now().Add(rig.Patience))
	_, err := fmt.Fprintf(v, "POST %s HTTP/1.1\r\nHost: example.com\r\n%sContent-Length: %d\r\n\r\n%s",
		path, strings.Join(append(fields, ""), "\r\n"), len(body), body)
	return err
}

// answer reads an answer and checks that it is the one to body; last is whether the
// connection ends with it.
func (v *visitor) answer(body string) (last bool, err error) {
	m, err := rig.ReadHead(v.in)
	if err != nil {
		return false, err
	}
	if err := m.ReadBody(v.in, false); err != nil {
		return false, err
	}
	if m.Status() != 200 || m.Incomplete != nil || m.Body != body {
		return false, fmt.Errorf("wanted 200 and %q, got\n%s", body, m)
	}
	return m.Value("Connection") == "close", nil
}

// traffic is clients that ask all the time.
type traffic struct {
	t        *testing.T
	dial     func() (*visitor, error)
	kept     atomic.Int64 // requests on connections that are kept
	fresh    atomic.Int64 // requests on connections of their own
	stop     atomic.Bool
	visitors sync.WaitGroup
}

func newTraffic(t *testing.T, address string) *traffic {
	return newTrafficOver(t, func() (*visitor, error) { return dial(address) })
}

// newTrafficOver is traffic on connections that are made in another way.
func newTrafficOver(t *testing.T, dial func() (*visitor, error)) *traffic {
	a := &traffic{t: t, dial: dial}
	for n := range 3 {
		a.visitors.Go(func() { a.keep(fmt.Sprint("kept ", n)) })
		a.visitors.Go(func() { a.anew(fmt.Sprint("fresh ", n)) })
	}
	t.Cleanup(a.end)
	return a
}

// keep asks on one connection until an answer says that it ends.
func (a *traffic) keep(who string) {
	var v *visitor
	var err error
	for n := 0; !a.stop.Load(); n++ {
		if v == nil {
			if v, err = a.dial(); err != nil {
				a.t.Errorf("%s: %v", who, err)
				return
			}
		}
		body, last := fmt.Sprint(who, " ", n), false
		if err = v.send("/", body); err == nil {
			last, err = v.answer(body)
		}
		if err != nil {
			a.t.Errorf("%s, request %d: %v", who, n, err)
			return
		}
		a.kept.Add(1)
		if last {
			_ = v.Close()
			v = nil
		}
	}
	if v != nil {
		_ = v.Close()
	}
}

// anew asks on a new connection each time.
func (a *traffic) anew(who string) {
	for n := 0; !a.stop.Load(); n++ {
		body := fmt.Sprint(who, " ", n)
		v, err := a.dial()
		if err == nil {
			err = v.send("/", body, "Connection: close")
		}
		if err == nil {
			_, err = v.answer(body)
		}
		if err != nil {
			a.t.Errorf("%s, request %d: %v", who, n, err)
			return
		}
		_ = v.Close()
		a.fresh.Add(1)
	}
}

// flows waits until many more requests were answered.
func (a *traffic) flows() {
	a.t.Helper()
	kept, fresh := a.kept.Load(), a.fresh.Load()
	err := rig.Eventually(func() error {
		if k, f := a.kept.Load()-kept, a.fresh.Load()-fresh; k < 50 || f < 50 {
			return fmt.Errorf("only %d and %d requests were answered", k, f)
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *traffic) end() {
	a.stop.Store(true)
	a.visitors.Wait()
}
