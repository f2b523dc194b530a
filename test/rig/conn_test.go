package rig

import (
	"net"
	"syscall"
	"testing"
)

// pair is a Conn and the other end of its connection.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := Dial(l.Addr().String(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Drop)
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	return c, other.(*net.TCPConn)
}

// state is the kernel's state of a connection: 1 is established, 8 that the other side has closed.
func state(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	info := 0
	err = raw.Control(func(fd uintptr) {
		info, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	})
	if err != nil {
		t.Fatal(err)
	}
	return info & 0xff
}

// What a script says behind "closes" comes when the other side's kernel knows of the end.
func TestCloseHasArrived(t *testing.T) {
	t.Parallel()
	const established, closeWait = 1, 8
	for range 10 { // Each waits for an acknowledgement, which the kernel delays by up to 40 ms.
		c, other := pair(t)
		if got := state(t, other); got != established {
			t.Fatalf("before: state %d", got)
		}
		c.Send("bye")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := state(t, other); got != closeWait {
			t.Fatalf("after: state %d", got)
		}
	}
}

func TestFreeAddress(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 50 {
		address, err := FreeAddress()
		if err != nil || seen[address] {
			t.Fatalf("%s, given before: %v, %v", address, seen[address], err)
		}
		seen[address] = true
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if bindable(l.Addr().(*net.TCPAddr).Port) {
			t.Errorf("%s looks free while somebody listens there", address)
		}
		_ = l.Close()
	}
}
