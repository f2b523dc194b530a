package engine

import (
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// passage is one exchange on its way through the engine: how far it came decides
// which policies hear of the answer.
type passage struct {
	engine   *Engine
	snapshot *Snapshot
	x        *message.Exchange
	route    *Route

	edgePassed  int // edge policies whose OnRequest was passed
	routePassed int // the same for the route's
	step        *Step
	inTarget    bool
	aborted     bool
}

// Serve implements message.Handler: the life of an exchange.
func (e *Engine) Serve(x *message.Exchange) {
	s := e.pin(x)
	if s == nil {
		e.serveWithout(x)
		return
	}
	p := passage{engine: e, snapshot: s, x: x}
	p.decide()
	p.review()
	p.send()
	p.done()
	s.unpin(x.Shard)
}

// decide finds the answer: policies, route, target. When it returns x.Response is
// filled or x.Problem is set.
func (p *passage) decide() {
	defer p.rescue()
	x, s := p.x, p.snapshot
	if x.Problem() != nil { // The wire refused the request.
		return
	}
	if !p.arrive() {
		return
	}
	if !p.request(s.Edge, &p.edgePassed) {
		return
	}
	if !p.match() {
		return
	}
	if !p.request(p.route.Steps, &p.routePassed) {
		return
	}
	p.inTarget = true
	if err := p.route.Target.Serve(x); err != nil {
		p.fail(err)
	}
	p.inTarget = false
}

// request runs OnRequest of policies in order and says whether to go on.
func (p *passage) request(steps []Step, passed *int) bool {
	for i := range steps {
		step := &steps[i]
		*passed = i + 1
		if step.Hooks.OnRequest == nil {
			continue
		}
		p.step = step
		if verdict := step.Hooks.OnRequest(p.x); verdict != message.Next {
			if !p.judge(verdict) {
				return false
			}
		}
	}
	p.step = nil
	return true
}

// judge acts on a verdict that is not Next and says whether to go on all the same.
func (p *passage) judge(verdict message.Verdict) bool {
	step, metrics := p.step, p.step.Metrics
	switch verdict {
	case message.Reply:
		metrics.Replies.Add(p.x.Shard, 1)
		return false
	case message.Abort:
		metrics.Aborts.Add(p.x.Shard, 1)
		p.aborted = true
		return false
	}
	metrics.Faults.Add(p.x.Shard, 1)
	return p.fault(step)
}

// match finds the route.
func (p *passage) match() bool {
	x, s := p.x, p.snapshot
	i, ok := s.Table.Match(&x.Request, x.Client.Listener, &x.Facts.Params)
	if !ok {
		p.noRoute()
		return false
	}
	p.route = s.Routes[i]
	x.Facts.Route = p.route.Name
	return p.checkUpgrade()
}

// review lets the policies that were passed see the answer, last one first. A
// problem becomes an answer before, so that they can add to it.
func (p *passage) review() {
	if p.aborted {
		return
	}
	if p.x.Problem() != nil {
		p.answerProblem()
	}
	if p.route != nil {
		p.response(p.route.Steps[:p.routePassed])
	}
	p.response(p.snapshot.Edge[:p.edgePassed])
}

func (p *passage) response(steps []Step) {
	for i := len(steps) - 1; i >= 0 && !p.aborted; i-- {
		if steps[i].Hooks.OnResponse != nil {
			p.respondOne(&steps[i])
		}
	}
}

func (p *passage) respondOne(step *Step) {
	defer p.rescueResponse()
	p.step = step
	before := p.x.Problem()
	if verdict := step.Hooks.OnResponse(p.x); verdict != message.Next {
		p.judge(verdict)
	}
	if after := p.x.Problem(); after != nil && after != before {
		p.replaceAnswer()
	}
	p.step = nil
}

// send writes the answer. One that fails before its first byte is replaced by
// the problem; after that the connection is cut, so that nobody takes a part for
// the whole.
func (p *passage) send() {
	defer p.rescueSend()
	x := p.x
	if p.aborted {
		x.Response.CloseBody()
		x.Wire().Abort()
		return
	}
	err := x.Wire().Respond(x)
	if err == nil {
		return
	}
	p.fail(err)
	if !x.Wire().Started() && !x.Wire().Gone() {
		p.replaceAnswer()
		_ = x.Wire().Respond(x)
	}
}

// done ends the exchange: OnDone for all that were passed, metrics, access log.
func (p *passage) done() {
	x := p.x
	x.Times.Done = time.Since(x.Times.Started)
	if p.route != nil {
		p.finish(p.route.Steps[:p.routePassed])
	}
	p.finish(p.snapshot.Edge[:p.edgePassed])
	metrics := p.snapshot.Unmatched
	if p.route != nil {
		metrics = p.route.Metrics
	}
	metrics.Done(x)
	if problem := x.Problem(); problem != nil {
		p.engine.gateway.Problem(x.Shard, problem)
	}
	if p.snapshot.Log != nil {
		p.snapshot.Log.Log(x)
	}
}

func (p *passage) finish(steps []Step) {
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].Hooks.OnDone != nil {
			p.finishOne(&steps[i])
		}
	}
}

func (p *passage) finishOne(step *Step) {
	p.step = step
	defer p.rescueDone()
	step.Hooks.OnDone(p.x)
}
