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

var ports = struct {
	*sync.Mutex
	next *int
}{new(sync.Mutex), new(int)}

// FreeAddress returns an address on 127.0.0.1 at which nobody listens, and which
// this process does not give away twice. Processes start at different places.
func FreeAddress() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	for range portCount {
		port := firstPort + (os.Getpid()*1009+*ports.next)%portCount
		*ports.next++
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", err
		}
		return address, nil
	}
	return "", fmt.Errorf("rig: no free port between %d and %d", firstPort, firstPort+portCount)
}
