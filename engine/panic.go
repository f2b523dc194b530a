package engine

import (
	"fmt"
	"runtime/debug"

	"github.com/sluice-gateway/sluice/message"
)

// A panic in a policy or a target costs its exchange and nothing else: each place
// that calls them has one of these functions deferred.

// rescue ends the request phase after a panic.
func (p *passage) rescue() {
	if r := recover(); r != nil {
		inTarget := p.inTarget
		p.panicked(r)
		if inTarget {
			p.discard()
		}
	}
}

// rescueResponse ends one OnResponse after a panic; the others still run.
func (p *passage) rescueResponse() {
	if r := recover(); r != nil {
		p.panicked(r)
		p.replaceAnswer()
	}
}

// rescueSend ends an answer whose body panicked: that of the policy that changed
// it last, or else the target's.
func (p *passage) rescueSend() {
	if r := recover(); r != nil {
		p.step, p.inTarget = p.answerer, p.answerer == nil
		p.panicked(r)
	}
}

// rescueDone ends one OnDone after a panic. The answer has been sent, so it is not
// the exchange that failed.
func (p *passage) rescueDone() {
	if r := recover(); r != nil {
		p.report(r)
	}
}

// rescueClose ends the closing of a body after a panic.
func (p *passage) rescueClose() {
	if r := recover(); r != nil {
		p.report(r)
	}
}

// leave lets go of the snapshot, last of all. What it recovers from is a mistake of
// the engine itself, or of what counts and logs.
func (p *passage) leave() {
	if r := recover(); r != nil {
		p.step, p.inTarget = nil, false
		p.report(r)
		p.x.Wire().Abort()
	}
	if !p.postponed {
		p.snapshot.unpin(p.x.Shard)
	}
}

// panicked makes a panic the exchange's problem.
func (p *passage) panicked(reason any) {
	p.x.Deny(p.report(reason))
	p.inTarget, p.step = false, nil
}

// report counts and logs a panic, and says which problem it is.
func (p *passage) report(reason any) *message.Problem {
	name, problem := "engine", message.Internal
	switch {
	case p.inTarget:
		name, problem = "target", message.TargetPanic
	case p.step != nil:
		name, problem = p.step.Kind, message.PolicyPanic
		p.step.Metrics.Panics.Add(p.x.Shard, 1)
	}
	p.engine.logPanic(name, p.x.Facts.Route, p.x.Facts.RequestID, p.x.Now(), reason)
	return problem
}

// logPanic writes a panic with its stack, at most once a second for each place.
func (e *Engine) logPanic(in, route, requestID string, now int64, reason any) {
	if skipped, ok := e.faults.Allow("panic "+in, now); ok {
		e.logger.Error("panic", "in", in, "route", route, "request_id", requestID,
			"reason", fmt.Sprint(reason), "stack", string(debug.Stack()), "not_logged_before", skipped)
	}
}

// changed says whether a body was replaced by another one.
func changed(before, after message.Body) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true // Bodies of a type that cannot be compared are never the same.
		}
	}()
	return before != after
}

// guardRequestBody puts a guard before a request body that a policy has changed: a
// streamed body is read by another goroutine, where a panic would end the process.
// A body in memory needs none and can be sent again.
func (p *passage) guardRequestBody() {
	req := &p.x.Request
	if _, ok := req.Body.(*message.Bytes); ok {
		return
	}
	x := p.x
	req.Body = &guardedBody{
		Body: req.Body, engine: p.engine, step: p.asker,
		shard: x.Shard, now: x.Now(), route: x.Facts.Route, requestID: x.Facts.RequestID,
	}
}

// guardedBody turns panics of a policy's body into errors. It costs one allocation,
// where a policy has wrapped the body anyway.
type guardedBody struct {
	message.Body
	engine    *Engine
	step      *Step
	shard     uint32
	now       int64
	route     string
	requestID string
	broken    bool
}

// Next implements message.Body.
func (g *guardedBody) Next() (chunk []byte, err error) {
	if g.broken {
		return nil, message.PolicyPanic
	}
	defer func() {
		if r := recover(); r != nil {
			g.caught(r)
			chunk, err = nil, message.PolicyPanic
		}
	}()
	return g.Body.Next()
}

// Ready implements message.Ready.
func (g *guardedBody) Ready() (yes bool) {
	ready, ok := g.Body.(message.Ready)
	if !ok || g.broken {
		return g.broken
	}
	defer func() {
		if r := recover(); r != nil {
			g.caught(r)
			yes = true // Next says why.
		}
	}()
	return ready.Ready()
}

// Trailer implements message.Body.
func (g *guardedBody) Trailer() (h *message.Header) {
	defer func() {
		if r := recover(); r != nil {
			g.caught(r)
			h = nil
		}
	}()
	return g.Body.Trailer()
}

func (g *guardedBody) caught(reason any) {
	g.broken = true
	g.step.Metrics.Panics.Add(g.shard, 1)
	g.engine.logPanic(g.step.Kind, g.route, g.requestID, g.now, reason)
}
