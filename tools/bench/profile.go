//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// captureProfile lets Sluice write a CPU profile of itself under the load of one
// comparison. Sluice writes it when it ends, to the file that SLUICE_CPUPROFILE
// names.
func (b *bench) captureProfile(group string) error {
	path, err := filepath.Abs(b.profile)
	if err != nil {
		return err
	}
	env := "SLUICE_CPUPROFILE=" + path
	var c *contender
	switch group {
	case "bare":
		c, err = b.startSluice("sluice", bareRoute, env)
	case "policies":
		c, err = b.startSluice("sluice", governed(filepath.Join(b.fleet.dir, "sluice.access.log")), env)
		if err == nil {
			c.load.headers = []string{"X-Api-Key: " + key}
		}
	case "traffic":
		c, err = b.startTraffic("sluice", allTraffic, env)
	case "routes":
		c, err = b.startRoutes("sluice", b.options.routes, env)
	case "grpc":
		var origin string
		var stop func()
		if origin, stop, err = b.startGRPCOrigin(); err != nil {
			return err
		}
		defer stop()
		c, err = b.startGRPCSluice("sluice", origin, clearHTTP2, env)
		if err == nil {
			err = b.call(c, false, 16, streams)
		}
	default:
		return fmt.Errorf("-profile knows bare, policies, traffic, routes and grpc, not %s", group)
	}
	if err != nil {
		return err
	}
	c.load.duration = max(b.turn, 10*time.Second)
	t, err := b.take(c)
	if err != nil {
		return err
	}
	b.fleet.stop(c.process)
	if _, err := os.Stat(path); err != nil {
		fmt.Printf("%s writes no profile: it does not know SLUICE_CPUPROFILE\n", b.sluice)
		return nil
	}
	fmt.Printf("%.1f µs/request, %d errors; go tool pprof -top %s %s\n", t.perRequest(), t.load.errors, b.sluice, b.profile)
	return nil
}
