package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sluice-gateway/sluice/wire/http3"
)

// HTTP3 is the protocol of Spec.Protocols that is spoken over UDP, at the address of the
// listener.
const HTTP3 = http3.Protocol

// packets is the UDP socket of a listener that speaks HTTP/3. It belongs to the socket beside which
// it was opened, and passes from a listener to its successor together with that.
type packets struct {
	owner     *atomic.Pointer[listener]
	logger    *slog.Logger
	conn      *sharedConn
	kept      bool // somebody else keeps the socket open too
	transport *quic.Transport
	early     *quic.EarlyListener
	alive     atomic.Int64 // connections, and handshakes that may become some
	pending   atomic.Int64 // those whose handshake is not complete
	close     sync.Once
	closed    chan struct{}
}

// openPackets opens the UDP socket with the address of a TCP socket, or takes it from what was there before.
func openPackets(s *socket, spec *Spec, inherited *Inheritance) (*packets, error) {
	at, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("%s is no TCP address: h3 cannot be spoken there", s.Addr())
	}
	// It looks at the size of its buffers and would say on standard error that they are small.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	p := &packets{owner: &s.owner, logger: s.logger, closed: make(chan struct{})}
	if from := inherited.takePackets(spec.Name, spec.Address); from != nil {
		p.conn, p.kept = newSharedConn(from.udp, from.generation+1), from.kept
		if from.older != nil {
			p.conn.older.Store(from.older)
			return p, nil // Set.Begin lets it read.
		}
		p.conn.start()
		return p, nil
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone})
	if err != nil {
		return nil, fmt.Errorf("for h3: %w", err)
	}
	p.conn = newSharedConn(conn, 0)
	p.conn.start()
	return p, nil
}

// altSvc is how the socket is announced (RFC 7838, RFC 9114 §3.1.1). For a day clients may come
// here first.
func (p *packets) altSvc() string {
	port := p.conn.LocalAddr().(*net.UDPAddr).Port
	return `h3=":` + strconv.Itoa(port) + `"; ma=86400`
}

// mostHandshakes is how many clients may be in their handshake at once before the next one has to
// prove that its address is its own, which costs it one more round trip (RFC 9000 §8.1.2).
const mostHandshakes = 100

// start accepts connections from now on.
func (p *packets) start() error {
	p.transport = &quic.Transport{
		Conn:                  p.conn,
		ConnectionIDGenerator: p.conn.own,
		ConnContext:           p.admit,
		VerifySourceAddress:   func(net.Addr) bool { return p.pending.Load() > mostHandshakes },
	}
	settings := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{HTTP3},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if store := p.owner.Load().speaks.Load().store; store != nil {
				if config := store.QUICConfig(); config != nil {
					return config, nil
				}
			}
			return nil, errNoCertificates
		},
	}
	config := p.owner.Load().h3.Config()
	config.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) { return p.owner.Load().h3.Config(), nil }
	early, err := p.transport.ListenEarly(settings, config)
	if err != nil {
		_ = p.conn.Close()
		return fmt.Errorf("listen: h3: %w", err)
	}
	p.early = early
	p.lookAtBuffer()
	go p.accept()
	return nil
}

// wantedBuffer is how many bytes of packets should fit into the kernel's buffer; quic-go asks for more
// than that.
const wantedBuffer = 2 << 20

// lookAtBuffer says so where the system gives less.
func (p *packets) lookAtBuffer() {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		size, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		if err == nil && size/2 < wantedBuffer { // Linux says twice what it gives (socket(7)).
			p.logger.Warn("the UDP buffer is small: packets may be lost under load", "listener", p.owner.Load().spec.Name,
				"bytes", size/2, "sysctl", "net.core.rmem_max=7500000")
		}
	})
}

// attempt is a connection from its first packet on. It is the context of the connection, and
// is found in it under attemptKey.
type attempt struct {
	context.Context
	seen atomic.Bool // it was accepted, or it has ended before
}

type attemptKey struct{}

func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

var errFull = errors.New("listen: the listener has no room for another connection")

// admit is asked for each new connection before anything is done for it; one that is refused hears
// CONNECTION_REFUSED.
func (p *packets) admit(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	l := p.owner.Load()
	if limit := l.max.Load(); limit > 0 && int64(l.connections()+p.unaccepted()) >= limit {
		l.metrics.Refused()
		return nil, errFull
	}
	a := &attempt{Context: ctx}
	p.alive.Add(1)
	p.pending.Add(1)
	context.AfterFunc(ctx, func() {
		p.alive.Add(-1)
		if !a.seen.Swap(true) {
			p.pending.Add(-1)
			l.metrics.HandshakeFailed()
		}
	})
	return a, nil
}

// unaccepted is about how many clients have sent their first packet and are no connections yet.
func (p *packets) unaccepted() int {
	return max(int(p.alive.Load())-p.owner.Load().h3.Connections(), 0)
}

// follow waits for the end of the handshake of a connection. It was accepted before that, when it could
// be sent something, so that early data need not wait.
func (p *packets) follow(qc *quic.Conn, m Metrics) {
	defer p.pending.Add(-1)
	select {
	case <-qc.HandshakeComplete():
		return
	case <-qc.Context().Done():
	}
	select {
	case <-qc.HandshakeComplete(): // It has ended behind that.
	default:
		m.HandshakeFailed()
	}
}

// accept takes connections until the socket is stopped.
func (p *packets) accept() {
	for {
		qc, err := p.early.Accept(context.Background())
		if err != nil {
			return
		}
		l := p.owner.Load()
		if a, ok := qc.Context().Value(attemptKey{}).(*attempt); ok && !a.seen.Swap(true) {
			go p.follow(qc, l.metrics)
		}
		l.metrics.Opened(0)
		l.h3.Admit()
		go func() {
			defer l.metrics.Closed(0)
			l.h3.ServeConn(qc)
		}()
	}
}

// stop ends accepting. The socket stays open until the connections have ended.
func (p *packets) stop() {
	if p.early == nil {
		_ = p.conn.Close()
		return
	}
	if p.conn.younger.Load() == nil { // Else what is in its handshake may come to its end.
		_ = p.early.Close()
	}
	go func() {
		for p.alive.Load() > 0 {
			select {
			case <-time.After(drainLook):
			case <-p.closed:
				return
			}
		}
		p.shut()
	}()
}

// shut closes the socket.
func (p *packets) shut() {
	p.close.Do(func() {
		close(p.closed)
		if p.transport != nil {
			_ = p.transport.Close()
		}
		_ = p.conn.Close()
	})
}
