package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/internal/canary"
)

// watchedRollout sees which snapshot is in force when it is removed.
type watchedRollout struct {
	engine  *engine.Engine
	removed []*engine.Snapshot
}

func (r *watchedRollout) Start()                    {}
func (r *watchedRollout) Release()                  {}
func (r *watchedRollout) Remove()                   { r.removed = append(r.removed, r.engine.Current()) }
func (r *watchedRollout) View() canary.View         { return canary.View{Route: "a"} }
func (r *watchedRollout) Steer(canary.Action) error { return nil }

// TestRolloutIsRemovedBeforeItIsClosed: as soon as another snapshot is in force the one before may be closed,
// and a roll-out that is closed keeps its state.
func TestRolloutIsRemovedBeforeItIsClosed(t *testing.T) {
	t.Parallel()
	g := newGateway(slog.New(slog.DiscardHandler))
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	apply := func(status int) {
		t.Helper()
		text := fmt.Sprintf("listeners: [{ name: web, address: \"127.0.0.1:0\" }]\nroutes: [{ name: b, respond: { status: %d } }]\n", status)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		doc, err := config.Load(file, nil)
		if err == nil {
			err = g.apply(doc, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(200)
	before := g.applied.Load()
	r := &watchedRollout{engine: g.engine}
	before.Rollouts = append(before.Rollouts, r)
	apply(204)
	if len(r.removed) != 1 || r.removed[0] != before.Snapshot {
		t.Errorf("removed %d times, wanted once, while the snapshot before was in force", len(r.removed))
	}
	g.shutdown()
}
