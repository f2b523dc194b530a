package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// DefaultAddress is where the admin listener is unless something else is said:
// nobody but this machine reaches it.
const DefaultAddress = "127.0.0.1:9901"

// The limits of a connection to the admin listener. Headers may have some 4 KiB
// more than headerBytes, which net/http adds.
const (
	headTimeout    = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = time.Minute
	headerBytes    = 8 << 10
	maxConnections = 64
)

// Server is a running admin listener.
type Server struct {
	server *http.Server
	socket net.Listener
	served chan struct{} // closed when no connection is accepted any more
}

// Start binds the address and begins to answer. It is called by the process when
// its configuration has an admin listener. The error names the address.
func Start(o Options) (*Server, error) {
	if o.Address == "" {
		o.Address = DefaultAddress
	}
	socket := o.Socket
	if socket == nil {
		var err error
		if socket, err = net.Listen("tcp", o.Address); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	local := loopback(socket.Addr())
	if !local {
		o.Logger.Warn("admin listener can be reached from other machines", slog.String("address", socket.Addr().String()))
	}
	s := &Server{
		socket: socket,
		served: make(chan struct{}),
		server: &http.Server{
			Handler:           newHandler(&o, local),
			ReadHeaderTimeout: headTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    headerBytes,
			ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		},
	}
	go func() {
		defer close(s.served)
		if err := s.server.Serve(newBounded(socket)); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("admin listener ended", slog.Any("error", err))
		}
	}()
	return s, nil
}

// loopback says whether only this machine can reach an address.
func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Addr is the address that the listener is bound to.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// Socket is what the listener accepts from, to be handed over to another process.
func (s *Server) Socket() net.Listener { return s.socket }

// Shutdown stops accepting, lets the requests that are being answered end, and
// cuts them off when ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("admin: requests were cut off: %w", err), s.server.Close())
	}
	<-s.served
	return err
}

// bounded is a socket with at most maxConnections open connections; further
// clients wait in the kernel's queue.
type bounded struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBounded(socket net.Listener) *bounded {
	return &bounded{Listener: socket, slots: make(chan struct{}, maxConnections), closed: make(chan struct{})}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	conn, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &boundedConn{Conn: conn, slots: b.slots}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// boundedConn gives its slot back when it is closed.
type boundedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
