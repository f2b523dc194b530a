package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/config"
)

func serveCommand() *cobra.Command {
	var path, handoverPath string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway with a configuration file.

The file and all that it includes or reads are watched; a change is applied as
a whole or not at all. SIGHUP reloads at once, SIGUSR1 reopens the access log,
SIGTERM and SIGINT end the gateway when its exchanges have ended. SIGUSR2 starts
the program anew, as it is on disk now, and hands the sockets over to it.`,
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error { return serve(path, handoverPath) },
	}
	c.Flags().StringVarP(&path, "config", "c", "sluice.yaml", "the configuration file")
	c.Flags().StringVar(&handoverPath, "handover", "", "a Unix socket: take the sockets over from the process that has it, then have it")
	return c
}

// gcPercent is how much garbage there may be for each part that lives, unless GOGC says
// otherwise. A collection while 100,000 routes are in memory is felt by the slowest
// requests: p99 with a reload each second was 2.4 times the quiet one at 100, and below
// twice at 300. It costs memory, at most three times what lives.
const gcPercent = 300

func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

func serve(path, handoverPath string) error {
	tuneCollector()
	stopProfile, err := startProfile(os.Getenv("SLUICE_CPUPROFILE"))
	if err != nil {
		return err
	}
	defer stopProfile()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	g := newGateway(logger)
	h, err := newHandover(g, handoverPath)
	if err != nil {
		if h != nil {
			h.close(false)
		}
		fmt.Fprintln(os.Stderr, err)
		return errProblems
	}
	source := config.NewFile(path)
	source.Failed = g.refused
	ctx, stop := context.WithCancel(context.Background())
	watching, err := g.follow(ctx, source)
	handed := false
	if err == nil {
		if err = h.ready(); err == nil {
			go g.refreshCertificates(ctx)
			g.notify.ready()
			handed = g.attend(signals, source, h)
		}
	}
	handed = h.close(handed)
	stop()
	<-watching
	if handed {
		g.retire()
		return nil
	}
	if g.applied.Load() != nil {
		g.notify.stopping()
		g.shutdown()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return errProblems
	}
	return nil
}

// follow applies the source's first document, and from then on each further one
// until ctx is done; watching is closed when nothing is applied any more. The error is
// why the first one could not be applied.
func (g *gateway) follow(ctx context.Context, source *config.File) (watching <-chan struct{}, err error) {
	done, first := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		var p pacer
		started := false
		err := source.Watch(ctx, func(doc *config.Document) {
			if started {
				_ = g.apply(doc, p.pace) // It has logged what was wrong.
				return
			}
			first <- g.apply(doc, nil)
			started = true
			// From now on requests must not feel the work.
			source.Cache.Pace = p.pace
		})
		if !started {
			first <- err
		}
	}()
	return done, <-first
}

// refreshEvery is how often files of certificates are looked at.
const refreshEvery = 5 * time.Second

// refreshCertificates takes up certificates that were renewed on disk, without a
// reload.
func (g *gateway) refreshCertificates(ctx context.Context) {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			g.sockets.Refresh()
			if applied := g.applied.Load(); applied != nil {
				applied.Refresh()
			}
		case <-ctx.Done():
			return
		}
	}
}

// attend acts on signals until one of them ends the gateway, or until another
// process has taken over.
func (g *gateway) attend(signals <-chan os.Signal, source *config.File, h *handover) (handed bool) {
	for {
		select {
		case <-h.done:
			return true
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				g.notify.reloading()
				source.Poke()
			case syscall.SIGUSR1:
				g.reopenLog()
			case syscall.SIGUSR2:
				h.upgrade()
			default:
				return false
			}
		}
	}
}

// startProfile writes a CPU profile to a file until the process ends; for
// benchmarks.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("SLUICE_CPUPROFILE: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("SLUICE_CPUPROFILE: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
