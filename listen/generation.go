package listen

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
)

// QUIC has no connections that a kernel knows: all packets come from one socket, and when a new process
// takes over it gets those of the connections of the process before, too. So the connection ids that
// we give out say which process they are of. Only the newest process reads the socket; what
// belongs to an earlier one it hands on to the one before it, which does the same. All of them
// write to the socket.

// A connection id is a generation, seven random bytes, and two that tell it from the ids that clients
// choose for their first packets.
const connectionIDLength = 10

// generation numbers the processes that had the socket one after the other.
type generation byte

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (g generation) GenerateConnectionID() (quic.ConnectionID, error) {
	var id [connectionIDLength]byte
	_, _ = rand.Read(id[1:8]) // It never fails.
	id[0] = byte(g)
	binary.BigEndian.PutUint16(id[8:], idCheck(id[:8]))
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (g generation) ConnectionIDLen() int { return connectionIDLength }

// idCheck is no secret: an id that somebody makes up leads to a connection that does not exist.
func idCheck(b []byte) uint16 {
	h := binary.BigEndian.Uint64(b) * 0x9e3779b97f4a7c15
	return uint16(h >> 48)
}

// generationOf says whose packet this is, if it carries an id that one of us has given out (RFC 9000
// §17.2, §17.3).
func generationOf(packet []byte) (g generation, ok bool) {
	at := 1
	if len(packet) > 6 && packet[0]&0x80 != 0 {
		if packet[5] != connectionIDLength {
			return 0, false
		}
		at = 6
	}
	if len(packet) < at+connectionIDLength {
		return 0, false
	}
	id := packet[at : at+connectionIDLength]
	return generation(id[0]), binary.BigEndian.Uint16(id[8:]) == idCheck(id[:8])
}

// sharedConn is a UDP socket that several processes may have. quic-go reads it through ReadBatch.
type sharedConn struct {
	*net.UDPConn
	batch *ipv4.PacketConn
	own   generation

	begin   chan struct{}                // closed when this process may read
	older   atomic.Pointer[net.UnixConn] // to the process before, as long as it is there
	younger atomic.Pointer[net.UnixConn] // from the process that reads the socket in our place
	closing atomic.Bool
	begun   sync.Once
	room    []byte // of the goroutine that reads
}

func newSharedConn(conn *net.UDPConn, own generation) *sharedConn {
	return &sharedConn{UDPConn: conn, batch: ipv4.NewPacketConn(conn), own: own, begin: make(chan struct{})}
}

// start lets reading begin.
func (c *sharedConn) start() { c.begun.Do(func() { close(c.begin) }) }

// SetReadDeadline is how quic-go ends reading.
func (c *sharedConn) SetReadDeadline(t time.Time) error {
	c.closing.Store(!t.IsZero())
	c.start()
	if young := c.younger.Load(); young != nil {
		_ = young.SetReadDeadline(t)
	}
	return c.UDPConn.SetReadDeadline(t)
}

// letGo makes this process read what the younger one hands on, in place of the socket.
func (c *sharedConn) letGo(young *net.UnixConn) {
	c.younger.Store(young)
	_ = c.UDPConn.SetReadDeadline(longAgo) // Whoever reads looks again.
}

// takeBack is for a younger process that did not come.
func (c *sharedConn) takeBack() {
	if young := c.younger.Swap(nil); young != nil {
		_ = c.UDPConn.SetReadDeadline(time.Time{})
		_ = young.Close()
	}
}

var longAgo = time.Unix(1, 0)

// ReadBatch is called by quic-go, on one goroutine. It returns no error that passes: quic-go would take
// that for packets.
func (c *sharedConn) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	<-c.begin
	for {
		young := c.younger.Load()
		n, err := c.readSome(young, messages, flags)
		switch {
		case c.closing.Load():
			return 0, net.ErrClosed
		case err != nil && young != c.younger.Load(): // We are to read elsewhere.
			continue
		}
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			if c.younger.Load() == nil {
				_ = c.UDPConn.SetReadDeadline(time.Time{})
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		if n = c.sift(messages[:n]); n > 0 {
			return n, nil
		}
	}
}

func (c *sharedConn) readSome(young *net.UnixConn, messages []ipv4.Message, flags int) (int, error) {
	if young == nil {
		return c.batch.ReadBatch(messages, flags)
	}
	if c.room == nil {
		c.room = make([]byte, handedRoom)
	}
	size, err := young.Read(c.room)
	if err == io.EOF || size == 0 && err == nil { // It has ended; nobody else can bring us packets.
		c.waitForEnd(young)
		return 0, net.ErrClosed
	}
	if err != nil {
		return 0, err
	}
	if !parseHanded(c.room[:size], &messages[0]) {
		return 0, nil
	}
	return 1, nil
}

// waitForEnd waits until quic-go wants to end, or until the younger process turns out to have died
// before it was ready: its end may be seen here before takeBack is called.
func (c *sharedConn) waitForEnd(young *net.UnixConn) {
	for !c.closing.Load() && c.younger.Load() == young {
		time.Sleep(drainLook)
	}
}

// sift keeps what is ours and hands the rest on. It changes the order of buffers, none is lost.
func (c *sharedConn) sift(messages []ipv4.Message) int {
	older := c.older.Load()
	if older == nil {
		return len(messages)
	}
	kept := 0
	for i := range messages {
		m := &messages[i]
		if g, ok := generationOf(m.Buffers[0][:m.N]); ok && g != c.own {
			if !c.handOn(older, m) {
				return kept + c.keepAll(messages, kept, i)
			}
			continue
		}
		copyMessage(&messages[kept], m)
		kept++
	}
	return kept
}

// keepAll keeps the messages from i on: there is nobody to hand them to.
func (c *sharedConn) keepAll(messages []ipv4.Message, kept, i int) int {
	n := 0
	for ; i < len(messages); i++ {
		copyMessage(&messages[kept+n], &messages[i])
		n++
	}
	return n
}

// copyMessage copies bytes: quic-go knows its buffers by their place.
func copyMessage(to, from *ipv4.Message) {
	if to == from {
		return
	}
	to.N = copy(to.Buffers[0], from.Buffers[0][:from.N])
	to.NN = copy(to.OOB, from.OOB[:from.NN])
	to.Addr, to.Flags = from.Addr, from.Flags
}

// A packet that is handed on is the length of its control data, the length of its address in text, both,
// and the packet.
const handedRoom = 4 << 10

// handPatience is how long a packet may wait for the process before; then it is lost, as packets are.
const handPatience = 5 * time.Millisecond

// handOn gives a packet to the process before, and says whether that is still there.
func (c *sharedConn) handOn(older *net.UnixConn, m *ipv4.Message) bool {
	from, ok := m.Addr.(*net.UDPAddr)
	if !ok {
		return true
	}
	if c.room == nil {
		c.room = make([]byte, handedRoom)
	}
	address := from.AddrPort().String()
	if 2+m.NN+len(address)+m.N > handedRoom || m.NN > 255 || len(address) > 255 {
		return true
	}
	out := append(c.room[:0], byte(m.NN), byte(len(address)))
	out = append(append(append(out, m.OOB[:m.NN]...), address...), m.Buffers[0][:m.N]...)
	_ = older.SetWriteDeadline(time.Now().Add(handPatience))
	if _, err := older.Write(out); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.older.Store(nil)
		_ = older.Close()
		return false
	}
	return true
}

// parseHanded reads what handOn has written.
func parseHanded(b []byte, m *ipv4.Message) bool {
	if len(b) < 2 || len(b) < 2+int(b[0])+int(b[1]) {
		return false
	}
	control, rest := b[2:2+int(b[0])], b[2+int(b[0]):]
	from, err := netip.ParseAddrPort(string(rest[:b[1]]))
	packet := rest[b[1]:]
	if err != nil || len(packet) > len(m.Buffers[0]) || len(control) > len(m.OOB) {
		return false
	}
	m.N, m.NN, m.Flags = copy(m.Buffers[0], packet), copy(m.OOB, control), 0
	m.Addr = net.UDPAddrFromAddrPort(from)
	return true
}
