package upstream

import (
	"sync/atomic"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// Endpoint is one address of an upstream, with its connections.
type Endpoint struct {
	address string
	weight  int
	index   int
	secure  bool
	active  atomic.Int64 // exchanges under way
	pool    pool
	h2      *multiplex // nil with HTTP/1.1
}

func newEndpoint(u *Upstream, c EndpointConfig) *Endpoint {
	e := &Endpoint{address: c.Address, weight: max(c.Weight, 1), index: len(u.endpoints), secure: c.Secure}
	e.pool.init(u, e)
	if u.config.Protocol == HTTP2 {
		e.h2 = newMultiplex(e, &u.config)
	}
	return e
}

// Address is host:port.
func (e *Endpoint) Address() string { return e.address }

// Weight is the endpoint's share among its peers.
func (e *Endpoint) Weight() int { return e.weight }

// Active is the number of exchanges under way.
func (e *Endpoint) Active() int64 { return e.active.Load() }

// Connections tells how many connections are open, and how many of them idle.
func (e *Endpoint) Connections() (open, idle int) {
	if e.h2 != nil {
		return e.h2.size()
	}
	return e.pool.size()
}

func (e *Endpoint) close() {
	if e.h2 != nil {
		e.h2.close()
	}
	e.pool.close()
}

// roundTrip sends a request over a connection of this endpoint. A request that
// names no host gets the endpoint's, for this try only.
func (e *Endpoint) roundTrip(conn *http1.ClientConn, x *message.Exchange, req *message.Request, resp *message.Response) *http1.Failure {
	e.active.Add(1)
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
	e.active.Add(-1)
	e.pool.giveBack(c)
}

// Dead implements http1.ConnPool.
func (e *Endpoint) Dead(*http1.ClientConn) {
	e.active.Add(-1)
	e.pool.forget()
}
