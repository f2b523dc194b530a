// Package faultinjection makes some answers late, wrong, broken or slow, so that people can test their clients.
//
// It stands where a cache would: behind all that protects an origin, so that only those who may
// call meet a fault, and in front of all that changes messages, so that its answers pass for
// an origin's, and bodies are slow as they leave. A request costs one throw of the dice and no allocation.
package faultinjection

import (
	"embed"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/internal/pause"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy fault_injection.
var Kind = policy.Define("fault_injection", policy.Serve, files, build, policy.Problems(injected))

// injected is the answer of abort; its status is that of the settings.
var injected = &message.Problem{
	Status: 503,
	Code:   "fault_injected",
	Title:  "A fault was injected to test clients",
	Source: message.SourcePolicy,
	Retry:  message.RetryYes,
}

// injector is one fault_injection policy.
type injector struct {
	dice dice

	delay      *chance
	time, more time.Duration // the delay, and how much longer it may be
	pauses     pause.Pool

	reset *chance

	abort      *chance
	problem    *message.Problem
	grpcStatus string // "" where the one that fits the problem is right
	web, text  []byte // the bodies of gRPC-Web that say so

	bandwidth *chance
	rate      int64
	room      policy.Local[slowBody]
}

// grpcMessage is what calls of gRPC are told.
const grpcMessage = "a fault was injected to test clients"

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	j := &injector{}
	if j.dice.seed = uint64(c.Seed); c.Seed == 0 {
		j.dice.seed = rand.Uint64()
	}
	counted := func(side uint64, share unit.Share, header *Header, fault string) *chance {
		counter := env.Metrics.Counter("sluice_fault_injection_injected_total", "Requests that met a fault of fault_injection.",
			policy.Label{Name: "route", Value: env.Place.Route}, policy.Label{Name: "fault", Value: fault})
		return newChance(side, share, header, counter)
	}
	if d := c.Delay; d != nil {
		j.delay = counted(sideDelay, d.Share, d.Header, "delay")
		j.time, j.more = d.Time.Std(), max(d.To.Std()-d.Time.Std(), 0)
	}
	if r := c.Reset; r != nil {
		j.reset = counted(sideReset, r.Share, r.Header, "reset")
	}
	if a := c.Abort; a != nil {
		j.abort = counted(sideAbort, a.Share, a.Header, "abort")
		j.problem = injected.WithDetail("")
		j.problem.Status = a.Status
		j.prepareGRPC(a.GRPCStatus)
	}
	hooks := policy.Hooks{OnRequest: j.onRequest}
	if b := c.Bandwidth; b != nil {
		j.bandwidth = counted(sideBandwidth, b.Share, b.Header, "bandwidth")
		j.rate = b.Rate.Bytes()
		j.room = policy.NewLocal[slowBody](env)
		hooks.OnResponse = j.onResponse
	}
	return hooks, nil
}

// prepareGRPC makes what calls are answered with, once.
func (j *injector) prepareGRPC(status GRPCStatus) {
	if status == 0 {
		return
	}
	j.grpcStatus = strconv.Itoa(int(status))
	body, at := grpcweb.BeginTrailer(nil)
	body = grpcweb.AppendField(body, "grpc-status", j.grpcStatus)
	body = grpcweb.AppendField(body, "grpc-message", grpcMessage)
	j.web = grpcweb.EndTrailer(body, at)
	j.text = grpcweb.AppendText(nil, j.web)
}

func (j *injector) onRequest(x *message.Exchange) message.Verdict {
	t := j.dice.throw()
	if j.delay.met(x, t) && !j.hold(x, t) {
		return x.Deny(message.ClientGone)
	}
	if j.reset.met(x, t) {
		return message.Abort
	}
	if j.abort.met(x, t) {
		return j.refuse(x)
	}
	if j.bandwidth.met(x, t) {
		j.room.At(x).rate = j.rate
	}
	return message.Next
}

// hold holds a request back, no longer than its deadline, and says whether its client had the patience.
func (j *injector) hold(x *message.Exchange, t throw) bool {
	d := j.time
	if j.more > 0 {
		d += time.Duration(t.side(sideDelayTime) % (uint64(j.more) + 1))
	}
	p := j.pauses.Take()
	x.Wire().Await(p)
	whole := p.For(x.Patience(d))
	x.Wire().Arrived()
	x.Times.Waited = true
	j.pauses.Give(p)
	return whole
}

// refuse answers in the place of the origin. A call of gRPC is told its status in a head without a
// body, gRPC-Web in a body that is a trailer; where none was set, the engine finds one that
// fits the problem. gRPC is not spoken over HTTP/1; gRPC-Web is.
func (j *injector) refuse(x *message.Exchange) message.Verdict {
	form, media, _ := grpcweb.Parse(x.Request.Header.Get("Content-Type"))
	if form == grpcweb.GRPC && strings.HasPrefix(x.Request.Protocol, "HTTP/1") {
		form = grpcweb.None
	}
	if form == grpcweb.None || j.grpcStatus == "" {
		return x.Deny(j.problem)
	}
	r := &x.Response
	r.Status, r.Shown = 200, j.problem.Status
	r.Header.Set("Content-Type", media)
	switch form {
	case grpcweb.GRPC:
		r.Header.Set("grpc-status", j.grpcStatus)
		r.Header.Set("grpc-message", grpcMessage)
	case grpcweb.Web:
		r.SetBody(j.web)
	case grpcweb.Text:
		r.SetBody(j.text)
	}
	return message.Reply
}

// onResponse slows down the body of an answer, whoever made it.
func (j *injector) onResponse(x *message.Exchange) message.Verdict {
	b := j.room.At(x)
	if b.rate == 0 || x.Response.Body == nil {
		return message.Next
	}
	*b = slowBody{inner: x.Response.Body, rate: b.rate}
	x.Response.Body = b
	return message.Next
}
