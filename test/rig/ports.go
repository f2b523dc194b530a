package rig

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
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
		port := strconv.Itoa(firstPort + (os.Getpid()*1009+ports.next)%portCount)
		ports.next++
		token, err := net.Listen("tcp", net.JoinHostPort(tokens, port))
		if err != nil {
			continue
		}
		address := net.JoinHostPort("127.0.0.1", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			_ = token.Close()
			continue
		}
		ports.owned = append(ports.owned, token)
		return address, l.Close()
	}
	return "", fmt.Errorf("rig: no free port between %d and %d", firstPort, firstPort+portCount)
}
