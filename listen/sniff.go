package listen

import (
	"net"
	"syscall"
)

// preface is what an HTTP/2 client sends first (RFC 9113 §3.4). No HTTP/1 request
// begins like this.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniff looks at the first bytes of a plain connection without taking them, so that the
// wire that gets it has a whole socket. It says whether they are HTTP/2 with prior
// knowledge. It waits for them until the deadline of the connection.
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
		var buf [len(preface)]byte
		n, _, err := syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return false
		}
		isHTTP2 = err == nil && string(buf[:max(n, 0)]) == preface
		partly := err == nil && n > 0 && n < len(preface) && string(buf[:n]) == preface[:n]
		return !partly
	})
	return isHTTP2
}
