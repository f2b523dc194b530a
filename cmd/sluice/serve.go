package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/spf13/cobra"

)

func serveCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway with a configuration file.

The file and all that it includes or reads are watched; a change is applied as
a whole or not at all. SIGHUP reloads at once, SIGUSR1 reopens the access log,
SIGTERM and SIGINT end the gateway when its exchanges have ended.`,
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error { return serve(path) },
	}
	c.Flags().StringVarP(&path, "config", "c", "sluice.yaml", "the configuration file")
	return c
}

func serve(path string) error {
	stopProfile, err := startProfile(os.Getenv("SLUICE_CPUPROFILE"))
	if err != nil {
		return err
	}
	defer stopProfile()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	g := newGateway(logger)
	files := newWatcher(path)
	doc, err := files.load(nil)
	if err == nil {
		err = g.apply(doc, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return errProblems
	}
	g.reloadUntil(signals, files)
	g.shutdown()
	return nil
}

// reloadUntil applies changes until a signal ends the gateway.
func (g *gateway) reloadUntil(signals <-chan os.Signal, files *watcher) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if files.changed() {
				g.reload(files)
			}
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				g.reload(files)
			case syscall.SIGUSR1:
				g.reopenLog()
			default:
				return
			}
		}
	}
}

// reload loads the files again, at a pace that requests do not feel.
func (g *gateway) reload(files *watcher) {
	var p pacer
	doc, err := files.load(p.pace)
	if err != nil {
		g.refused(err)
		return
	}
	_ = g.apply(doc, p.pace) // It has logged what was wrong.
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

