// Package faults puts origins that fail on purpose behind the real gateway, loads
// it at a steady rate, and says what clients saw and what each origin got.
//
// The tests of this package run a few scenarios; test/faults/report runs all of
// them and prints a line for each. Everything stays on the loopback network.
package faults

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// healthPath is what the gateway's health checks ask for.
const healthPath = "/healthz"

// Behaviour is how an origin answers. The zero value is a good origin.
type Behaviour struct {
	Status     int           // of each answer; 0: 200
	Delay      time.Duration // before the answer
	Stall      bool          // never answers, until the client leaves or the origin goes down
	Reset      bool          // resets the connection instead of an answer
	Garbage    bool          // answers what is no HTTP
	CloseAfter int           // a connection is closed without an answer when it has had so many; 0: never
	Liar       bool          // health checks are answered well all the same
}

// ill says whether a request that meets this behaviour is counted as sent to an ill origin.
func (b *Behaviour) ill() bool {
	return b.Status >= 500 || b.Stall || b.Reset || b.Garbage
}

// Enough is how many failures of an endpoint a gateway may wait for before it
// leaves the endpoint alone.
const Enough = 10

// grace is how long after its last failures requests may still be on their way to an
// endpoint: those that came in one burst, on a machine that had stood still.
const grace = 100 * time.Millisecond

// Counts is what an origin has got so far.
type Counts struct {
	Requests int64 // without health checks
	Ill      int64 // those of Requests that came while it was ill
	Late     int64 // those of Ill that came when Enough had failed already, whole, a moment ago
	Checks   int64 // health checks
	Good     int64 // health checks that were answered well since it was last ill
}

// Origin is an HTTP/1.1 server whose behaviour can be switched while it runs. All
// its methods may be called from any goroutine.
type Origin struct {
	Address string

	behaviour atomic.Pointer[Behaviour]
	workers   chan struct{} // nil: as many as come
	requests  atomic.Int64
	ill       atomic.Int64
	failed    atomic.Int64 // of ill, those that the gateway has seen fail; since Behave
	enough    atomic.Int64 // when Enough had failed, in nanoseconds since 1970; 0 before
	late      atomic.Int64
	underway  atomic.Int64
	checks    atomic.Int64
	good      atomic.Int64
	well      chan wellness // the first request since it was last ill; see Recover

	mu     sync.Mutex
	server *http.Server
	gone   chan struct{} // closed when server goes down, so that what stalls ends
}

// wellness is what was so when the first request came after a recovery.
type wellness struct{ checks int64 }

// NewOrigin returns an origin that listens. With workers it does so many requests
// at one time, and the others wait, without an end to the queue; 0: all at once.
func NewOrigin(workers int) (*Origin, error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	return newOriginAt(address, workers)
}

// newOriginAt is NewOrigin at an address of its own.
func newOriginAt(address string, workers int) (*Origin, error) {
	o := &Origin{Address: address, well: make(chan wellness, 1)}
	if workers > 0 {
		o.workers = make(chan struct{}, workers)
	}
	o.behaviour.Store(&Behaviour{})
	return o, o.Up()
}

// Behave switches the behaviour, for requests that come from now on.
func (o *Origin) Behave(b Behaviour) {
	o.failed.Store(0)
	o.enough.Store(0)
	o.behaviour.Store(&b)
}

// Counts tells what came so far.
func (o *Origin) Counts() Counts {
	return Counts{o.requests.Load(), o.ill.Load(), o.late.Load(), o.checks.Load(), o.good.Load()}
}

// Recover makes the origin well, and waits for its first request, at most for
// limit. It returns how many health checks were answered well before that request.
func (o *Origin) Recover(limit time.Duration) (checks int64, ok bool) {
	select {
	case <-o.well:
	default:
	}
	o.good.Store(0)
	o.Behave(Behaviour{})
	if o.Up() != nil {
		return 0, false
	}
	// What came while it was ill may have filled the channel: only those that met
	// the new behaviour write to it, and the first of them is the one.
	select {
	case w := <-o.well:
		return w.checks, true
	case <-time.After(limit):
		return o.good.Load(), false
	}
}

