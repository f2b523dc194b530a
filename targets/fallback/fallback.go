// Package fallback asks something else when a target fails: another upstream, or a fixed answer.
//
// What is around it decides nothing for the target within: its retries, breakers and
// queues have had their say when the fallback looks at what came of it. Then the next
// choice is asked, if the time that the request has is not over and it is safe.
package fallback

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/internal/reserved"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the target fallback.
var Kind = target.Define("fallback", files, build)

// fallback is one fallback target.
type fallback struct {
	first   func(x *message.Exchange) error
	on      conditions
	choices []choice
	methods []string // that may be sent again although they are not idempotent
	body    int64    // longest body that is kept, so that it can be sent again
	field   string   // of the answer; "" for none
}

// choice is what is asked in the place of what failed.
type choice struct {
	name  string // of the upstream, or the kind of the target
	serve func(x *message.Exchange) error
	// asks says that the request goes to an origin. Otherwise it does not matter what became of
	// it before.
	asks  bool
	count *meter.Counter
}

func build(c *Config, env *target.Env) (target.Handler, error) {
	var errs []error
	f := &fallback{methods: c.Methods, body: c.Body.Bytes(), field: c.Header}
	first, err := env.Build(&c.Nested)
	errs = append(errs, err)
	f.first = first.Serve
	if f.on, err = compile(c.On); err != nil {
		errs = append(errs, unit.At("on", err))
	}
	if c.Header != "" {
		if why := reserved.Why(c.Header); why != "" {
			errs = append(errs, unit.Problem("header", c.Header+" cannot be set here: "+why))
		}
	}
	keeps := false
	for i := range c.To {
		h, err := env.Build(&c.To[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name := c.To[i].Kind()
		if name == "upstream" {
			name = h.Upstreams[0]
			if len(first.Upstreams) == 1 && first.Upstreams[0] == name && c.Kind() == "upstream" {
				errs = append(errs, unit.Problem(fmt.Sprintf("to[%d]", i), name+" is the upstream that has failed by then: name another one"))
			}
		}
		asks := len(h.Upstreams) > 0
		keeps = keeps || asks
		f.choices = append(f.choices, choice{name: name, serve: h.Serve, asks: asks, count: counter(env, name)})
	}
	if err := errors.Join(errs...); err != nil {
		return target.Handler{}, err
	}
	if !keeps || !f.on.afterSent() {
		f.body = 0
	}
	return target.Handler{Serve: f.serve, Words: f.words(c)}, nil
}

// words say what the settings mean, for explain.
func (f *fallback) words(c *Config) []string {
	var names []string
	asks := false
	for i := range f.choices {
		names = append(names, f.choices[i].name)
		asks = asks || f.choices[i].asks
	}
	words := []string{"asks " + strings.Join(names, ", then ") + " where that fails"}
	if asks {
		methods := ""
		if len(f.methods) > 0 {
			methods = " or " + strings.Join(f.methods, " or ")
		}
		words = append(words, fmt.Sprintf("what an origin may have seen goes to another one only if the method is idempotent%s, and the body no longer than %s", methods, c.Body))
	}
	return words
}

func counter(env *target.Env, to string) *meter.Counter {
	if env.Metrics == nil {
		return new(meter.Counter)
	}
	return env.Metrics.Counter("sluice_fallbacks_total", "Requests for which something else was asked because the target had failed, by route and what was asked.",
		target.Label{Name: "route", Value: env.Route}, target.Label{Name: "to", Value: to})
}

// serve costs a comparison where the target does not fail, and no allocation in any case.
func (f *fallback) serve(x *message.Exchange) error {
	if err := f.keepBody(x); err != nil {
		return err
	}
	deadline, tries := x.Deadline, x.Facts.Tries
	err := f.first(x)
	for i := range f.choices {
		cause := f.on.cause(x, err)
		if cause.text == "" || over(x, deadline) {
			return err
		}
		c := &f.choices[i]
		if c.asks && !f.again(x, cause, tries) {
			continue
		}
		f.prepare(x, deadline)
		c.count.Add(x.Shard, 1)
		x.Facts.Fallback, x.Facts.FallbackCause = c.name, cause.text
		err = c.serve(x)
		if f.field != "" && err == nil {
			x.Response.Header.Set(f.field, c.name)
		}
	}
	return err
}

// over says that there is nobody or no time for a further choice. The deadline is that of
// before: a target may have set its own, whose end is a reason for a fallback and not
// against it.
func over(x *message.Exchange, deadline time.Time) bool {
	if x.Wire().Started() || x.Wire().Gone() {
		return true
	}
	return past(deadline) || past(x.ClientDeadline)
}

func past(deadline time.Time) bool { return !deadline.IsZero() && time.Until(deadline) <= 0 }

// again says whether the request may go to another origin: it is whole, and no origin has seen
// it or it may be processed twice. A gRPC status that somebody has named says that, too: all
// its calls are POST, and who names one knows what it means for the service.
func (f *fallback) again(x *message.Exchange, cause cause, tries int) bool {
	unseen := x.Facts.Tries == tries
	if !x.Request.Rewind() && !unseen {
		return false
	}
	return unseen || cause.named || f.repeatable(x.Request.Method)
}

func (f *fallback) repeatable(method string) bool {
	return message.Idempotent(method) || slices.Contains(f.methods, method)
}

// prepare empties the answer, so that the next choice can fill it.
func (f *fallback) prepare(x *message.Exchange, deadline time.Time) {
	x.Response.Drop()
	x.Deadline = deadline
	if client := x.ClientDeadline; !client.IsZero() && (deadline.IsZero() || client.Before(deadline)) {
		x.Deadline = client
	}
	x.Times.Waited = true // The next try begins now, and not with the exchange.
}

// keepBody reads a body that is short enough to be kept, where it may have to be sent again.
// One whose length is not known is not waited for: it is kept where all of it is there, as it is
// of most calls of gRPC.
func (f *fallback) keepBody(x *message.Exchange) error {
	if x.Request.Body == nil || f.body == 0 || !f.repeats(&x.Request) {
		return nil
	}
	x.Times.Waited = true
	return x.Request.KeepBody(f.body)
}

// repeats says whether a request may go to another origin when one has seen it.
func (f *fallback) repeats(req *message.Request) bool {
	return f.repeatable(req.Method) || f.on.answers.HasGRPC() && message.IsGRPC(req)
}
