// Package compile turns a document into a snapshot that the engine can run, or
// into a list of problems with their places. What did not change since the
// snapshot before is reused: the upstreams with their connections, and the
// routes with their policies.
package compile

import (
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/upstream"
)

// Options are what a compiler works with.
type Options struct {
	Policies []policy.Kind
	Targets  []target.Kind
	Gateway  *observe.Gateway
	Metrics  policy.Metrics
	Logger   *slog.Logger
	// InUse has the certificates that a listener serves, nil where it serves none: one that
	// has expired meanwhile must not stop a change of something else. It may be nil.
	InUse func(listener, address string) *certificates.Store
}

// Compiler compiles one document after the other. Compile is called by one goroutine at a
// time; snapshots are released on any.
type Compiler struct {
	options  Options
	policies map[string]*policy.Kind
	targets  map[string]*target.Kind
	names    []string // of policies
	kinds    []string // of targets
	metrics  map[string]*observe.PolicyMetrics
	keeper   *policy.Keeper
	chance   [32]byte // the secret of what is given none

	last   *Result
	number uint64 // of the last result

	mu        sync.Mutex // guards what follows, and the users of everything that snapshots share
	lifetimes lifetimes
}

// New returns a compiler with nothing to reuse.
func New(options Options) *Compiler {
	c := &Compiler{
		options:  options,
		policies: map[string]*policy.Kind{},
		metrics:  map[string]*observe.PolicyMetrics{},
		targets:  map[string]*target.Kind{},
		keeper:   policy.NewKeeper(),
		chance:   drawChance(),
	}
	for i := range options.Policies {
		k := &options.Policies[i]
		c.policies[k.Name] = k
		c.names = append(c.names, k.Name)
		c.metrics[k.Name] = options.Gateway.Policy(k.Name)
	}
	for i := range options.Targets {
		k := &options.Targets[i]
		c.targets[k.Name] = k
		c.kinds = append(c.kinds, k.Name)
	}
	return c
}

// Kept is the number of things that survive reloads: counters, caches, pools.
func (c *Compiler) Kept() int { return c.keeper.Len() }

// Result is a compiled document.
type Result struct {
	Document  *config.Document
	Snapshot  *engine.Snapshot
	Listeners []listen.Spec
	Upstreams []*upstream.Upstream
	Rollouts  []target.Rollout  // in the order of their routes
	Groups    []*upstream.Group // upstreams that are made of others
	// Warnings are no errors, but somebody should know: routes that can never win.
	Warnings config.Problems
	// Reused and Built count routes.
	Reused, Built int

	upstreams map[string]*sharedUpstream
	groups    map[string]*upstream.Group
	owned     []*sharedRoute // one for each entry of the document
	top       *topLevel

	number    uint64         // counts the results of a compiler
	next      *Result        // the one that was compiled after this one
	left      []*sharedRoute // what the one before has and this one has not
	abandoned bool
}

// Compile makes a snapshot of a document. The error is config.Problems, and then
// nothing has changed and nothing stays open. The snapshot must be swapped in or
// closed. pace, which may be nil, is called often, so that the caller can let
// others run.
func (c *Compiler) Compile(doc *config.Document, pace func()) (*Result, error) {
	return c.compile(doc, pace, false)
}

// Check says what Compile would, and opens nothing.
func Check(doc *config.Document, policies []policy.Kind, targets []target.Kind) (*Result, error) {
	registry := observe.NewRegistry()
	c := New(Options{
		Policies: policies,
		Targets:  targets,
		Gateway:  observe.NewGateway(registry, "", time.Now()),
		Metrics:  registry,
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	return c.compile(doc, nil, true)
}

func (c *Compiler) compile(doc *config.Document, pace func(), dry bool) (*Result, error) {
	if pace == nil {
		pace = func() {}
	}
	c.number++
	b := &build{
		compiler: c,
		doc:      doc,
		old:      c.last,
		pace:     pace,
		dry:      dry,
		result: &Result{
			number:    c.number,
			Document:  doc,
			upstreams: map[string]*sharedUpstream{},
			groups:    map[string]*upstream.Group{},
			owned:     make([]*sharedRoute, 0, len(doc.Routes)),
		},
	}
	b.run()
	if len(b.problems) > 0 {
		b.result.abandoned = true
		_ = b.result.release(c)
		return nil, b.problems.Err()
	}
	r := b.result
	r.Snapshot.Release = func() error { return r.release(c) }
	b.succeed()
	c.mu.Lock()
	c.lifetimes.opened(r.number)
	c.mu.Unlock()
	if !dry {
		c.last = r
	}
	return r, nil
}

// build is one compilation.
type build struct {
	compiler *Compiler
	doc      *config.Document
	old      *Result
	pace     func()
	dry      bool
	result   *Result
	problems config.Problems
}

func (b *build) run() {
	b.listeners()
	b.upstreams()
	b.topLevel()
	b.routes()
	if len(b.problems) == 0 {
		b.table()
	}
}

// add collects problems; err is one, several, or nil.
func (b *build) add(err error) {
	switch e := err.(type) {
	case nil:
	case *config.Problem:
		b.problems = append(b.problems, e)
	case config.Problems:
		b.problems = append(b.problems, e...)
	}
}

// listeners makes the specifications of sockets, and what a snapshot knows of them.
func (b *build) listeners() {
	r := b.result
	r.Snapshot = &engine.Snapshot{Hash: b.doc.Hash}
	r.Snapshot.Unmatched = b.compiler.options.Gateway.Route(observe.Unmatched)
	for _, item := range b.doc.Listeners {
		l := item.Value
		spec := listenSpec(l, filepath.Dir(b.doc.Main))
		if spec.TLS != nil {
			b.checkCertificates(item, spec.TLS, spec.ACME)
		}
		r.Listeners = append(r.Listeners, spec)
		r.Snapshot.Listeners = append(r.Snapshot.Listeners, engineListener(l))
	}
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, itoa(int(port)))
}
