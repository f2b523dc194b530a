package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/listen"
)

// TestSignalAtHandover: who has handed over and is ended before it has taken note of that leaves
// the door of the new process where it is, and knows that it is not the one that serves any more.
func TestSignalAtHandover(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	path := filepath.Join(t.TempDir(), "door")
	old, err := newHandover(newGateway(logger), path)
	if err == nil {
		err = old.ready()
	}
	if err != nil {
		t.Fatal(err)
	}

	// The new process.
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := listen.NewInheritance(logger).Receive(conn); err != nil {
		t.Fatal(err)
	}
	if err := listen.Ready(conn); err != nil {
		t.Fatal(err)
	}
	door := filepath.Join(filepath.Dir(path), "new")
	if err := os.WriteFile(door, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(door, path); err != nil {
		t.Fatal(err)
	}

	if !old.close(false) {
		t.Error("the old process does not know that it has handed over")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the door of the new process is gone: %v", err)
	}
}

// TestCloseFreesPath: the path is free again behind a process that has not handed over.
func TestCloseFreesPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "door")
	h, err := newHandover(newGateway(slog.New(slog.DiscardHandler)), path)
	if err == nil {
		err = h.ready()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if h.close(false) {
		t.Error("nobody has taken over")
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}
