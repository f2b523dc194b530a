package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/observe"
)

// handoverVariable tells a process that SIGUSR2 has started where the conversation with
// the old one is: the number of a descriptor.
const handoverVariable = "SLUICE_HANDOVER_FD"

// The times that a hand-over may take: the new process has to load and compile its
// configuration. handoverIdle is how long the old one keeps connections without an
// exchange.
const (
	handoverLimit = time.Minute
	takeoverLimit = time.Minute + 10*time.Second
	handoverIdle  = 5 * time.Second
)

// handover is both sides of passing the listening sockets from one process to the
// next: what this one got from the one before, and how the next gets them.
type handover struct {
	gateway *gateway
	logger  *slog.Logger
	path    string // of the Unix socket; "" is none

	from    *net.UnixConn // the process before; nil without one
	fromPID int
	door    *net.UnixListener // where the process after asks

	entered bool // the door is at its path

	busy    atomic.Bool // somebody is taking over
	ended   atomic.Bool
	done    chan struct{} // gets a value when another process has taken over
	waiting sync.WaitGroup

	mu   sync.Mutex
	with *net.UnixConn // of the hand-over that is under way
}

// newHandover takes the sockets that systemd or a process before this one offers.
// The environment does not tell of them any more afterwards.
func newHandover(g *gateway, path string) (*handover, error) {
	h := &handover{gateway: g, logger: g.logger, path: path, done: make(chan struct{}, 1)}
	inherited := listen.NewInheritance(g.logger)
	fd := os.Getenv(handoverVariable)
	_ = os.Unsetenv(handoverVariable)
	if err := inherited.Activate(); err != nil {
		return nil, err
	}
	if err := h.open(); err != nil {
		return nil, err
	}
	var err error
	if h.from, err = previous(fd, path); err != nil || h.from == nil {
		g.inherit(inherited)
		return h, err
	}
	_ = h.from.SetDeadline(time.Now().Add(takeoverLimit))
	if h.fromPID, err = inherited.Receive(h.from); err != nil {
		return h, err
	}
	g.logger.Info("taking over", "from_pid", h.fromPID)
	g.inherit(inherited)
	return h, nil
}

// previous finds the process before this one: behind the descriptor that it has left to
// us, or at the path. It returns nil where there is none.
func previous(fd, path string) (*net.UnixConn, error) {
	if fd != "" {
		n, err := strconv.Atoi(fd)
		if err != nil || n < 3 {
			return nil, fmt.Errorf("%s is %q, which is no descriptor", handoverVariable, fd)
		}
		return connOf(n)
	}
	if path == "" {
		return nil, nil
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--handover: %w", err)
	}
	return conn, nil
}

func connOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "handover")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("%s: descriptor %d: %w", handoverVariable, fd, err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%s: descriptor %d is no Unix socket", handoverVariable, fd)
	}
	return conn, nil
}

// ready is called when the first configuration is in force and connections are
// accepted. After an error the process must end: the one before it goes on.
func (h *handover) ready() error {
	h.gateway.inherited.Close()
	if h.from != nil {
		err := listen.Ready(h.from)
		_ = h.from.Close()
		if err != nil {
			return err
		}
		h.gateway.sockets.Begin()
		h.gateway.metrics.HandedOver(observe.HandoverTaken)
		h.logger.Info("taken over", "from_pid", h.fromPID)
	}
	if h.door == nil {
		return nil
	}
	if err := os.Rename(h.temporary(), h.path); err != nil {
		h.logger.Error("no later process can take over", "path", h.path, "error", err)
	}
	h.entered = true
	h.waiting.Go(h.answerDoor)
	return nil
}

// temporary is where the door stands until this process has taken over.
func (h *handover) temporary() string { return h.path + "." + strconv.Itoa(os.Getpid()) }

