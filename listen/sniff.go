package listen

import (
	"net"
	"strings"
	"syscall"
)

// preface is what an HTTP/2 client sends first (RFC 9113 §3.4). No HTTP/1 request
// begins like this.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniff looks at the first bytes of a plain connection without taking them, so that the
// wire that gets it has a whole socket. It says whether they are for HTTP/2: it has prior
// knowledge, or what it says is no HTTP/1 either and gets refused as RFC 9113 §3.4 has it.
// It waits for them until the deadline of the connection.
func sniff(nc net.Conn) (isHTTP2 bool) {
	type rawer interface {
		SyscallConn() (syscall.RawConn, error)
	}
	r, ok := nc.(rawer)
	if !ok {
		return false
	}
	raw, err := r.SyscallConn()
	if err != nil {
		return false
	}
	// A client that does not go on is the next reader's affair.
	_ = raw.Read(func(fd uintptr) bool {
		var buf [64]byte
		n, _, err := syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return false
		}
		if err != nil {
			return true
		}
		first := string(buf[:n])
		isHTTP2 = strings.HasPrefix(first, preface) || foreign(first)
		partly := n > 0 && strings.HasPrefix(preface, first)
		return !partly || isHTTP2
	})
	return isHTTP2
}

// foreign says whether the first line has come and names no version of HTTP. An empty one says
// nothing: it may stand before a request (RFC 9112 §2.2).
func foreign(first string) bool {
	line, _, whole := strings.Cut(first, "\n")
	return whole && len(line) > len("\r") && !strings.Contains(line, "HTTP/")
}
