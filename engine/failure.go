package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// fail turns an error into the exchange's problem.
func (p *passage) fail(err error) {
	var problem *message.Problem
	if !errors.As(err, &problem) {
		problem = message.Internal
		p.log("error", err)
	}
	p.x.Deny(problem)
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
	if p.step != nil {
		name = p.step.Kind
	}
	if skipped, ok := p.engine.faults.Allow(what+" "+name, p.x.Now()); ok {
		p.engine.logger.Error(what, "policy", name, "route", p.x.Facts.Route, "request_id", p.x.Facts.RequestID,
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

// answerProblem fills x.Response with the problem document (RFC 9457). Fields that
// a policy has set before it refused stay.
func (p *passage) answerProblem() {
	x, problem := p.x, p.x.Problem()
	x.Response.CloseBody()
	x.Response.Tunnel = nil
	x.Response.Status = problem.Status
	if problem.Status == message.ClientGone.Status {
		x.Response.Status = message.BadRequest.Status // 499 is for logs: there is nobody to read it.
	}
	x.Response.Header.Set("Content-Type", "application/problem+json")
	x.Response.SetBody(appendProblem(nil, problem, x.Facts.RequestID))
}

// replaceAnswer puts the problem in the place of an answer that was there. Of that
// nothing may be left.
func (p *passage) replaceAnswer() {
	if t := p.x.Response.Tunnel; t != nil {
		_ = t.Close()
	}
	p.x.Response.CloseBody()
	p.x.Response.Reset()
	p.answerProblem()
}

// rescue ends the request phase after a panic.
func (p *passage) rescue() {
	if r := recover(); r != nil {
		p.panicked(r)
	}
}

// rescueResponse ends one OnResponse after a panic; the others still run.
func (p *passage) rescueResponse() {
	if r := recover(); r != nil {
		p.panicked(r)
		p.replaceAnswer()
	}
}

// rescueSend ends an answer whose body panicked, in a policy that wraps it. Nobody
// knows what was written: the connection is cut.
func (p *passage) rescueSend() {
	if r := recover(); r != nil {
		p.panicked(r)
		p.x.Response.CloseBody()
		p.x.Wire().Abort()
	}
}

// rescueDone ends one OnDone after a panic.
func (p *passage) rescueDone() {
	if r := recover(); r != nil {
		p.panicked(r)
	}
}

// panicked counts and logs a panic and makes it the exchange's problem.
func (p *passage) panicked(reason any) {
	name, problem := "target", message.TargetPanic
	switch {
	case p.inTarget:
	case p.step != nil:
		name, problem = p.step.Kind, message.PolicyPanic
		p.step.Metrics.Panics.Add(p.x.Shard, 1)
	default:
		name, problem = "engine", message.Internal
	}
	p.engine.logger.Error("panic", "in", name, "route", p.x.Facts.Route, "request_id", p.x.Facts.RequestID,
		"reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
	p.x.Deny(problem)
}

// serveWithout answers while there is no configuration.
func (e *Engine) serveWithout(x *message.Exchange) {
	x.Deny(message.ServiceShuttingDown)
	p := passage{engine: e, snapshot: &Snapshot{}, x: x}
	p.answerProblem()
	_ = x.Wire().Respond(x)
	e.gateway.Problem(x.Shard, x.Problem())
}
