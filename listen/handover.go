package listen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Held is a socket that can be handed over to another process.
type Held struct {
	Name    string // of the listener
	Address string // as the configuration has it
	Kept    bool   // somebody else keeps it open too
	Socket  net.Listener
	packets *packets // the UDP socket beside it, or nil
}

// Held lists the sockets of the listeners.
func (s *Set) Held() []Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Held
	for _, l := range s.open {
		all = append(all, Held{l.spec.Name, l.spec.Address, l.socket.kept.Load(), l.socket.Listener, l.socket.udp})
	}
	return all
}

// Yield is Shutdown after the sockets were handed over: what waits in the kernel's
// queue is left to the process that has them now. A connection without an exchange, or
// still without TLS, may begin one for as long as idle; its answer then says that the connection closes, so
// that no request meets a connection that has just gone.
func (s *Set) Yield(ctx context.Context, idle time.Duration) (cut int) {
	s.mu.Lock()
	for _, l := range s.open {
		l.socket.kept.Store(true)
		l.server.KeepIdle(idle)
		l.keep = idle
	}
	s.mu.Unlock()
	return s.Shutdown(ctx)
}

// A hand-over is a conversation of notes over a Unix socket that keeps messages
// apart (SOCK_SEQPACKET):
//
//	new: version, pid
//	old: pid, the number of sockets; then one note with a descriptor for each, and behind one for UDP
//	another one with the socket over which the old process wants to have its packets
//	new: ready, when it accepts connections
//	old: yours, and it accepts no more
//
// Either says refused instead of anything. An end before ready leaves everything to
// the old process; an end after it leaves everything to the new one.
type note struct {
	Version int    `json:"version,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Sockets int    `json:"sockets,omitempty"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
	Kept    bool   `json:"kept,omitempty"`
	// Generation stands with a UDP socket: that of the connections of the giver.
	Generation generation `json:"generation,omitempty"`
	// Older stands with the socket over which the giver wants to have its packets; it comes
	// right behind the UDP socket.
	Older   bool   `json:"older,omitempty"`
	Ready   bool   `json:"ready,omitempty"`
	Yours   bool   `json:"yours,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// errRefused is that the other process wants no hand-over, and goes on without.
var errRefused = errors.New("the other process refuses")

const (
	handoverVersion = 1
	noteBytes       = 4 << 10
	mostSockets     = 1000
)

func sendNote(conn *net.UnixConn, n note, rights []byte) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, _, err = conn.WriteMsgUnix(text, rights, nil)
	return err
}

// readNote reads one note; fd is -1 where none came with it, and after an error.
func readNote(conn *net.UnixConn) (n note, fd int, err error) {
	text, rights := make([]byte, noteBytes), make([]byte, syscall.CmsgSpace(4*4))
	size, extra, _, _, err := conn.ReadMsgUnix(text, rights)
	if errors.Is(err, syscall.ECONNRESET) {
		// The other end was closed with something unread: the kernel says so once, and then
		// gives what was sent before.
		size, extra, _, _, err = conn.ReadMsgUnix(text, rights)
	}
	if errors.Is(err, io.EOF) {
		return n, -1, fmt.Errorf("the other process is gone: %w", io.EOF)
	}
	if err != nil {
		return n, -1, err
	}
	fd = descriptor(rights[:extra])
	if err = json.Unmarshal(text[:size], &n); err != nil {
		err = fmt.Errorf("not a note of a hand-over: %w", err)
	} else if n.Refused != "" {
		err = fmt.Errorf("%w: %s", errRefused, n.Refused)
	}
	if err != nil {
		closeDescriptor(fd)
		return n, -1, err
	}
	return n, fd, nil
}

// closeDescriptor closes what came with a note that should have none.
func closeDescriptor(fd int) {
	if fd >= 0 {
		_ = syscall.Close(fd)
	}
}

// descriptor is the descriptor that came with a note; further ones are closed.
func descriptor(rights []byte) int {
	found := -1
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return found
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if found >= 0 {
				_ = syscall.Close(fd)
				continue
			}
			found = fd
		}
	}
	return found
}

// Offer gives the sockets to the process at the other end and waits until it is
// ready, as long as the deadline of conn allows. From then on, after Yours, they
// are no longer ours to accept from. After an error nothing has changed.
func Offer(conn *net.UnixConn, sockets []Held) (pid int, err error) {
	hello, fd, err := readNote(conn)
	closeDescriptor(fd)
	if err != nil {
		return 0, fmt.Errorf("listen: handing over: %w", err)
	}
	if hello.Version != handoverVersion {
		err := fmt.Errorf("listen: handing over: version %d of the conversation is spoken here, not %d", handoverVersion, hello.Version)
		return 0, errors.Join(err, Refuse(conn, err.Error()))
	}
	number := len(sockets)
	for _, h := range sockets {
		if h.packets != nil {
			number++
		}
	}
	if err := sendNote(conn, note{PID: os.Getpid(), Sockets: number}, nil); err != nil {
		return hello.PID, fmt.Errorf("listen: handing over: %w", err)
	}
	young := map[*packets]*net.UnixConn{}
	defer func() {
		for p, c := range young {
			if err != nil {
				_ = c.Close()
				continue
			}
			p.conn.letGo(c)
		}
	}()
	for _, h := range sockets {
		if err := offer(conn, h); err != nil {
			return hello.PID, fmt.Errorf("listen: handing over the socket of %s: %w", h.Name, err)
		}
		if h.packets == nil {
			continue
		}
		c, err := offerPackets(conn, h)
		if err != nil {
			return hello.PID, fmt.Errorf("listen: handing over the UDP socket of %s: %w", h.Name, err)
		}
		young[h.packets] = c
	}
	answer, fd, err := readNote(conn)
	closeDescriptor(fd)
	if err == nil && !answer.Ready {
		err = errors.New("it did not say that it is ready")
	}
	if err != nil {
		return hello.PID, fmt.Errorf("listen: handing over: the new process did not become ready: %w", err)
	}
	return hello.PID, nil
}

// offer sends one socket. The descriptor is not duplicated through os.File, whose
// Fd would make the socket block, here as well.
func offer(conn *net.UnixConn, h Held) error {
	s, ok := h.Socket.(syscall.Conn)
	if !ok {
		return errors.New("it is no plain socket")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		sent = sendNote(conn, note{Name: h.Name, Address: h.Address, Kept: h.Kept}, syscall.UnixRights(int(fd)))
	})
	return errors.Join(err, sent)
}

// offerPackets sends a UDP socket, and one end of the way by which the new process hands our
// packets on; the other end is the result.
func offerPackets(conn *net.UnixConn, h Held) (young *net.UnixConn, err error) {
	raw, err := h.packets.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		n := note{Name: h.Name, Address: h.Address, Kept: h.packets.kept, Generation: h.packets.conn.own}
		sent = sendNote(conn, n, syscall.UnixRights(int(fd)))
	})
	if err = errors.Join(err, sent); err != nil {
		return nil, err
	}
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	err = sendNote(conn, note{Name: h.Name, Address: h.Address, Older: true}, syscall.UnixRights(pair[1]))
	_ = syscall.Close(pair[1])
	if err != nil {
		_ = syscall.Close(pair[0])
		return nil, err
	}
	return unixConn(pair[0])
}

// unixConn takes a descriptor over.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "packets")
	defer func() { _ = f.Close() }() // FileConn has made its own.
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("it is no Unix socket")
	}
	return u, nil
}

// Yours tells the new process that it is the only one now. After an error everything is ours again.
func Yours(conn *net.UnixConn, sockets []Held) error {
	err := sendNote(conn, note{Yours: true}, nil)
	for _, h := range sockets {
		if err != nil && h.packets != nil {
			h.packets.conn.takeBack()
		}
	}
	return err
}

// Begin is called when the process before has let go: from now on the packets of inherited UDP sockets
// are read.
func (s *Set) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.open {
		if l.socket.udp != nil {
			l.socket.udp.conn.start()
		}
	}
}

// Refuse tells the other process why there is no hand-over.
func Refuse(conn *net.UnixConn, why string) error { return sendNote(conn, note{Refused: why}, nil) }

// Receive takes the sockets that the process at the other end offers, and adds them to
// the inheritance. Ready must follow.
func (i *Inheritance) Receive(conn *net.UnixConn) (pid int, err error) {
	// What is wrong with sending shows in reading: a refusal may wait to be read.
	_ = sendNote(conn, note{Version: handoverVersion, PID: os.Getpid()}, nil)
	head, fd, err := readNote(conn)
	closeDescriptor(fd)
	if err == nil && (head.Sockets < 0 || head.Sockets > mostSockets) {
		err = fmt.Errorf("%d sockets are offered", head.Sockets)
	}
	if err != nil {
		return 0, fmt.Errorf("listen: taking over: %w", err)
	}
	for range head.Sockets {
		n, fd, err := readNote(conn)
		if err == nil && fd < 0 {
			err = errors.New("no descriptor came with it: has this process reached its limit of open files?")
		}
		if err == nil {
			err = i.receive(conn, n, fd)
		}
		if err != nil {
			return head.PID, fmt.Errorf("listen: taking over the socket of %q: %w", n.Name, err)
		}
	}
	return head.PID, nil
}

// receive takes one socket over, and for UDP what follows it.
func (i *Inheritance) receive(conn *net.UnixConn, n note, fd int) error {
	s := inherited{name: n.Name, address: n.Address, kept: n.Kept}
	if !isDatagram(fd) {
		return i.add(fd, s)
	}
	s.packets = &datagrams{generation: n.Generation, kept: n.Kept}
	err := i.add(fd, s)
	next, more, noteErr := readNote(conn)
	if err = errors.Join(err, noteErr); err == nil && (!next.Older || more < 0) {
		err = errors.New("no way to the process before came with the UDP socket")
	}
	if err != nil {
		if more >= 0 {
			_ = syscall.Close(more)
		}
		return err
	}
	s.packets.older, err = unixConn(more)
	return err
}

// Ready tells the giver that this process accepts connections, and waits until it
// has let go. An error means that the giver goes on, so that this process must not; a giver
// that is gone without a word leaves everything to us.
func Ready(conn *net.UnixConn) error {
	// What is wrong with sending shows in reading: a refusal may wait to be read.
	_ = sendNote(conn, note{Ready: true}, nil)
	_, fd, err := readNote(conn)
	closeDescriptor(fd)
	if errors.Is(err, errRefused) {
		return fmt.Errorf("listen: taking over: %w", err)
	}
	return nil
}
