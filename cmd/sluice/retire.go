package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/sluice-gateway/sluice/listen"
)

// adminName is the name of the admin listener's socket in a hand-over, and in
// FileDescriptorName= of a socket unit.
const adminName = "admin"

// errRetired is what a configuration meets that comes too late.
var errRetired = errors.New("another process has taken over")

// inherit makes the listeners take sockets from what was there before.
func (g *gateway) inherit(i *listen.Inheritance) {
	g.inherited, g.sockets.Inherited = i, i
}

// handOver gives the sockets to the process at the other end, and returns nil when
// that one serves. No configuration is applied meanwhile: both processes have the same
// listeners. child is what SIGUSR2 has started, nil otherwise.
func (g *gateway) handOver(conn *net.UnixConn, child *exec.Cmd) (pid int, err error) {
	g.applying.Lock()
	defer g.applying.Unlock()
	if child != nil {
		pid = child.Process.Pid
		g.logger.Info("handing over", "pid", pid)
	}
	sockets := g.held()
	said, err := listen.Offer(conn, sockets)
	if child == nil {
		pid = said // What we have started we know without being told.
	}
	if err != nil {
		return pid, err
	}
	if child != nil {
		// Before the new process says that it is ready: the supervisor believes only its own.
		g.notify.successor(pid)
	}
	if err := listen.Yours(conn, sockets); err != nil {
		g.notify.ready()
		return pid, fmt.Errorf("the new process is gone: %w", err)
	}
	g.retired = true
	g.logger.Info("handed over", "pid", pid)
	return pid, nil
}

// held is all sockets, that of the admin listener among them.
func (g *gateway) held() []listen.Held {
	all := g.sockets.Held()
	g.mu.Lock()
	defer g.mu.Unlock()
	if applied := g.applied.Load(); g.admin != nil && applied != nil {
		all = append(all, listen.Held{Name: adminName, Address: applied.Document.Admin.Address.String(), Socket: g.admin.Socket()})
	}
	return all
}

// retire is shutdown after a hand-over. The admin listener goes first: who asks at its
// address whether the gateway is ready means the new process.
func (g *gateway) retire() {
	if applied := g.applied.Load(); applied != nil {
		for _, r := range applied.Rollouts {
			r.Release() // The new process decides from now on.
		}
	}
	g.mu.Lock()
	old := g.admin
	g.admin = nil
	g.mu.Unlock()
	if old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = old.Shutdown(ctx)
		cancel()
	}
	g.drain(func(ctx context.Context) int {
		idle := handoverIdle
		if by, ok := ctx.Deadline(); ok {
			idle = min(idle, time.Until(by)/2)
		}
		return g.sockets.Yield(ctx, idle)
	})
}
