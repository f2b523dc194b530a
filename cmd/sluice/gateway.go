package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
	"github.com/sluice-gateway/sluice/upstream"
)

// gateway is everything that runs, put together.
type gateway struct {
	logger   *slog.Logger
	registry *observe.Registry
	metrics  *observe.Gateway
	engine   *engine.Engine
	compiler *compile.Compiler
	sockets  *listen.Set
	notify   *notifier
	started  time.Time

	applied    atomic.Pointer[compile.Result]
	lastReload atomic.Pointer[admin.Reload]
	draining   atomic.Bool

	applying  sync.Mutex // held by apply, and by a hand-over: they exclude each other
	retired   bool       // guarded by applying: another process has the sockets
	inherited *listen.Inheritance

	mu       sync.Mutex // apply holds it; guards what follows
	revision uint64
	log      *sharedLog
	admin    *admin.Server
}

func newGateway(logger *slog.Logger) *gateway {
	g := &gateway{logger: logger, registry: observe.NewRegistry(), started: time.Now(), notify: newNotifier(logger)}
	g.metrics = observe.NewGateway(g.registry, version, g.started)
	g.engine = engine.New(g.metrics, logger)
	g.sockets = listen.NewSet(g.engine, func(name string) listen.Metrics { return g.metrics.Listener(name) }, logger)
	g.engine.AnswerChallenges(g.sockets.Challenge)
	g.compiler = compile.New(compile.Options{
		Policies: policies.All(),
		Targets:  targets.All(),
		Gateway:  g.metrics,
		Metrics:  g.registry,
		Logger:   logger,
		InUse:    g.sockets.InUse,
	})
	g.metrics.UpstreamStates(g.upstreamStates)
	g.metrics.Floods(g.sockets.Floods, g.sockets.Resets)
	g.metrics.UpstreamFloods(g.upstreamFloods)
	g.metrics.Discoveries(g.discoveries)
	g.metrics.Loads(g.loads)
	g.metrics.Groups(g.groups)
	g.metrics.Rollouts(g.rolloutFigures)
	g.metrics.Certificates(g.certificates)
	g.metrics.CertificateProblems(g.certificateProblems)
	return g
}

