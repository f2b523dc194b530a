package rig

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// The kernel gives ports above 32768 to outgoing connections; listeners of tests
// are put below, so that no connection takes a port between its choice and its use.
const (
	firstPort = 20000
	portCount = 12000
)

// tokens is another address of the loopback network: who listens there on a port
// owns that port at 127.0.0.1, until its process ends. So test processes that run
// side by side never choose the same one.
const tokens = "127.0.0.254"

// ports is where the next search begins, and what this process owns.
var ports struct {
	sync.Mutex
	next  int
	owned []net.Listener
}

// FreeAddress returns an address on 127.0.0.1 at which nobody listens, and which
// no test is given again.
func FreeAddress() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	for range portCount {
		number := firstPort + (os.Getpid()*1009+ports.next)%portCount
		port := strconv.Itoa(number)
		ports.next++
		token, err := net.Listen("tcp", net.JoinHostPort(tokens, port))
		if err != nil {
			continue
		}
		if !bindable(number) {
			_ = token.Close()
			continue
		}
		ports.owned = append(ports.owned, token)
		return net.JoinHostPort("127.0.0.1", port), nil
	}
	return "", fmt.Errorf("rig: no free port between %d and %d", firstPort, firstPort+portCount)
}

// bindable says whether nobody listens on a port of 127.0.0.1. It binds and does not listen:
// a child that is being started holds a copy of every socket until it is a process of its
// own, and a listening one would still keep the port then.
func bindable(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(fd) }()
	if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) != nil {
		return false
	}
	return syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) == nil
}
