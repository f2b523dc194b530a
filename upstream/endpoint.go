package upstream

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/outlier"
	"github.com/sluice-gateway/sluice/upstream/peakewma"
	"github.com/sluice-gateway/sluice/upstream/sticky"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// Endpoint is one address of an upstream, with its connections and what is known of its
// health.
type Endpoint struct {
	address  string
	weight   int
	zone     string
	priority int
	secure   bool
	tokens   []sticky.Token // with Sticky: of all its keys

	active  atomic.Int64  // exchanges under way
	waiting atomic.Int64  // those of them without the head of an answer; counted with Concurrency.PerEndpoint
	ill     atomic.Uint32 // reasons for which it is passed over; 0: it is well
	gone    atomic.Bool   // it was taken out: whoever belongs to it goes elsewhere
	began   atomic.Int64  // since when it is used, on the clock of message.Exchange.Now; 0: always

	since atomic.Int64 // when ill has become what it is, in milliseconds of Unix time

	checked atomic.Pointer[checkResult] // the last one; nil before the first
	breaker *breaker.Breaker            // nil without
	latency peakewma.Latency            // with PeakEWMA
	member  *outlier.Member             // of those that are compared; nil without

	pool pool
	h2   *multiplex // nil with HTTP/1.1

	speaks atomic.Uint32 // with Auto: what the last connection has agreed on, a spoken
}

// Illness is a reason for which an endpoint is passed over. An endpoint may have several.
type Illness uint32

const (
	Unhealthy Illness = 1 << iota // active checks say so
	Ejected                       // its answers say so
)

func newEndpoint(u *Upstream, c EndpointConfig) *Endpoint {
	e := &Endpoint{address: c.Address, weight: max(c.Weight, 1), zone: c.Zone, priority: c.Priority, secure: c.Secure}
	e.tokens = u.adhesive.tokens(c.Address)
	e.since.Store(time.Now().UnixMilli())
	e.pool.init(u, e)
	if u.outliers != nil {
		e.member = u.outliers.Join(e.address, message.Clock())
	}
	if u.config.Breaker != nil && u.config.BreakEach {
		e.breaker = u.newBreaker(e.address)
	}
	if u.config.Protocol == HTTP2 || u.config.Protocol == Auto && c.Secure {
		e.h2 = newMultiplex(e, &u.config)
	}
	return e
}

// Address is host:port.
func (e *Endpoint) Address() string { return e.address }

// Weight is the endpoint's share among its peers.
func (e *Endpoint) Weight() int { return e.weight }

// Zone is where the endpoint stands, or "".
func (e *Endpoint) Zone() string { return e.zone }

// Priority is the endpoint's level; 0 is used first.
func (e *Endpoint) Priority() int { return e.priority }

// ejections is how often the endpoint was ejected so far.
func (e *Endpoint) ejections() int {
	if e.member == nil {
		return 0
	}
	return e.member.View(message.Clock()).Ejections
}

// Active is the number of exchanges under way.
func (e *Endpoint) Active() int64 { return e.active.Load() }

// Connections tells how many connections are open, and how many of them idle.
func (e *Endpoint) Connections() (open, idle int) {
	open, idle = e.pool.size()
	if e.h2 != nil {
		open2, idle2 := e.h2.size()
		open, idle = open+open2, idle+idle2
	}
	return open, idle
}

// config is what the endpoint was made of.
func (e *Endpoint) config() EndpointConfig {
	return EndpointConfig{Address: e.address, Secure: e.secure, Weight: e.weight, Zone: e.zone, Priority: e.priority}
}

// same says whether a configuration is that of this endpoint.
func (e *Endpoint) same(c *EndpointConfig) bool {
	return e.address == c.Address && e.weight == max(c.Weight, 1) && e.zone == c.Zone && e.priority == c.Priority && e.secure == c.Secure
}

// spared says whether an endpoint that began a short while ago is passed over this time:
// its chance grows from a tenth to the whole.
func (e *Endpoint) spared(u *Upstream, now int64) bool {
	began := e.began.Load()
	if began == 0 {
		return false
	}
	age := now - began
	if age >= int64(u.config.SlowStart) {
		return false
	}
	return rand.Float64() > max(0.1, float64(age)/float64(u.config.SlowStart))
}

func (e *Endpoint) close() {
	e.gone.Store(true)
	if e.h2 != nil {
		e.h2.close()
	}
	e.pool.close()
}

// enter and leave enclose an exchange's use of a connection. leave is called by whoever
// ends it: the pool that gets the connection back, when the answer's last byte was read.
func (e *Endpoint) enter() {
	e.active.Add(1)
	e.pool.upstream.active.Add(1)
}

func (e *Endpoint) leave() {
	e.active.Add(-1)
	e.pool.upstream.active.Add(-1)
}

// roundTrip sends a request over a connection of this endpoint. A request that
// names no host gets the endpoint's, for this try only.
func (e *Endpoint) roundTrip(conn *http1.ClientConn, x *message.Exchange, req *message.Request, resp *message.Response) *http1.Failure {
	e.enter()
	returned := false
	defer e.panicked(conn, &returned)
	nameless := req.Authority == ""
	if nameless {
		req.Authority = e.address
	}
	failure := conn.RoundTrip(x, req, resp)
	if nameless {
		req.Authority = ""
	}
	returned = true
	return failure
}

// panicked gives up a connection on which a panic passed by, from a body that a
// policy has wrapped, say: nobody else would.
func (e *Endpoint) panicked(conn *http1.ClientConn, returned *bool) {
	if !*returned {
		conn.Close()
		e.Dead(conn)
	}
}

// Idle implements http1.ConnPool.
func (e *Endpoint) Idle(c *http1.ClientConn) {
	e.leave()
	e.pool.giveBack(c)
}

// Dead implements http1.ConnPool.
func (e *Endpoint) Dead(*http1.ClientConn) {
	e.leave()
	e.pool.forget()
}
