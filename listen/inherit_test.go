package listen

import (
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestActivated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pid, count, names string
		want              []string
		problem           string
	}{
		{"", "", "", nil, ""},
		{"7", "", "", nil, ""},
		{"", "2", "", nil, ""},
		{"8", "2", "", nil, ""}, // Somebody else's.
		{"7", "0", "", []string{}, ""},
		{"7", "2", "", []string{"", ""}, ""},
		{"7", "2", "web:admin", []string{"web", "admin"}, ""},
		{"7", "2", "web", nil, "1 names for 2 sockets"},
		{"7", "-1", "", nil, "LISTEN_FDS"},
		{"7", "many", "", nil, "LISTEN_FDS"},
		{"me", "1", "", nil, "LISTEN_PID"},
	} {
		got, err := activated(c.pid, c.count, c.names, 7)
		if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%q %q %q: got %q and %v", c.pid, c.count, c.names, got, err)
		}
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bound   string
		socket  inherited
		name    string
		address string
		want    int
	}{
		{"[::]:80", inherited{}, "web", ":80", 1},
		{"[::]:80", inherited{}, "web", "0.0.0.0:80", 1},
		{"0.0.0.0:80", inherited{}, "web", "[::]:80", 1},
		{"[::]:80", inherited{}, "web", "127.0.0.1:80", 0},
		{"127.0.0.1:80", inherited{}, "web", ":80", 0},
		{"127.0.0.1:80", inherited{}, "web", "127.0.0.1:80", 1},
		{"127.0.0.1:80", inherited{}, "web", "127.0.0.1:81", 0},
		{"127.0.0.1:80", inherited{}, "web", "127.0.0.1:0", 0},
		{"127.0.0.1:80", inherited{name: "sluice.socket"}, "web", "127.0.0.1:80", 1},
		{"127.0.0.1:80", inherited{name: "web"}, "web", ":8080", 3},
		// A process before us has given it: its address of then must be wanted now.
		{"127.0.0.1:4711", inherited{name: "web", address: "127.0.0.1:0"}, "web", "127.0.0.1:0", 3},
		{"127.0.0.1:4711", inherited{name: "web", address: "127.0.0.1:0"}, "site", "127.0.0.1:0", 2},
		{"127.0.0.1:80", inherited{name: "web", address: "127.0.0.1:80"}, "web", ":8080", 0},
	} {
		at, err := net.ResolveTCPAddr("tcp", c.bound)
		if err != nil {
			t.Fatal(err)
		}
		c.socket.Listener = bound{at}
		if got := c.socket.fits(c.name, c.address); got != c.want {
			t.Errorf("%s as %+v for %s at %s: got %d, want %d", c.bound, c.socket, c.name, c.address, got, c.want)
		}
	}
}

// bound is a listener that only has an address.
type bound struct{ at net.Addr }

func (b bound) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (b bound) Close() error              { return nil }
func (b bound) Addr() net.Addr            { return b.at }

// conversation is the two ends of a conversation.
func conversation(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		t.Cleanup(func() { _ = c.Close() })
		ends[n] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// What is neither a listening TCP socket nor one of UDP is refused, and closed.
func TestAcceptable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	local, _ := conversation(t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for from, want := range map[syscall.Conn]string{
		listener.(syscall.Conn):   "",
		datagrams.(syscall.Conn):  "",
		connection.(syscall.Conn): "it is a connect",
		local:                     "use ListenStream",
		file:                      "it is no socket",
	} {
		raw, err := from.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got error
		if err := raw.Control(func(fd uintptr) { got = acceptable(int(fd)) }); err != nil {
			t.Fatal(err)
		}
		if (got == nil) != (want == "") || got != nil && !strings.Contains(got.Error(), want) {
			t.Errorf("wanted %q, got %v", want, got)
		}
	}
}
