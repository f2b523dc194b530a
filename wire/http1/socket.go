package http1

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// socket reads and writes a connection with as little as possible between us and
// the kernel. For a TCP or Unix socket the system calls are made directly on the
// descriptor, which does not block, so the scheduler need not be told; Go's
// poller is asked only when there is something to wait for. Any other net.Conn is
// used as it is.
//
// One goroutine may read and another write at the same time.
type socket struct {
	nc  net.Conn
	raw syscall.RawConn // nil where the connection is no plain socket
	tcp syscall.RawConn // below TLS; else nil

	in      operation
	out     operation
	readFn  func(fd uintptr) bool
	writeFn func(fd uintptr) bool

	// readBy and writeBy are the deadlines in force, in nanoseconds of clock; 0 is none.
	readBy  int64
	writeBy int64
}

// operation is what a callback of RawConn works on.
type operation struct {
	step  step
	buf   []byte
	tail  []byte // a write's second part
	n     int
	err   error
	lease leaser
}

// step says what a read callback has to do first.
type step uint8

const (
	stepRead      step = iota
	stepIdle           // give the buffer back while waiting
	stepSendFirst      // see that nothing has arrived, send, then wait
)

// leaser lends the buffer for a read that may wait for long.
type leaser interface {
	takeBuffer() []byte
	returnBuffer()
}

func (s *socket) init(nc net.Conn) {
	s.nc = nc
	type rawer interface {
		SyscallConn() (syscall.RawConn, error)
	}
	switch c := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := nc.(rawer).SyscallConn(); err == nil {
			s.raw = raw
			s.readFn, s.writeFn = s.onReadable, s.onWritable
		}
	case *tls.Conn:
		if tcp, ok := c.NetConn().(*net.TCPConn); ok {
			s.tcp, _ = tcp.SyscallConn()
		}
	}
}

// read waits for bytes and reads once. The end of the stream is io.EOF.
func (s *socket) read(p []byte) (int, error) {
	if s.raw == nil {
		return s.nc.Read(p)
	}
	s.in.step, s.in.buf = stepRead, p
	return s.finishRead()
}

// readIdle is read for a wait that may be long: the buffer comes from the
// leaser when there is something to put into it.
func (s *socket) readIdle(l leaser) (int, error) {
	if s.raw == nil {
		return s.nc.Read(l.takeBuffer())
	}
	s.in.step, s.in.lease = stepIdle, l
	return s.finishRead()
}

func (s *socket) finishRead() (int, error) {
	err := s.raw.Read(s.readFn)
	n := s.in.n
	if err == nil {
		err = s.in.err
	}
	s.in = operation{}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// errNotQuiet says that bytes, or the end, had arrived on a connection that
// should have been silent.
var errNotQuiet = &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}

// sendAndRead sees that the peer has been silent, sends head and tail, waits and
// reads once. Sending inside the read callback saves the read that would find
// nothing: the poller was armed before the request left, so its answer cannot
// be missed. sent tells how much left.
func (s *socket) sendAndRead(head, p []byte) (n, sent int, err error) {
	if s.raw == nil {
		if s.peerGone() {
			return 0, 0, errNotQuiet
		}
		if sent, err = s.nc.Write(head); err != nil {
			return 0, sent, err
		}
		n, err = s.nc.Read(p)
		return n, sent, err
	}
	s.out.buf, s.out.n = head, 0
	s.in.step, s.in.buf = stepSendFirst, p
	for {
		err = s.raw.Read(s.readFn)
		if err != nil || s.in.step != stepSendFirst {
			break
		}
		// The socket's buffer is full: send the rest the slow way, then read.
		rest := s.out.buf[s.out.n:]
		done := s.out.n
		s.out = operation{}
		wrote, werr := s.write(rest, nil)
		s.out.n = done + wrote
		s.in.step = stepRead
		if werr != nil {
			err = werr
			break
		}
	}
	n, sent = s.in.n, s.out.n
	if err == nil {
		err = s.in.err
	}
	s.in, s.out = operation{}, operation{}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, sent, err
}

// onReadable is the callback of RawConn.Read: false means wait.
func (s *socket) onReadable(fd uintptr) bool {
	op := &s.in
	if op.step == stepSendFirst {
		return s.sendQuietly(fd)
	}
	if op.step == stepIdle {
		op.buf = op.lease.takeBuffer()
	}
	n, errno := rawRead(fd, op.buf)
	if errno == syscall.EAGAIN {
		if op.step == stepIdle {
			op.buf = nil
			op.lease.returnBuffer()
		}
		return false
	}
	op.n = n
	if errno != 0 {
		op.n, op.err = 0, &net.OpError{Op: "read", Net: "tcp", Err: errno}
	}
	return true
}

