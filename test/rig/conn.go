package rig

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Conn is one end of a connection that a test drives by hand. Send returns at
// once: a goroutine writes, so that a script can send more than the sockets hold
// before it looks at the other side. Everything else waits, at most Patience.
type Conn struct {
	raw    *net.TCPConn
	data   net.Conn // raw, or TLS over it
	reader *bufio.Reader
	outbox
}

// NewConn takes over a connection.
func NewConn(raw *net.TCPConn) *Conn {
	c := &Conn{raw: raw}
	c.carry(raw)
	return c
}

// carry makes data what is read from and written to.
func (c *Conn) carry(data net.Conn) {
	c.data, c.reader = data, bufio.NewReaderSize(data, 64<<10)
}

// Dial connects to an address, from an address if one is given.
func Dial(to, from string) (*Conn, error) {
	d := net.Dialer{Timeout: Patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	raw, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return NewConn(raw.(*net.TCPConn)), nil
}

// Send writes data, behind what was sent before.
func (c *Conn) Send(data string) {
	c.enqueue(func() error {
		n, err := c.data.Write([]byte(data))
		c.written.Add(int64(n))
		return err
	})
}

// Flood writes n bytes of 'x' without holding them in memory.
func (c *Conn) Flood(n int64) {
	block := []byte(strings.Repeat("x", 64<<10))
	c.enqueue(func() error {
		for left := n; left > 0; {
			m, err := c.data.Write(block[:min(left, int64(len(block)))])
			c.written.Add(int64(m))
			left -= int64(m)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Reader is ready to be read from, with a fresh deadline.
func (c *Conn) Reader() (*bufio.Reader, error) {
	return c.reader, c.data.SetReadDeadline(time.Now().Add(Patience))
}

// Receive reads exactly what is wanted, and says what came instead.
func (c *Conn) Receive(want string) error {
	r, err := c.Reader()
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if string(got[:n]) != want {
		more := c.buffered()
		return fmt.Errorf("wanted %s\n   got %s (%v)", Quote(want), Quote(string(got[:n])+more), err)
	}
	return nil
}

func (c *Conn) buffered() string {
	peek, err := c.reader.Peek(c.reader.Buffered())
	if err != nil {
		return ""
	}
	return string(peek)
}

// Ended says whether a read error means that the other side is gone.
func Ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Closed waits until the other side closes, and fails if it says anything more.
func (c *Conn) Closed() error {
	r, err := c.Reader()
	if err != nil {
		return err
	}
	rest, err := io.ReadAll(r)
	if len(rest) > 0 {
		return fmt.Errorf("wanted the end, got %s", Quote(string(rest)))
	}
	if err == nil || Ended(err) {
		return nil
	}
	return fmt.Errorf("wanted the end: %w", err)
}

// Silent fails if something is there to be read, or if the other side has closed.
// It can only see what has arrived: use it to say what must not have happened by now.
func (c *Conn) Silent() error {
	if err := c.data.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		return err
	}
	_, err := c.reader.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wanted silence: %w", err)
	}
	return fmt.Errorf("wanted silence, got %s", Quote(c.buffered()))
}

// Discard throws away what comes until n bytes have come.
func (c *Conn) Discard(n int64) error {
	r, err := c.Reader()
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, r, n)
	return err
}

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	if err := c.Drain(); err != nil {
		return err
	}
	if half, ok := c.data.(*tls.Conn); ok {
		return half.CloseWrite()
	}
	return c.raw.CloseWrite()
}

// Close closes in good order, behind everything that was sent.
func (c *Conn) Close() error {
	if err := c.Drain(); err != nil {
		return err
	}
	if err := c.announceEnd(); err != nil {
		return err
	}
	return c.data.Close()
}

// announceEnd waits until the other side's kernel knows of the end: on a busy machine even
// loopback delivers it some time after the call, and what a script says next would be
// faster. Where something was not read the kernel sends a reset in place of the end.
func (c *Conn) announceEnd() error {
	if half, ok := c.data.(*tls.Conn); ok {
		_ = half.CloseWrite() // Fails before the end of the handshake: then there is nothing to say.
	}
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return err
	}
	unread := false
	look := func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		unread = err == nil && n > 0
	}
	if err := raw.Control(look); err != nil || unread {
		return err
	}
	_ = c.raw.CloseWrite() // Fails where the other side was first: then it knows.
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		state := 0
		err := raw.Control(func(fd uintptr) {
			info, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
			state = info & 0xff // The first byte of tcp_info.
		})
		if err != nil || state != finWait1 {
			return err
		}
	}
	return nil
}

// finWait1 is the kernel's TCP_FIN_WAIT1: the end was sent, and nobody has said that it came.
const finWait1 = 4

// Reset closes at once and lets the kernel send a reset.
func (c *Conn) Reset() error {
	if err := c.raw.SetLinger(0); err != nil {
		return err
	}
	return c.raw.Close()
}

// Drop closes without ceremony at the end of a test.
func (c *Conn) Drop() { _ = c.raw.Close() }
