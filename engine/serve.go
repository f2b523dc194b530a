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
	arrived     bool
	contentType string // with which a gRPC call arrived; "" for all else
	postponed   bool   // the exchange goes on as a tunnel

	asker     *Step        // the last policy that changed the request's body
	answerer  *Step        // the last policy that changed the answer's body
	firstBody message.Body // the answer's body before that
}

// Serve implements message.Handler: the life of an exchange.
func (e *Engine) Serve(x *message.Exchange) {
	s := e.pin(x)
	if s == nil {
		e.serveWithout(x)
		return
	}
	p := passage{engine: e, snapshot: s, x: x}
	defer p.leave()
	p.decide()
	p.review()
	p.send()
	if p.x.Response.Tunnel != nil {
		p.postpone()
		return
	}
	p.done()
}

// decide finds the answer: policies, route, target. When it returns x.Response is
// filled or x.Problem is set.
func (p *passage) decide() {
	defer p.rescue()
	x, s := p.x, p.snapshot
	if x.Problem() != nil { // The wire refused the request.
		return
	}
	if !p.arrive(nil) || p.answerChallenge() {
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
	p.ask()
}

// request runs OnRequest of policies in order and says whether to go on.
func (p *passage) request(steps []Step, passed *int) bool {
	x := p.x
	for i := range steps {
		step := &steps[i]
		*passed = i + 1
		if step.Hooks.OnRequest == nil {
			continue
		}
		p.step = step
		body := x.Request.Body
		if verdict := step.Hooks.OnRequest(x); verdict != message.Next {
			if !p.judge(verdict) {
				return false
			}
		}
		if body != nil && changed(body, x.Request.Body) {
			p.asker = step
		}
	}
	p.step = nil
	return x.Problem() == nil // A policy that refuses means it, whatever it returned.
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
	x.Facts.Route, x.Facts.Precedence = p.route.Name, p.route.Precedence
	return p.checkUpgrade()
}

// ask calls the target. One that fails leaves nothing of what it had begun to
// answer but Retry-After.
func (p *passage) ask() {
	x := p.x
	call := boundGRPC(x)
	if x.Expired() {
		x.Deny(message.DeadlineExceeded)
		return
	}
	if p.asker != nil && x.Request.Body != nil {
		p.guardRequestBody()
	}
	p.inTarget = true
	err := p.route.Target.Serve(x)
	if err == nil && !complete(&x.Response) {
		err = errNoAnswer
	}
	if err != nil {
		p.failInTarget(err)
	} else if call && !x.Deadline.IsZero() && x.Response.Body != nil {
		x.Response.Body = &grpcBody{inner: x.Response.Body, x: x}
	}
	p.inTarget = false
}

// review lets the policies that were passed see the answer, last one first. A
// problem becomes an answer before, so that they can add to it.
func (p *passage) review() {
	if p.aborted {
		return
	}
	if p.x.Problem() == nil && !complete(&p.x.Response) {
		p.fail(errNoAnswer)
		p.discard()
	}
	p.step = nil
	if p.x.Problem() != nil {
		p.answerProblem()
	}
	p.firstBody = p.x.Response.Body
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
	x := p.x
	p.step = step
	before, body := x.Problem(), x.Response.Body
	if verdict := step.Hooks.OnResponse(x); verdict != message.Next {
		p.judge(verdict)
	}
	if after := x.Problem(); after != nil && after != before {
		p.replaceAnswer()
	} else if body != nil && changed(body, x.Response.Body) {
		p.answerer = step
	}
	p.step = nil
}

// send writes the answer. One that fails before its first byte is replaced by
// the problem; after that the connection is cut, so that nobody takes a part for
// the whole.
func (p *passage) send() {
	x := p.x
	if p.aborted {
		p.discard()
		x.Wire().Abort()
		return
	}
	if problem := x.Problem(); problem != nil && problem.Status == message.ClientGone.Status {
		p.closeAnswer() // Nobody is there to read it; the status is for logs.
		x.Wire().Abort()
		return
	}
	if p.respond() {
		return
	}
	if !x.Wire().Started() && !x.Wire().Gone() {
		p.replaceAnswer()
		if p.respond() {
			return
		}
	}
	p.closeAnswer()
	x.Wire().Abort()
}

// respond writes x.Response. If it says no, x.Problem tells why.
func (p *passage) respond() (whole bool) {
	defer p.rescueSend()
	if announce := p.x.Client.AltSvc; announce != "" {
		p.x.Response.Header.Set("Alt-Svc", announce) // In the place of the origin's, which is not about us.
	}
	if err := p.x.Wire().Respond(p.x); err != nil {
		p.fail(err)
		return false
	}
	return true
}

// done ends the exchange: OnDone for all that were passed, metrics, access log.
func (p *passage) done() {
	x := p.x
	if p.answerer != nil {
		p.closeAnswer() // The policy may have forgotten what stood there before.
	}
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