// open makes the door, before anything is accepted: what fails here loses nothing.
func (h *handover) open() error {
	if h.path == "" {
		return nil
	}
	_ = os.Remove(h.temporary())
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: h.temporary(), Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("--handover: %w (a path may have about 90 bytes)", err)
	}
	l.SetUnlinkOnClose(false)
	h.door = l
	if err := os.Chmod(h.temporary(), 0o600); err != nil {
		return fmt.Errorf("--handover: %w", err)
	}
	return nil
}

// answerDoor lets processes take over, one at a time, until the door is closed.
func (h *handover) answerDoor() {
	for {
		conn, err := h.door.AcceptUnix()
		if err != nil {
			return
		}
		if h.busy.Swap(true) {
			_ = listen.Refuse(conn, "another process is taking over")
			_ = conn.Close()
			continue
		}
		h.waiting.Go(func() { h.give(conn, nil) })
	}
}

// upgrade starts the program, which may have been replaced, with the arguments of this
// process, and hands over to it.
func (h *handover) upgrade() {
	if h.busy.Swap(true) {
		h.logger.Warn("upgrade not begun: another process is taking over")
		return
	}
	conn, child, err := startSuccessor()
	if err != nil {
		h.busy.Store(false)
		h.gateway.metrics.HandedOver(observe.HandoverFailed)
		h.logger.Error("upgrade failed", "error", err)
		return
	}
	h.waiting.Go(func() { h.give(conn, child) })
}

// give hands over. child is the new process where this one has started it; it is
// ended where the hand-over fails.
func (h *handover) give(conn *net.UnixConn, child *exec.Cmd) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(handoverLimit))
	h.mu.Lock()
	h.with = conn
	h.mu.Unlock()
	if h.ended.Load() { // close may have looked before with was set.
		_ = conn.Close()
	}
	pid, err := h.gateway.handOver(conn, child)
	if err == nil {
		h.gateway.metrics.HandedOver(observe.HandoverGiven)
		h.done <- struct{}{}
		return // Busy for good.
	}
	h.gateway.metrics.HandedOver(observe.HandoverFailed)
	_ = listen.Refuse(conn, err.Error())
	attributes := []any{"pid", pid, "error", err}
	if child != nil {
		end(child)
		attributes = append(attributes, "process", child.ProcessState.String())
	}
	h.logger.Error("handing over failed; this process goes on", attributes...)
	h.busy.Store(false)
}

// childLimit is how long a process that could not take over may take to end: it may
// have accepted connections.
const childLimit = 5 * time.Second

// end ends a process that this one has started.
func end(child *exec.Cmd) {
	ended := make(chan struct{})
	go func() {
		_ = child.Wait()
		close(ended)
	}()
	_ = child.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(childLimit):
		_ = child.Process.Kill()
		<-ended
	}
}

// close ends a hand-over that is under way, and begins no other. It says whether another
// process has taken over, which may have come at the same moment as the signal to end. The
// conversation with the process before ends with this process, after it has said why.
func (h *handover) close(handed bool) bool {
	h.ended.Store(true)
	h.busy.Store(true)
	h.mu.Lock()
	if h.with != nil {
		_ = h.with.Close()
	}
	h.mu.Unlock()
	if h.door != nil {
		_ = h.door.Close()
		_ = os.Remove(h.temporary())
	}
	h.waiting.Wait()
	select {
	case <-h.done:
		handed = true
	default:
	}
	if h.entered && !handed { // Otherwise the door at the path is the new process's.
		_ = os.Remove(h.path)
	}
	return handed
}

// startSuccessor starts this program again, with one end of a conversation.
func startSuccessor() (*net.UnixConn, *exec.Cmd, error) {
	program, err := exec.LookPath(os.Args[0])
	if err != nil {
		if program, err = os.Executable(); err != nil {
			return nil, nil, err
		}
	}
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "handover")
	defer func() { _ = theirs.Close() }()
	conn, err := connOf(pair[0])
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, handoverVariable+"=") }), handoverVariable+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, cmd, nil
}
