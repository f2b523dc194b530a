//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// fleet is all processes that this program has started, and their folder.
type fleet struct {
	ctx   context.Context
	cores cores
	dir   string
	port  int
	alive []*process
}

// process is one program with those that it started; they are one process group.
type process struct {
	name    string
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
	output  string        // path of what it printed
}

func newFleet(ctx context.Context, c cores) (*fleet, error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	// nginx reads files as another user when it is started by root.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	return &fleet{ctx: ctx, cores: c, dir: dir, port: 20_000 + os.Getpid()%5000}, nil
}

// freeAddress finds a port on loopback below the range from which the kernel takes
// the ports of outgoing connections, of which there are many here.
func (f *fleet) freeAddress() (string, error) {
	for range 2000 {
		f.port++
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		return address, l.Close()
	}
	return "", errors.New("no free port")
}

// file writes a file of a process and returns its path.
func (f *fleet) file(name, text string) (string, error) {
	path := filepath.Join(f.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// launch says how to start a process.
type launch struct {
	name    string
	core    string // for taskset; "" for all cores
	command []string
	env     []string
	address string // where it answers when it has started
}

// start starts a process. It must be called on the main goroutine.
func (f *fleet) start(l launch) (*process, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, err
	}
	output, err := os.CreateTemp(f.dir, l.name+"-*.txt")
	if err != nil {
		return nil, err
	}
	defer output.Close()
	args := l.command
	if l.core != "" {
		args = f.cores.pin(l.core, args)
	} else if f.cores.proxy != "" {
		args = f.cores.pin(f.cores.proxy+","+f.cores.side, args)
	}
	command := exec.Command(args[0], args[1:]...)
	command.Dir = f.dir
	command.Env = append(append(os.Environ(), "HOME="+f.dir, "XDG_DATA_HOME="+f.dir, "XDG_CONFIG_HOME="+f.dir), l.env...)
	command.Stdout, command.Stderr = output, output
	// A group of its own: it is measured and ended as a whole. SIGTERM and not
	// SIGKILL when we die, because nginx's master passes it on to its workers.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{name: l.name, command: command, ended: make(chan struct{}), output: output.Name()}
	go func() {
		command.Wait() //nolint:errcheck // How it ended is seen in what it printed.
		close(p.ended)
	}()
	f.alive = append(f.alive, p)
	return p, nil
}

// startReady starts a process and waits until it accepts connections.
func (f *fleet) startReady(l launch) (*process, error) {
	p, err := f.start(l)
	if err != nil {
		return nil, err
	}
	deadline := time.After(2 * time.Minute)
	for {
		c, err := net.DialTimeout("tcp", l.address, time.Second)
		if err == nil {
			return p, c.Close()
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s ended: %s", p.name, p.printed())
		case <-f.ctx.Done():
			return nil, f.ctx.Err()
		case <-deadline:
			return nil, fmt.Errorf("%s does not answer at %s: %s", p.name, l.address, p.printed())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// printed is the end of what the process has printed.
func (p *process) printed() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

func (p *process) pid() int { return p.command.Process.Pid }

func (p *process) usage() (usage, error) { return usageOf(p.pid()) }

// stop ends the process group: politely, and after three seconds by force.
func (f *fleet) stop(p *process) {
	if p == nil {
		return
	}
	syscall.Kill(-p.pid(), syscall.SIGTERM) //nolint:errcheck // It may have ended.
	select {
	case <-p.ended:
	case <-time.After(3 * time.Second):
	}
	syscall.Kill(-p.pid(), syscall.SIGKILL) //nolint:errcheck // The same.
	<-p.ended
	f.alive = slices.DeleteFunc(f.alive, func(other *process) bool { return other == p })
}

// stopAllBut ends all processes but one, which may be nil.
func (f *fleet) stopAllBut(keep *process) {
	for _, p := range slices.Clone(f.alive) {
		if p != keep {
			f.stop(p)
		}
	}
}

func (f *fleet) close() {
	f.stopAllBut(nil)
	os.RemoveAll(f.dir) //nolint:errcheck // A folder of temporary files.
}
