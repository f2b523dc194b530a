// Package target is what the author of a target imports. A target answers what
// the policies of a route let through. It is a folder under targets/ with one
// exported variable, Kind, made by Define.
package target

import (
	"embed"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/internal/keep"
	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
)

// RoundTripper asks an origin; *upstream.Upstream is one. It fills resp. The
// error is a *message.Problem.
type RoundTripper interface {
	Name() string
	RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error
}

// Handler is one target on one route. Serve is called by the goroutines of many
// exchanges at once and fills x.Response; its error is a *message.Problem, or
// becomes an internal_error.
type Handler struct {
	Serve func(x *message.Exchange) error
	// Close runs once, when no exchange uses this target any more; may be nil. Targets
	// within this one are closed after it.
	Close func() error
	// Upstreams names the upstreams that Serve may ask, for explain. Those of targets within
	// this one are added to it.
	Upstreams []string
	// Words are what explain says of the target beside its settings, a line each. Those of
	// targets within this one follow. Only a dry build needs them.
	Words []string
}

// Rollout is a target that changes by itself while the configuration stays, and that
// operators see and steer. Its methods may be called on any goroutine.
type Rollout interface {
	// Start runs when the configuration that has the target is about to be in force and
	// nothing can come between, at each reload that keeps it, too.
	Start()
	// Remove runs when a configuration in which the route has no roll-out is about to be in force and
	// nothing can come between: what is kept on disk is no more, so that a later one of the same names
	// begins anew. It runs before Close.
	Remove()
	// Release runs when another process takes over: it decides from then on.
	Release()
	View() canary.View
	// Steer does what an operator wants. The error is a *canary.Refusal where the roll-out
	// is not in a state for it.
	Steer(canary.Action) error
}

// Label is one label of a metric.
type Label = meter.Label

// Metrics hands out counters; asking twice for one name and labels returns the
// same counter, so counts survive a reload.
type Metrics interface {
	Counter(name, help string, labels ...Label) *meter.Counter
}

// Env is what a target is given to be built with.
type Env struct {
	Route  string
	Logger *slog.Logger
	// Metrics is where counters come from.
	Metrics Metrics
	// Upstream finds an upstream by name; the error names the nearest one.
	Upstream func(name string) (RoundTripper, error)
	// Build makes a target that stands within the settings. Who asked for it calls its Serve,
	// and neither closes it nor lists its upstreams: both is done for all targets of a route.
	// The error has its place already and is returned as it is, or joined with others.
	Build func(nested *Nested) (Handler, error)
	// Dry says that the configuration is only checked: nothing may be opened.
	Dry bool
	// Folder is where relative paths of the configuration begin.
	Folder string

	Lease *keep.Lease // what Keep has taken for this target
	// Rollouts collects those of this route.
	Rollouts *[]Rollout
}

// File is the path of a file or folder that the configuration names.
func (e *Env) File(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(e.Folder, name)
}

// Operate shows a roll-out to operators.
func (e *Env) Operate(r Rollout) {
	if e.Rollouts != nil {
		*e.Rollouts = append(*e.Rollouts, r)
	}
}

// Keep returns what was opened under this key by the target of the same route before
// the reload, and opens it if there is none. It is closed when no snapshot uses it any
// more. Targets are built by one goroutine at a time. The key begins with the kind's
// name. It is not called where env.Dry is set.
func Keep[T io.Closer](env *Env, key string, open func() (T, error)) (T, error) {
	return keep.Open(env.Lease, env.Route+"\x00target\x00"+key, open)
}

// Decoder fills a settings value from the configuration; config.Node is one.
type Decoder interface{ Decode(into any) error }

// Kind is a kind of target. It is immutable.
type Kind struct {
	Name  string
	Files embed.FS // README.md and schema.json

	settings func() any
	build    func(settings any, env *Env) (Handler, error)
	problems []*message.Problem
}

// Define makes a Kind. C is its settings: what stands behind the target's name in
// a route, be it a struct, a list or a single word.
func Define[C any](name string, files embed.FS, build func(c *C, env *Env) (Handler, error), problems ...*message.Problem) Kind {
	return Kind{
		Name:     name,
		Files:    files,
		settings: func() any { return new(C) },
		build:    func(settings any, env *Env) (Handler, error) { return build(settings.(*C), env) },
		problems: problems,
	}
}

// NewSettings returns a pointer to an empty settings value, for the schema.
func (k *Kind) NewSettings() any { return k.settings() }

// Problems lists what the target answers with.
func (k *Kind) Problems() []*message.Problem { return k.problems }

// Build decodes the settings and makes the handler.
func (k *Kind) Build(settings Decoder, env *Env) (Handler, error) {
	c := k.settings()
	if err := settings.Decode(c); err != nil {
		return Handler{}, err
	}
	return k.build(c, env)
}
