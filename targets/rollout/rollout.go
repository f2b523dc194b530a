// Package rollout moves requests from one upstream to another step by step, compares the
// two sides while it goes, and goes back by itself when the new one is worse.
//
// How far it goes is decided by internal/canary. This package asks the upstreams, counts,
// and keeps what must survive a reload (controller.go) and a restart (file.go).
package rollout

import (
	"embed"
	"errors"
	"time"

	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the target rollout.
var Kind = target.Define("rollout", files, build)

// rollout is the target on one route, in one snapshot. It is what operators steer.
type rollout struct {
	*controller
	from, to target.RoundTripper
	key      *template.Key
	plan     canary.Plan
	file     *file
}

func build(c *Config, env *target.Env) (target.Handler, error) {
	r := &rollout{plan: c.plan()}
	var errs [3]error
	r.from, errs[0] = find(env, "from", c.From)
	r.to, errs[1] = find(env, "to", c.To)
	r.key, errs[2] = template.ParseKey(c.Key)
	errs[2] = unit.At("key", errs[2])
	if err := errors.Join(errs[:]...); err != nil {
		return target.Handler{}, err
	}
	if env.Rollouts != nil && len(*env.Rollouts) > 0 {
		return target.Handler{}, errors.New("a route can have one rollout, and this is its second")
	}
	path := statePath(env, c)
	h := target.Handler{Serve: r.serve, Upstreams: []string{c.From, c.To}}
	if env.Dry {
		r.controller = newController(env, &r.plan)
		h.Words = append(c.words(), stateWords(path, &r.plan)...)
	} else if err := r.open(env, path); err != nil {
		return target.Handler{}, err
	}
	env.Operate(r)
	return h, nil
}

func find(env *target.Env, path, name string) (target.RoundTripper, error) {
	origin, err := env.Upstream(name)
	return origin, unit.At(path, err)
}

// open takes what the target before a reload has left: the controller where the sides and
// the steps are the same, and the file in any case. The controller comes first, so that it
// is closed first.
func (r *rollout) open(env *target.Env, path string) (err error) {
	r.controller, err = target.Keep(env, "rollout\x00"+r.plan.Identity(), func() (*controller, error) {
		return newController(env, &r.plan), nil
	})
	if err != nil {
		return err
	}
	r.file, err = target.Keep(env, "rollout file\x00"+path, func() (*file, error) { return openFile(path) })
	return unit.At("storage", err)
}

// Start is called when the configuration is about to be in force.
func (r *rollout) Start() { r.use(r.plan, r.file) }

func (r *rollout) serve(x *message.Exchange) error {
	if r.isNew(x) {
		return ask(x, r.to, &r.new)
	}
	return ask(x, r.from, &r.old)
}

// isNew chooses a side. A key that is below one share is below each larger one: nobody
// who is on the new side leaves it while it grows.
func (r *rollout) isNew(x *message.Exchange) bool {
	switch share := r.share.Load(); share {
	case 0:
		return false
	case canary.Whole:
		return true
	default:
		return int32(r.key.Draw(x, uint32(canary.Whole))) < share
	}
}

// ask sends the request to one side, and counts how it went. A request that fails is not
// sent to the other side: that would hide what is to be found out.
func ask(x *message.Exchange, origin target.RoundTripper, side *canary.Meter) error {
	err := origin.RoundTrip(x, &x.Request, &x.Response)
	if failed, took, known := outcome(x, err); known {
		side.Count(x.Shard, failed, took)
	}
	return err
}

// outcome says whether a side has failed, how long its answer's head took, and whether it
// can be told at all. What a client sees counts: an upstream that is broken off, is full or
// has no endpoint has failed, whoever says so. A client that left says nothing.
func outcome(x *message.Exchange, err error) (failed bool, took time.Duration, known bool) {
	if err == nil {
		failed = x.Response.Status >= 500 ||
			x.Response.Status == 200 && message.IsGRPC(&x.Request) && message.GRPCFailed(message.GRPCStatus(&x.Response.Header))
		return failed, x.Times.FirstByte, true
	}
	problem, ok := err.(*message.Problem)
	if !ok {
		return true, canary.Untimed, true
	}
	switch {
	case problem.Source == message.SourceClient, problem == message.OutOfDescriptors:
		return false, 0, false
	case problem == message.UpstreamTimeout, problem == message.DeadlineExceeded:
		return true, time.Since(x.Times.Started), true // At least so long.
	}
	return true, canary.Untimed, true
}
