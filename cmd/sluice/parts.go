package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/observe"
)

// sharedLog is an access log that the gateway and the snapshots hold: it is closed when the
// last exchange that may write to it is over.
type sharedLog struct {
	*observe.AccessLog
	path  string
	users atomic.Int32
}

// openLog opens the log that the configuration names, or takes the one that is open.
func (g *gateway) openLog(c *config.AccessLog) (*sharedLog, error) {
	path := ""
	if c != nil {
		path = c.Path
	}
	if g.log != nil && g.log.path == path {
		g.log.users.Add(1)
		return g.log, nil
	}
	log := &sharedLog{path: path}
	log.users.Store(1)
	if path == "" {
		return log, nil
	}
	opened, err := observe.OpenAccessLog(path, g.registry, g.logger)
	if err != nil {
		return nil, err
	}
	log.AccessLog = opened
	return log, nil
}

// use takes the log for a snapshot; nil where there is none.
func (l *sharedLog) use() *observe.AccessLog {
	l.users.Add(1)
	return l.AccessLog
}

// logClose is how long a blocked output may hold up the end of a log.
const logClose = 2 * time.Second

func (l *sharedLog) drop(logger *slog.Logger) {
	if l.users.Add(-1) > 0 || l.AccessLog == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logClose)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		logger.Error("closing the access log", "path", l.path, "error", err)
	}
}

// reopenLog opens the log's file anew, after it was moved away.
func (g *gateway) reopenLog() {
	g.mu.Lock()
	log := g.log
	g.mu.Unlock()
	if log == nil || log.AccessLog == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logClose)
	defer cancel()
	if err := log.Reopen(ctx); err != nil {
		g.logger.Error("reopening the access log", "path", log.path, "error", err)
	}
}

// openAdmin starts the admin listener that the configuration names, or takes the one
// that runs.
func (g *gateway) openAdmin(c *config.Admin) (*admin.Server, error) {
	if c == nil {
		return nil, nil
	}
	if applied := g.applied.Load(); g.admin != nil && applied != nil && applied.Document.Admin != nil && applied.Document.Admin.Address == c.Address {
		return g.admin, nil
	}
	address := c.Address.String()
	socket, _ := g.inherited.Take(adminName, address)
	return admin.Start(admin.Options{
		Address:   address,
		Socket:    socket,
		Metrics:   g.registry.WriteText,
		Readiness: g.readiness,
		Status:    g.status,
		Rollouts:  g.rollouts,
		Steer:     g.steer,
		Logger:    g.logger,
	})
}

func (g *gateway) replaceAdmin(next *admin.Server) {
	old := g.admin
	g.admin = next
	if old == nil || old == next {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), logClose)
		defer cancel()
		_ = old.Shutdown(ctx)
	}()
}

func (g *gateway) readiness() admin.Readiness {
	r := admin.Readiness{}
	if s := g.engine.Current(); s != nil {
		r.Revision, r.Hash = s.Revision, s.Hash
	}
	switch {
	case g.draining.Load():
		r.Reason = "the gateway is shutting down"
	case r.Revision == 0:
		r.Reason = "no configuration is applied yet"
	default:
		r.Ready = true
	}
	return r
}

func (g *gateway) status() admin.Status {
	s := admin.Status{
		Version:       version,
		Started:       g.started,
		UptimeSeconds: time.Since(g.started).Seconds(),
		Readiness:     g.readiness(),
		Kept:          g.compiler.Kept(),
	}
	if last := g.lastReload.Load(); last != nil {
		s.Reload = *last
	} else {
		s.Reload.Result = admin.ReloadNone
	}
	for _, l := range g.sockets.Status() {
		s.Listeners = append(s.Listeners, admin.Listener{Name: l.Name, Address: l.Address, Connections: l.Connections})
	}
	applied := g.applied.Load()
	if applied == nil {
		return s
	}
	s.Routes, s.Rollouts = len(applied.Snapshot.Routes), g.rollouts()
	for _, u := range applied.Upstreams {
		shown := admin.Upstream{Name: u.Name()}
		showHealth(&shown, u)
		if d, ok := u.Discovered(); ok {
			shown.Discovery = &admin.Discovery{
				Source: d.Source, Updates: d.Updates, Faults: d.Faults, LastGood: d.Good, Failing: d.Failing, LastFault: d.Fault, LastFaultAt: d.FaultAt,
			}
		}
		if v, ok := u.Load(); ok {
			shown.Concurrency = &admin.Concurrency{
				Limit: v.Limit, Active: v.InFlight, Waiting: v.Waiting, Refused: v.Full + v.Displaced + v.TimedOut,
				BaseSeconds: v.BaseLatency.Seconds(), LatencySeconds: v.Latency.Seconds(),
			}
		}
		s.Upstreams = append(s.Upstreams, shown)
	}
	s.Upstreams = append(s.Upstreams, groupsShown(applied.Groups)...)
	return s
}

// discoveries feeds the metrics of the sources of endpoints.
func (g *gateway) discoveries() (all []observe.Discovery) {
	applied := g.applied.Load()
	if applied == nil {
		return nil
	}
	for _, u := range applied.Upstreams {
		if d, ok := u.Discovered(); ok {
			all = append(all, observe.Discovery{Upstream: u.Name(), Updates: d.Updates, Faults: d.Faults, Good: d.Good})
		}
	}
	return all
}

// upstreamFloods emits, for metrics, what connections to origins were closed for.
func (g *gateway) upstreamFloods(emit func(upstream, kind string, n int64)) {
	applied := g.applied.Load()
	if applied == nil {
		return
	}
	for _, u := range applied.Upstreams {
		u.Floods(func(kind string, n int64) { emit(u.Name(), kind, n) })
	}
}

// loads feeds the metrics of the limits of concurrency.
func (g *gateway) loads() (all []observe.Load) {
	applied := g.applied.Load()
	if applied == nil {
		return nil
	}
	for _, u := range applied.Upstreams {
		if v, ok := u.Load(); ok {
			all = append(all, observe.Load{
				Upstream: u.Name(), Limit: v.Limit, Active: v.InFlight, Waiting: v.Waiting,
				Full: v.Full, Displaced: v.Displaced, TimedOut: v.TimedOut,
			})
		}
	}
	return all
}
