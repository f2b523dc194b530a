package restart

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// supervisor does what systemd does: it opens sockets, starts the gateway with them,
// and hears what it says of itself.
type supervisor struct {
	*family
	socket *net.UnixConn
	env    []string
	files  []*os.File
	names  []string
}

func newSupervisor(f *family) *supervisor {
	f.t.Helper()
	path := filepath.Join(f.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	return &supervisor{family: f, socket: conn, env: []string{"NOTIFY_SOCKET=" + path}}
}

// listens opens a socket for the gateway.
func (s *supervisor) listens(name, address string) {
	s.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // The file keeps it open.
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		s.t.Fatal(err)
	}
	s.gives(name, file)
}

func (s *supervisor) gives(name string, file *os.File) {
	s.t.Cleanup(func() { _ = file.Close() })
	s.names, s.files = append(s.names, name), append(s.files, file)
}

func (s *supervisor) starts() (pid int) {
	s.t.Helper()
	env := append(s.env, fmt.Sprintf("LISTEN_FDS=%d", len(s.files)), "LISTEN_FDNAMES="+strings.Join(s.names, ":"))
	return s.startWith(env, s.files)
}

// hears waits for a message that has these beginnings of lines. It passes over others: a
// changed file is noticed without a signal too.
func (s *supervisor) hears(lines ...string) {
	s.t.Helper()
	buf := make([]byte, 1000)
	_ = s.socket.SetReadDeadline(time.Now().Add(rig.Patience))
	heard := ""
	for {
		n, err := s.socket.Read(buf)
		if err != nil {
			s.t.Fatalf("waiting for %q, heard %q: %v", lines, heard, err)
		}
		message := "\n" + string(buf[:n])
		missing := slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(message, "\n"+line) })
		if !missing {
			return
		}
		heard += message
	}
}

func asks(t *testing.T, address string) {
	t.Helper()
	v, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	if err := v.send("/", "hello", "Connection: close"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.answer("hello"); err != nil {
		t.Error(err)
	}
}

// Sockets that systemd has opened are found by name and by address, stay open
// between two processes, and go along in an upgrade.
func TestActivation(t *testing.T) {
	t.Parallel()
	s := newSupervisor(newFamily(t, "5s"))
	named, stray := free(t), free(t)
	s.listens("web", named) // Not where the configuration says: the name decides.
	s.listens("sluice.socket", s.admin)
	s.listens("unknown", stray)
	pid := s.starts()
	s.hears("READY=1", fmt.Sprintf("MAINPID=%d", pid))
	asks(t, named)
	if err := s.isReady(); err != nil {
		t.Error(err)
	}
	if line := s.logged("inherited socket closed: no listener has its name or address", "", 0); line["socket"] != stray {
		t.Errorf("got %v", line)
	}
	s.signal(pid, syscall.SIGHUP)
	s.hears("RELOADING=1", "MONOTONIC_USEC=")
	s.hears("READY=1")
	s.configure("nonsense: 1\n")
	s.signal(pid, syscall.SIGHUP)
	s.hears("RELOADING=1")
	s.hears("READY=1")
	s.configure("")
	s.signal(pid, syscall.SIGHUP)
	s.hears("RELOADING=1")
	s.hears("READY=1")

	next := s.upgrade(pid)
	s.hears(fmt.Sprintf("MAINPID=%d", next))
	s.hears("READY=1", fmt.Sprintf("MAINPID=%d", next))
	s.exits(pid, 0)
	asks(t, named)

	s.signal(next, syscall.SIGTERM)
	s.hears("STOPPING=1")
	s.exits(next, 0)
	// Nobody accepts, and yet nobody is refused.
	waiting, err := dial(named)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = waiting.Close() }()
	if err := waiting.send("/", "patient"); err != nil {
		t.Fatal(err)
	}
	last := s.starts()
	if _, err := waiting.answer("patient"); err != nil {
		t.Error(err)
	}
	s.signal(last, syscall.SIGTERM)
	s.exits(last, 0)
	s.gone()
}

// What cannot be accepted from is refused with the reason.
func TestActivationWithOtherSockets(t *testing.T) {
	t.Parallel()
	s := newSupervisor(newFamily(t, "5s"))
	local, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(s.dir, "local"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	file, err := local.File()
	if err != nil {
		t.Fatal(err)
	}
	s.gives("local", file)
	s.exits(s.starts(), 1)
	text, _ := os.ReadFile(s.log())
	if !strings.Contains(string(text), `descriptor 3 ("local"): it is a socket of type 5, neither a stream nor for datagrams: use ListenStream=`) {
		t.Errorf("got %s", text)
	}
}

// Only one process takes over at a time, and one that never gets ready changes nothing.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "5s")
	door := filepath.Join(f.dir, "door")
	pid := f.start("--handover", door)
	f.ready()
	var idler *net.UnixConn
	err := rig.Eventually(func() (err error) {
		idler, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: door, Net: "unixpacket"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idler.Write([]byte(`{"version":1,"pid":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := idler.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	f.exits(f.start("--handover", door), 1)
	text, _ := os.ReadFile(f.log())
	if want := "the other process refuses: another process is taking over"; !strings.Contains(string(text), want) {
		t.Errorf("wanted %q, got\n%s", want, text)
	}
	f.signal(pid, syscall.SIGUSR2)
	f.logged("upgrade not begun: another process is taking over", "", 0)
	_ = idler.Close()
	f.logged("handing over failed; this process goes on", "pid", 1)

	asks(t, f.web)
	next := f.start("--handover", door)
	f.logged("taken over", "from_pid", pid)
	f.exits(pid, 0)
	f.signal(next, syscall.SIGTERM)
	f.exits(next, 0)
	f.gone()
}
