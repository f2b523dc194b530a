package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Inheritance is the listening sockets that were open before this process began:
// systemd opened them, or the process before this one gives them away. Whoever
// wants to listen takes from it first. It may be nil, which is none, and be used
// by many goroutines.
type Inheritance struct {
	logger *slog.Logger

	mu      sync.Mutex
	sockets []*inherited
}

// inherited is one of the sockets.
type inherited struct {
	net.Listener // nil where it is a socket for packets
	packets      *datagrams
	name         string // of the listener that it is for; "" says nothing
	address      string // as the configuration of the giver has it; "" says nothing
	kept         bool   // the giver keeps it open and gives it to the next process too
}

// NewInheritance returns one without sockets.
func NewInheritance(logger *slog.Logger) *Inheritance { return &Inheritance{logger: logger} }

// systemd's protocol (sd_listen_fds): descriptors from 3 on.
const firstActivated = 3

// Activate adds the sockets that systemd hands to this process, and takes the
// variables that tell of them out of the environment, so that no child believes
// they are its own. A socket that cannot be used is an error.
func (i *Inheritance) Activate() error {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(name)
	}
	all, err := activated(pid, count, names, os.Getpid())
	if err != nil {
		return err
	}
	for n := range all {
		syscall.CloseOnExec(firstActivated + n)
	}
	for n, name := range all {
		if err := i.add(firstActivated+n, inherited{name: name, kept: true}); err != nil {
			return fmt.Errorf("listen: socket activation: descriptor %d (%q): %w", firstActivated+n, name, err)
		}
	}
	return nil
}

// activated reads the variables: the names of the descriptors, "" where there is none.
func activated(pid, count, names string, self int) ([]string, error) {
	if count == "" || pid == "" {
		return nil, nil
	}
	if p, err := strconv.Atoi(pid); err != nil {
		return nil, fmt.Errorf("listen: socket activation: LISTEN_PID is %q, which is no process", pid)
	} else if p != self {
		return nil, nil // They are for somebody between systemd and us.
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1000 {
		return nil, fmt.Errorf("listen: socket activation: LISTEN_FDS is %q, which is no number of sockets", count)
	}
	all := make([]string, n)
	if names == "" {
		return all, nil
	}
	given := strings.Split(names, ":")
	if len(given) != n {
		return nil, fmt.Errorf("listen: socket activation: LISTEN_FDNAMES has %d names for %d sockets", len(given), n)
	}
	copy(all, given)
	return all, nil
}

// add takes a descriptor over, and closes it where it is no socket to accept from.
func (i *Inheritance) add(fd int, s inherited) error {
	f := os.NewFile(uintptr(fd), s.name)
	if f == nil {
		return fmt.Errorf("there is no descriptor %d", fd)
	}
	defer func() { _ = f.Close() }() // FileListener has made its own.
	if err := acceptable(fd); err != nil {
		return err
	}
	if isDatagram(fd) {
		if s.packets == nil {
			s.packets = &datagrams{kept: s.kept}
		}
		c, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		udp, ok := c.(*net.UDPConn)
		if !ok {
			_ = c.Close()
			return errors.New("it is no UDP socket")
		}
		s.packets.udp = udp
	} else {
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		s.Listener = l
	}
	i.mu.Lock()
	i.sockets = append(i.sockets, &s)
	i.mu.Unlock()
	return nil
}

// acceptable says what is wrong with a descriptor that is no listening TCP socket.
func acceptable(fd int) error {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return fmt.Errorf("it is no socket: %w", err)
	}
	if kind != syscall.SOCK_STREAM && kind != syscall.SOCK_DGRAM {
		return fmt.Errorf("it is a socket of type %d, neither a stream nor for datagrams: use ListenStream=, or ListenDatagram= for h3, in the socket unit", kind)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		return err
	}
	switch at.(type) {
	case *syscall.SockaddrInet4, *syscall.SockaddrInet6:
	default:
		return fmt.Errorf("it is no socket of TCP or UDP: listeners have addresses of the form host:port")
	}
	if kind == syscall.SOCK_DGRAM {
		return nil
	}
	listening, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if listening == 0 {
		return fmt.Errorf("it is a connection, not a listening socket: use Accept=no in the socket unit")
	}
	return nil
}

