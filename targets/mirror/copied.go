package mirror

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/detached"
)

// copied is one request that is copied. It belongs to the exchange until it has begun, and then
// to a goroutine of its own.
type copied struct {
	mirror *mirror
	call   *detached.Call
	body   []byte      // of a request whose body has streamed
	both   *comparison // nil: the answers are not compared
	shard  uint32
	state  atomic.Int32
}

// The states of a copy: who changes it from pending decides what becomes of it. The request's
// body may be taken by another goroutine than the one that owns the exchange.
const (
	pending int32 = iota
	begun
	givenUp
)

// begin sends the copy, when the whole request is there.
func (c *copied) begin(body []byte) {
	if !c.state.CompareAndSwap(pending, begun) {
		return
	}
	c.body = body
	c.mirror.done.Add(1)
	go c.run()
}

// settle is called when the answer to the client is there or can not be had, and says whether
// there is a copy. A request that has not arrived by then is not copied.
func (c *copied) settle() bool {
	c.giveUp(false)
	return c.state.Load() == begun
}

func (c *copied) giveUp(tooLarge bool) {
	if !c.state.CompareAndSwap(pending, givenUp) {
		return
	}
	count := c.mirror.counts.incomplete
	if tooLarge {
		count = c.mirror.counts.tooLarge
	}
	count.Add(c.shard, 1)
	c.call.Free()
	c.mirror.under.Add(-1)
}

// tee copies a request's body while the target takes it.
type tee struct {
	message.Body
	copied *copied
	length int64 // -1: not known
	taken  []byte
	over   bool // nothing more is copied
}

// Next implements message.Body.
func (t *tee) Next() ([]byte, error) {
	chunk, err := t.Body.Next()
	if t.over {
		return chunk, err
	}
	switch {
	case err == io.EOF:
		t.over = true
		t.copied.begin(t.taken)
	case err != nil, t.copied.state.Load() != pending:
		t.over, t.taken = true, nil
	case int64(len(t.taken)+len(chunk)) > t.copied.mirror.body:
		t.over, t.taken = true, nil
		t.copied.giveUp(true)
	default:
		t.taken = append(t.taken, chunk...)
		if int64(len(t.taken)) == t.length { // The end may never be asked for.
			t.over = true
			t.copied.begin(t.taken)
		}
	}
	return chunk, err
}

// Ready implements message.Ready.
func (t *tee) Ready() bool {
	r, ok := t.Body.(message.Ready)
	return ok && r.Ready()
}

// Complete implements message.Complete. Whoever was told a length does not ask for the end.
func (t *tee) Complete() int64 {
	body, ok := t.Body.(message.Complete)
	if !ok {
		return -1
	}
	length := body.Complete()
	if length >= 0 {
		t.length = length
	}
	return length
}

// run is the goroutine of a copy.
func (c *copied) run() {
	m := c.mirror
	defer m.done.Done()
	defer m.under.Add(-1)
	defer c.rescue()
	if c.ask() && c.both != nil {
		c.compare()
	}
}

// rescue keeps a mistake of ours from ending the process, as the engine does for exchanges.
func (c *copied) rescue() {
	if reason := recover(); reason != nil {
		c.mirror.counts.failed.Add(c.shard, 1)
		c.mirror.logger.Error("panic", "in", "mirror", "route", c.mirror.route, "reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
	}
}

// ask sends the copy and reads its answer to the end, and says whether there was one.
func (c *copied) ask() bool {
	m, call := c.mirror, c.call
	defer call.Free()
	if !m.enter(call) {
		return false
	}
	defer m.leave(call)
	x := call.Exchange()
	x.Times.Started = time.Now() // The request may have taken long to arrive.
	x.Deadline = x.Times.Started.Add(m.timeout)
	if m.field != "" {
		x.Request.Header.Set(m.field, "1")
	}
	if c.body != nil {
		call.SetBody(c.body)
		c.body = nil
	}
	err := m.to.RoundTrip(x, &x.Request, &x.Response)
	if err == nil && c.both != nil {
		c.both.keep(x)
		err = readAll(x.Response.Body, &c.both.copy, m.rules.body)
	} else if err == nil {
		err = call.Respond(x)
	}
	if err != nil {
		m.counts.failed.Add(x.Shard, 1)
		return false
	}
	m.counts.answered.Add(x.Shard, 1)
	return true
}

// readAll reads a body to its end and keeps no more of it than a limit.
func readAll(body message.Body, into *answer, limit int64) error {
	if body == nil {
		into.whole = true
		return nil
	}
	for {
		chunk, err := body.Next()
		if err == io.EOF {
			into.whole = true
			return nil
		}
		if err != nil {
			return err
		}
		into.add(chunk, limit)
	}
}

// compare waits for the answer to the client and counts what differs.
func (c *copied) compare() {
	m := c.mirror
	timer := time.NewTimer(time.Until(c.both.until))
	defer timer.Stop()
	result := difference{verdict: notCompared}
	select {
	case <-c.both.arrived:
		result = c.both.result()
	case <-timer.C:
	case <-m.closing:
	}
	m.counts.compared[result.verdict].Add(c.shard, 1)
	if result.verdict != equal && result.verdict != notCompared && m.rules.logs.allow(message.Clock()) {
		m.log(c.both, &result)
	}
}