func (s *socket) sendQuietly(fd uintptr) bool {
	if _, errno := rawRead(fd, s.in.buf); errno != syscall.EAGAIN {
		s.in.step, s.in.err = stepRead, errNotQuiet
		return true
	}
	n, errno := rawWrite(fd, s.out.buf)
	if errno != 0 && errno != syscall.EAGAIN {
		s.in.step, s.in.err = stepRead, &net.OpError{Op: "write", Net: "tcp", Err: errno}
		return true
	}
	s.out.n = n
	if n < len(s.out.buf) {
		return true // step stays: the caller sends the rest.
	}
	s.in.step = stepRead
	return false
}

// write writes all of a, then all of b, in one system call where the kernel takes it.
func (s *socket) write(a, b []byte) (int, error) {
	if s.raw == nil {
		n, err := s.nc.Write(a)
		if err != nil || len(b) == 0 {
			return n, err
		}
		m, err := s.nc.Write(b)
		return n + m, err
	}
	s.out = operation{buf: a, tail: b}
	err := s.raw.Write(s.writeFn)
	n := s.out.n
	if err == nil {
		err = s.out.err
	}
	s.out = operation{}
	return n, err
}

// onWritable is the callback of RawConn.Write: false means wait.
func (s *socket) onWritable(fd uintptr) bool {
	op := &s.out
	for len(op.buf)+len(op.tail) > 0 {
		var n int
		var errno syscall.Errno
		switch {
		case len(op.tail) == 0:
			n, errno = rawWrite(fd, op.buf)
		case len(op.buf) == 0:
			n, errno = rawWrite(fd, op.tail)
		default:
			n, errno = rawWritev(fd, op.buf, op.tail)
		}
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			op.err = &net.OpError{Op: "write", Net: "tcp", Err: errno}
			return true
		}
		op.n += n
		first := min(n, len(op.buf))
		op.buf = op.buf[first:]
		op.tail = op.tail[n-first:]
	}
	return true
}

func rawRead(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

func rawWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func rawWritev(fd uintptr, a, b []byte) (int, syscall.Errno) {
	vectors := [2]syscall.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	vectors[0].SetLen(len(a))
	vectors[1].SetLen(len(b))
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&vectors)), 2)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// peekQuiet says whether a descriptor has neither bytes nor an end to read.
func peekQuiet(fd uintptr) bool {
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno == syscall.EAGAIN
}

// peerGone looks, without taking anything, whether the peer has closed or reset
// the connection. It may be called while another goroutine waits in read.
func (s *socket) peerGone() bool {
	switch {
	case s.raw != nil:
		return goneOn(s.raw, endOfStream)
	case s.tcp != nil:
		return goneOn(s.tcp, closedByPeer)
	}
	return false
}

func goneOn(raw syscall.RawConn, look func(fd uintptr) bool) bool {
	gone := false
	err := raw.Control(func(fd uintptr) { gone = look(fd) })
	return gone || err != nil // The second is our own end: somebody has closed it.
}

// endOfStream says whether a read would find the end, or an error.
func endOfStream(fd uintptr) bool {
	var b [1]byte
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno == 0 && n == 0 || errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR
}

// established is TCP_ESTABLISHED of the kernel.
const established = 1

// closedByPeer asks the kernel for the connection's state. Below TLS there may be a
// last record in front of the end, so looking for the end is not enough.
func closedByPeer(fd uintptr) bool {
	state, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	return err == nil && state&0xff != established // The state is the first byte of tcp_info.
}

// clockStart makes clock small and monotonic.
var clockStart = time.Now()

// clock is the time in nanoseconds, never 0 and never going back.
func clock() int64 { return int64(time.Since(clockStart)) + 1 }

// clockOf is clock for a moment that was read already.
func clockOf(t time.Time) int64 { return int64(t.Sub(clockStart)) + 1 }

// allowRead makes a read fail when the peer is silent for timeout, or up to half
// as long again: the deadline is moved only when it would come too near or lie
// too far, not at each request.
func (s *socket) allowRead(now int64, timeout time.Duration) {
	if left := s.readBy - now; left >= int64(timeout) && left <= int64(timeout+timeout/2) {
		return
	}
	s.setReadBy(now + int64(timeout+timeout/4))
}

// setReadBy makes reads fail at this very moment.
func (s *socket) setReadBy(at int64) {
	s.readBy = at
	_ = s.nc.SetReadDeadline(clockStart.Add(time.Duration(at)))
}

// allowWrite is allowRead for writes.
func (s *socket) allowWrite(now int64, timeout time.Duration) {
	if left := s.writeBy - now; left >= int64(timeout) && left <= int64(timeout+timeout/2) {
		return
	}
	s.setWriteBy(now + int64(timeout+timeout/4))
}

// setWriteBy makes writes fail at this very moment.
func (s *socket) setWriteBy(at int64) {
	s.writeBy = at
	_ = s.nc.SetWriteDeadline(clockStart.Add(time.Duration(at)))
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// interruptRead makes a pending read fail, and every later one until a new deadline
// is set. It may be called on another goroutine.
func (s *socket) interruptRead() { _ = s.nc.SetReadDeadline(past) }