// Take gives the socket for a listener away: the one that has its name, else the
// one that has its address. Without one it returns nil. kept says that somebody
// else keeps the socket open for the process after this one.
func (i *Inheritance) Take(name, address string) (l net.Listener, kept bool) {
	if i == nil {
		return nil, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	best, rank := -1, 0
	for n, s := range i.sockets {
		if r := s.fits(name, address); s.packets == nil && r > rank {
			best, rank = n, r
		}
	}
	if best < 0 {
		return nil, false
	}
	s := i.sockets[best]
	i.sockets = append(i.sockets[:best], i.sockets[best+1:]...)
	i.logger.Info("socket inherited", "listener", name, "address", address, "socket", s.Addr().String())
	return s.Listener, s.kept
}

// fits tells how well the socket fits a listener; 0 is not at all.
func (s *inherited) fits(name, address string) int {
	switch {
	case s.name == name && s.address == "":
		return 3 // Whoever names a socket for a listener means it, whatever its address.
	case s.address == address && s.name == name:
		return 3
	case s.address == address:
		return 2
	case sameAddress(s.Addr(), address):
		return 1
	}
	return 0
}

// sameAddress says whether listening at address would be listening where the socket is.
func sameAddress(at net.Addr, address string) bool {
	bound, ok := at.(*net.TCPAddr)
	if u, isUDP := at.(*net.UDPAddr); isUDP {
		bound, ok = &net.TCPAddr{IP: u.IP, Port: u.Port, Zone: u.Zone}, true
	}
	if !ok {
		return false
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || want.Port != bound.Port || want.Port == 0 || want.Zone != bound.Zone {
		return false
	}
	if len(want.IP) == 0 || want.IP.IsUnspecified() {
		return bound.IP.IsUnspecified()
	}
	return want.IP.Equal(bound.IP)
}

// Close closes what nobody has taken. It is called when the first configuration is
// in force.
func (i *Inheritance) Close() {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.sockets {
		i.logger.Warn("inherited socket closed: no listener has its name or address", "name", s.name, "socket", s.Addr().String())
		if s.packets != nil {
			s.packets.close()
			continue
		}
		_ = s.Close()
	}
	i.sockets = nil
}

// datagrams is an inherited socket for h3.
type datagrams struct {
	udp        *net.UDPConn
	generation generation    // of the process before
	older      *net.UnixConn // to that process, or nil where nobody is behind the socket
	kept       bool
}

func (d *datagrams) close() {
	_ = d.udp.Close()
	if d.older != nil {
		_ = d.older.Close()
	}
}

// Addr is the address that the socket is bound to.
func (s *inherited) Addr() net.Addr {
	if s.packets != nil {
		return s.packets.udp.LocalAddr()
	}
	return s.Listener.Addr()
}

// isDatagram says whether a descriptor is a socket for datagrams.
func isDatagram(fd int) bool {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	return err == nil && kind == syscall.SOCK_DGRAM
}

// takePackets is Take for the UDP socket of a listener; nil is that there is none.
func (i *Inheritance) takePackets(name, address string) *datagrams {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	best, rank := -1, 0
	for n, s := range i.sockets {
		if r := s.fits(name, address); s.packets != nil && r > rank {
			best, rank = n, r
		}
	}
	if best < 0 {
		return nil
	}
	s := i.sockets[best]
	i.sockets = append(i.sockets[:best], i.sockets[best+1:]...)
	i.logger.Info("socket inherited", "listener", name, "address", address, "socket", "udp "+s.Addr().String())
	return s.packets
}
