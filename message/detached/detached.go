// Package detached makes exchanges that no client waits for directly: a second try of a
// request beside the first, a copy of it for another upstream, a part of an answer that is put
// together from several.
//
// A Call has a copy of what a request needs. The exchange that it was copied from may end, and its
// memory carry the next one, while the call goes on.
package detached

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/message"
)

// Call is an exchange without a connection. It implements message.Wire, for its own exchange, and
// message.Canceler.
//
// Who called New owns it: like any exchange it is used by one goroutine at a time, but for Cancel.
// Another one that may call Cancel is given a hold of its own with Share. Each holder calls Free once
// and does not touch the call any more; the last one ends it.
type Call struct {
	x       message.Exchange
	body    []byte // what x.Request.Body sends
	started bool
	dropped int64 // bytes of the answer that Respond has read
	holders atomic.Int32

	mu   sync.Mutex
	on   message.Canceler // what is awaited; guarded by mu
	gone atomic.Bool      // set with mu held
}

// keptBody is the room for a body that a call keeps for the next one.
const keptBody = 64 << 10

var calls = sync.Pool{New: func() any { return new(Call) }}

// New copies a request, and of the exchange to which it belongs what origins, balancers and templates
// look at: the client, the facts, when it began, its deadline. req may be &from.Request or another
// one. It runs on the goroutine that owns from.
//
// A body is copied if it is in memory (message.Request.Whole); else the call has none, and SetBody can
// give it one. What the copy does not have: the protocol that the client wants to switch to, rooms
// of policies, a problem, the tries made so far.
func New(from *message.Exchange, req *message.Request) *Call {
	c := calls.Get().(*Call)
	c.holders.Store(1)
	x := &c.x
	x.Begin(c)
	x.Client, x.Facts, x.Shard = from.Client, from.Facts, from.Shard
	x.Facts.Upstream, x.Facts.UpstreamGroup, x.Facts.Endpoint, x.Facts.Tries = "", "", "", 0
	x.Facts.Fallback, x.Facts.FallbackCause = "", ""
	x.Times.Started, x.Deadline, x.ClientDeadline = from.Times.Started, from.Deadline, from.ClientDeadline
	to := &x.Request
	to.Method, to.Scheme, to.Authority = req.Method, req.Scheme, req.Authority
	to.Path, to.RawPath, to.Query, to.HasQuery = req.Path, req.RawPath, req.Query, req.HasQuery
	to.Protocol = req.Protocol
	to.Header.CopyFrom(&req.Header)
	if b, ok := req.Body.(*message.Bytes); ok {
		c.SetBody(b.Data())
	}
	x.Response.Reset()
	return c
}

// SetBody makes a copy of data the body of the request. It can be sent again.
func (c *Call) SetBody(data []byte) {
	c.body = append(c.body[:0], data...)
	c.x.Request.Hold(c.body)
	c.x.Request.Rewind()
}

// Exchange is the call's own exchange, valid until Free. Its Response is filled by whoever answers,
// such as upstream.RoundTrip(x, &x.Request, &x.Response).
func (c *Call) Exchange() *message.Exchange { return &c.x }

// Share gives somebody else a hold on the call. It is called by one who has one.
func (c *Call) Share() { c.holders.Add(1) }

// Free gives the caller's hold back. The last one closes the body of the answer, if nobody did, and
// gives the memory back: so whoever reads the answer must have a hold.
func (c *Call) Free() {
	if c.holders.Add(-1) > 0 {
		return
	}
	c.closeAnswer()
	c.x.Reset()
	if cap(c.body) > keptBody {
		c.body = nil
	}
	c.started, c.dropped = false, 0
	c.on = nil
	c.gone.Store(false)
	calls.Put(c)
}

func (c *Call) closeAnswer() {
	if t := c.x.Response.Tunnel; t != nil {
		_ = t.Close()
		c.x.Response.Tunnel = nil
	}
	c.x.Response.CloseBody()
}

// Cancel implements message.Canceler: whatever the call waits for, now or later, ends, and Gone says
// true. It may be called by any goroutine that has a hold, and more than once. It does not wait.
func (c *Call) Cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone.Store(true)
	if c.on != nil {
		c.on.Cancel()
		c.on = nil
	}
}

// Await implements message.Wire. A call that was cancelled waits for nothing.
func (c *Call) Await(on message.Canceler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Load() {
		on.Cancel()
		return
	}
	c.on = on
}

// Arrived implements message.Wire.
func (c *Call) Arrived() {
	c.mu.Lock()
	c.on = nil
	c.mu.Unlock()
}

// Gone implements message.Wire: it says whether the call was cancelled.
func (c *Call) Gone() bool { return c.gone.Load() }

// Respond implements message.Wire: it reads the answer to its end and drops it, so that its
// connection can be used again.
func (c *Call) Respond(x *message.Exchange) error {
	c.started = true
	defer c.closeAnswer()
	if x.Response.Body == nil {
		return nil
	}
	err := c.drain(x.Response.Body)
	if err == nil {
		return nil
	}
	if p, ok := err.(*message.Problem); ok {
		return p
	}
	return message.UpstreamBodyBroken.WithDetail(err.Error())
}

func (c *Call) drain(body message.Body) error {
	for {
		chunk, err := body.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.dropped += int64(len(chunk))
	}
}

// Started implements message.Wire.
func (c *Call) Started() bool { return c.started }

// Abort implements message.Wire. There is no connection to end, so whatever goes on ends.
func (c *Call) Abort() { c.Cancel() }

// Inform implements message.Wire: nobody is there to be informed.
func (c *Call) Inform(int, *message.Header) {}

// LendBody, StopBody and ReturnBody implement message.Wire. A body in memory keeps nobody waiting, so
// there is nothing to stop.
func (c *Call) LendBody() {}

// StopBody implements message.Wire.
func (c *Call) StopBody() {}

// ReturnBody implements message.Wire.
func (c *Call) ReturnBody() {}

// BytesIn implements message.Wire: it is the length of the request's body.
func (c *Call) BytesIn() int64 { return max(c.x.Request.BodyLength(), 0) }

// BytesOut implements message.Wire: it is what Respond has read.
func (c *Call) BytesOut() int64 { return c.dropped }