// apply puts a document in force, all of it or nothing: it is compiled, its
// sockets and files are opened, and only then one pointer is swapped.
func (g *gateway) apply(doc *config.Document, pace func()) error {
	g.applying.Lock()
	defer g.applying.Unlock()
	if g.retired {
		return errRetired
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.applied.Load()
	began := time.Now()
	next, err := g.compiler.Compile(doc, pace)
	if err != nil {
		g.refused(err)
		return err
	}
	change, log, adminServer, err := g.open(next)
	if err != nil {
		_ = g.compiler.Abandon(next, before)
		g.refused(err)
		return err
	}
	for _, u := range next.Upstreams {
		u.Start()
	}
	g.awaitEndpoints(next.Upstreams)
	g.revision++
	next.Snapshot.Revision = g.revision
	next.Snapshot.Log = log.use()
	g.releaseWith(next.Snapshot, log)
	startRollouts(next)          // Before the first request comes, so that none goes to the wrong side.
	removeRollouts(before, next) // While nobody can close the configuration before, and with it what they know.
	g.engine.Swap(next.Snapshot)
	change.Commit()
	g.replaceAdmin(adminServer)
	if g.log != nil {
		g.log.drop(g.logger)
	}
	g.log = log
	g.applied.Store(next)
	g.settled(next, before, time.Since(began), pace)
	if before != nil {
		time.AfterFunc(doc.Drain.Removed.Std(), g.leaveRemoved)
	}
	return nil
}

// awaitEndpoints gives discovery the time that its configuration allows: all upstreams
// together wait no longer than the most patient one. Without endpoints an upstream
// answers 503 until its source tells some; the gateway as a whole is ready.
func (g *gateway) awaitEndpoints(upstreams []*upstream.Upstream) {
	for _, u := range upstreams {
		if !u.Await() {
			g.logger.Warn("an upstream has no endpoints yet", "upstream", u.Name())
		}
	}
}

// open opens what the configuration wants to have open. Nothing is in use yet.
func (g *gateway) open(next *compile.Result) (*listen.Change, *sharedLog, *admin.Server, error) {
	log, err := g.openLog(next.Document.Telemetry.AccessLog)
	if err != nil {
		return nil, nil, nil, err
	}
	adminServer, err := g.openAdmin(next.Document.Admin)
	if err != nil {
		log.drop(g.logger)
		return nil, nil, nil, err
	}
	change, err := g.sockets.Prepare(next.Listeners)
	if err != nil {
		log.drop(g.logger)
		if adminServer != nil && adminServer != g.admin {
			_ = adminServer.Shutdown(context.Background())
		}
		return nil, nil, nil, err
	}
	return change, log, adminServer, nil
}

// releaseWith gives the log back when the snapshot is closed.
func (g *gateway) releaseWith(s *engine.Snapshot, log *sharedLog) {
	release := s.Release
	s.Release = func() error {
		log.drop(g.logger)
		return release()
	}
}

// settled tells the world which configuration is in force.
func (g *gateway) settled(next, before *compile.Result, took time.Duration, pace func()) {
	now := time.Now()
	g.metrics.Applied(g.revision, next.Document.Hash, now)
	routes := map[string]bool{} // Only those that count for themselves: a thousand at most.
	other := g.metrics.Route(observe.Other)
	for i, r := range next.Snapshot.Routes {
		if pace != nil && i%paceEvery == 0 {
			pace()
		}
		if r.Metrics != other {
			routes[r.Name] = true
		}
	}
	upstreams := map[string]bool{}
	for _, u := range next.Upstreams {
		upstreams[u.Name()] = true
	}
	listeners := map[string]bool{}
	for _, l := range next.Listeners {
		listeners[l.Name] = true
	}
	g.metrics.Retain(
		func(name string) bool { return routes[name] },
		func(name string) bool { return upstreams[name] },
		func(name string) bool { return listeners[name] },
	)
	g.lastReload.Store(&admin.Reload{Result: admin.ReloadSuccess, At: now})
	attributes := []any{"revision", g.revision, "hash", next.Document.Hash, "routes", len(next.Snapshot.Routes),
		"routes_built", next.Built, "routes_reused", next.Reused, "took", took.Round(time.Millisecond).String()}
	if before != nil {
		attributes = append(attributes, "changed", changedNames(before.Document, next.Document))
	}
	g.logger.Info("configuration applied", attributes...)
	if before != nil {
		g.notify.ready()
	}
	for _, w := range next.Warnings {
		g.logger.Warn("configuration", "problem", w.Error())
	}
}

// refused remembers and logs why a configuration was not applied. The one before
// stays in force.
func (g *gateway) refused(err error) {
	g.metrics.Refused()
	g.lastReload.Store(&admin.Reload{Result: admin.ReloadFailure, At: time.Now(), Error: err.Error()})
	g.logger.Error("configuration refused", "revision_in_force", g.revision, "problems", err.Error())
	if g.applied.Load() != nil {
		g.notify.ready() // To reload is over, with what was in force before.
	}
}

// shutdown lets exchanges end, for as long as the configuration says.
func (g *gateway) shutdown() { g.drain(g.sockets.Shutdown) }

// drain ends the gateway; leave is how its listeners end.
func (g *gateway) drain(leave func(ctx context.Context) (cut int)) {
	g.mu.Lock()
	g.draining.Store(true)
	limit := 30 * time.Second
	if applied := g.applied.Load(); applied != nil {
		limit = applied.Document.Drain.Shutdown.Std()
	}
	adminServer, log := g.admin, g.log
	g.mu.Unlock()
	g.logger.Info("shutting down", "limit", limit.String())
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if cut := leave(ctx); cut > 0 {
		g.logger.Warn("connections were cut because they did not end in time", "connections", cut)
	}
	if err := g.engine.Close(); err != nil {
		g.logger.Error("closing", "error", err)
	}
	if log != nil {
		log.drop(g.logger)
	}
	if adminServer != nil {
		adminCtx, adminCancel := context.WithTimeout(context.Background(), time.Second)
		defer adminCancel()
		_ = adminServer.Shutdown(adminCtx)
	}
	g.logger.Info("stopped")
}