// asked waits until a further request comes, at most for limit, and says whether one did.
func (o *Origin) asked(limit time.Duration) bool {
	before := o.requests.Load()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if o.requests.Load() > before {
			return true
		}
	}
	return false
}

// idle waits until nothing is under way, at most for limit.
func (o *Origin) idle(limit time.Duration) {
	for end := time.Now().Add(limit); o.underway.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// Up listens; it does nothing where that is so already.
func (o *Origin) Up() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.server != nil {
		return nil
	}
	// A child that is being started holds copies of all sockets until it is a process of its own: nobody can
	// listen here again before.
	var l net.Listener
	err := rig.Eventually(func() (err error) {
		l, err = net.Listen("tcp", o.Address)
		return err
	})
	if err != nil {
		return err
	}
	o.gone = make(chan struct{})
	gone := o.gone
	o.server = &http.Server{
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &connState{gone: gone})
		},
		Handler: http.HandlerFunc(o.serve),
	}
	go func(s *http.Server) { _ = s.Serve(l) }(o.server)
	return nil
}

// Down refuses connections from now on, and cuts those that are open.
func (o *Origin) Down() {
	if s := o.detach(); s != nil {
		_ = s.Close()
	}
}

// Drain refuses connections from now on, and waits until what is under way is
// answered: the good end of a process.
func (o *Origin) Drain(limit time.Duration) error {
	s := o.detach()
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return errors.Join(s.Shutdown(ctx), s.Close())
}

func (o *Origin) detach() *http.Server {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.server
	if s != nil {
		close(o.gone)
	}
	o.server = nil
	return s
}

// connKey finds the connState of a request.
type connKey struct{}

// connState is what an origin knows of one connection.
type connState struct {
	requests int // of one goroutine
	gone     chan struct{}
}

func (o *Origin) serve(w http.ResponseWriter, r *http.Request) {
	b := o.behaviour.Load()
	state := r.Context().Value(connKey{}).(*connState)
	if r.URL.Path == healthPath {
		o.check(w, r, b, state)
		return
	}
	o.requests.Add(1)
	o.underway.Add(1)
	defer o.underway.Add(-1)
	if b.ill() {
		o.ill.Add(1)
		if since := o.enough.Load(); since > 0 && time.Now().UnixNano() > since+int64(grace) {
			o.late.Add(1)
		}
		defer func() {
			if o.failed.Add(1) == Enough {
				o.enough.Store(time.Now().UnixNano())
			}
		}()
	} else {
		select {
		case o.well <- wellness{o.good.Load()}:
		default:
		}
	}
	if o.workers != nil {
		select {
		case o.workers <- struct{}{}:
			defer func() { <-o.workers }()
		case <-r.Context().Done():
			return
		}
	}
	state.requests++
	o.answer(w, r, b, state)
}

func (o *Origin) check(w http.ResponseWriter, r *http.Request, b *Behaviour, state *connState) {
	o.checks.Add(1)
	if b.ill() && !b.Liar {
		o.answer(w, r, b, state)
		return
	}
	o.good.Add(1)
	w.WriteHeader(http.StatusOK)
}

func (o *Origin) answer(w http.ResponseWriter, r *http.Request, b *Behaviour, state *connState) {
	if b.Delay > 0 {
		// Who leaves does not free a worker: origins seldom notice.
		time.Sleep(b.Delay)
	}
	switch {
	case b.Stall:
		select {
		case <-r.Context().Done():
		case <-state.gone:
		}
	case b.Reset, b.Garbage, b.CloseAfter > 0 && state.requests > b.CloseAfter:
		o.spoil(w, b)
	default:
		w.WriteHeader(max(b.Status, http.StatusOK))
		_, _ = w.Write([]byte("answered\n"))
	}
}

// spoil ends the connection in a bad way.
func (o *Origin) spoil(w http.ResponseWriter, b *Behaviour) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if b.Garbage {
		_, _ = conn.Write([]byte("\x00\x01garbage\r\n\r\n"))
	}
	if b.Reset {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	_ = conn.Close()
}
