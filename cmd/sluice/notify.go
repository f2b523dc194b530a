package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// notifier tells the supervisor how the process is, in systemd's protocol
// (sd_notify). Without NOTIFY_SOCKET it does nothing.
type notifier struct {
	path   string
	logger *slog.Logger
}

func newNotifier(logger *slog.Logger) *notifier {
	path := os.Getenv("NOTIFY_SOCKET")
	if name, ok := strings.CutPrefix(path, "@"); ok {
		path = "\x00" + name // The abstract name space of Linux.
	}
	return &notifier{path: path, logger: logger}
}

// tell sends lines such as READY=1. Nobody to hear them is no reason to stop.
func (n *notifier) tell(lines ...string) {
	if n.path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(strings.Join(lines, "\n")))
		_ = conn.Close()
	}
	if err != nil {
		n.logger.Warn("notifying the supervisor", "state", lines[0], "error", err)
	}
}

func (n *notifier) ready()    { n.tell("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid())) }
func (n *notifier) stopping() { n.tell("STOPPING=1") }

// reloading must be followed by ready, whatever comes of it.
func (n *notifier) reloading() {
	n.tell("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonicMicroseconds()))
}

// successor makes another process the one that the supervisor looks at.
func (n *notifier) successor(pid int) { n.tell(fmt.Sprintf("MAINPID=%d", pid)) }

// monotonicMicroseconds is the kernel's CLOCK_MONOTONIC, which time.Time does not show.
func monotonicMicroseconds() int64 {
	const clockMonotonic = 1
	var now syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano() / 1000
}
