package engine

import (
	"errors"
	"strings"

	"github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// fail turns an error into the exchange's problem.
func (p *passage) fail(err error) {
	var problem *message.Problem
	if !errors.As(err, &problem) || problem == nil {
		problem = message.Internal
		p.log("error", err)
	}
	if problem.Source == message.SourceUpstream && p.x.Expired() {
		// An origin that knows the deadline ends its work then: that is no failure of it.
		problem = message.DeadlineExceeded
	}
	p.x.Deny(problem)
}

// failInTarget is fail for a target. Of what it had begun to answer one field is left: when a
// client that was refused may come back.
func (p *passage) failInTarget(err error) {
	after := p.x.Response.Header.Get("Retry-After")
	p.fail(err)
	p.discard()
	if after != "" && p.x.Problem().Status == 503 {
		p.x.Response.Header.Set("Retry-After", after)
	}
}

// fault is a policy that could not decide: its on_fault setting does.
func (p *passage) fault(step *Step) (goOn bool) {
	err := p.x.TakeFault()
	p.log("fault", err)
	if step.OnFault == policy.FaultAllow {
		return true
	}
	p.x.Deny(message.PolicyFault.WithDetail("policy " + step.Kind + " could not decide"))
	return false
}

// log writes what went wrong on the way of an exchange, at most once a second for each
// kind of thing.
func (p *passage) log(what string, err error) {
	name := "engine"
	switch {
	case p.inTarget:
		name = "target"
	case p.step != nil:
		name = p.step.Kind
	}
	if skipped, ok := p.engine.faults.Allow(what+" "+name, p.x.Now()); ok {
		p.engine.logger.Error(what, "in", name, "route", p.x.Facts.Route, "request_id", p.x.Facts.RequestID,
			"error", err, "not_logged_before", skipped)
	}
}

// noRoute answers 404, or 405 where only the method does not fit (RFC 9110
// §15.5.6).
func (p *passage) noRoute() {
	methods := p.snapshot.Table.Methods(&p.x.Request, p.x.Client.Listener)
	if len(methods) == 0 {
		p.x.Deny(message.RouteNotFound)
		return
	}
	p.x.Response.Header.Set("Allow", strings.Join(methods, ", "))
	p.x.Deny(message.MethodNotAllowed)
}

// checkUpgrade lets through what the route allows. A WebSocket handshake that it
// does not allow is refused, because nothing else could answer it; other offers
// are ignored, as RFC 9110 §7.8 permits.
func (p *passage) checkUpgrade() bool {
	upgrade := p.x.Request.Upgrade
	if upgrade == "" {
		return true
	}
	for _, allowed := range p.route.Upgrades {
		if message.EqualFold(upgrade, allowed) {
			return true
		}
	}
	if message.EqualFold(upgrade, "websocket") {
		p.x.Deny(message.UpgradeNotAllowed)
		return false
	}
	p.x.Request.Upgrade = ""
	return true
}

// errNoAnswer is a policy or a target that says that there is an answer where
// there is none.
var errNoAnswer = errors.New("no answer was made: its status is not one that can be sent")

// complete says whether an answer can be sent.
func complete(resp *message.Response) bool {
	return resp.Status >= 200 && resp.Status <= 599 || resp.Status == 101 && resp.Tunnel != nil
}

// answerProblem fills x.Response with the problem document (RFC 9457), or with what gRPC
// has in its place. Fields that a policy has set before it refused stay.
func (p *passage) answerProblem() {
	x, problem := p.x, p.x.Problem()
	p.closeAnswer()
	if c := p.grpcCall(); c.form != grpcweb.None {
		answerGRPC(x, c, problem)
		return
	}
	x.Response.Status = problem.Status
	x.Response.Header.Set("Content-Type", "application/problem+json")
	x.Response.SetBody(appendProblem(nil, problem, x.Facts.RequestID))
}

// replaceAnswer puts the problem in the place of an answer that was there. Of that
// nothing may be left.
func (p *passage) replaceAnswer() {
	p.discard()
	p.answerProblem()
}

// discard empties the answer.
func (p *passage) discard() {
	p.closeAnswer()
	p.x.Response.Reset()
}

// closeAnswer closes what the answer holds open: a tunnel, its body, and the body
// that stood there before a policy changed it.
func (p *passage) closeAnswer() {
	resp := &p.x.Response
	if t := resp.Tunnel; t != nil {
		resp.Tunnel = nil
		_ = t.Close()
	}
	body, first := resp.Body, p.firstBody
	resp.Body, p.firstBody = nil, nil
	if p.answerer != nil {
		p.closeBody(body)
		body, p.answerer = first, nil
	}
	p.closeBody(body)
}

// closeBody closes a body, whose code may be a policy's.
func (p *passage) closeBody(body message.Body) {
	if body == nil {
		return
	}
	defer p.rescueClose()
	_ = body.Close()
}

// serveWithout answers while there is no configuration.
func (e *Engine) serveWithout(x *message.Exchange) {
	if x.Problem() == nil {
		x.Deny(message.ServiceShuttingDown)
	}
	p := passage{engine: e, snapshot: &Snapshot{}, x: x}
	p.answerProblem()
	_ = x.Wire().Respond(x)
	e.gateway.Problem(x.Shard, x.Problem())
}
