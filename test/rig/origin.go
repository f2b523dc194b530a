package rig

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Origin is what the gateway forwards to. It either hands its connections to the
// test, one by one, or answers everything by itself (Answer, Reply).
type Origin struct {
	Address string
	Wire    Wire // what it speaks: one of Origins

	mu       sync.Mutex
	listener *net.TCPListener
	waiting  chan *net.TCPConn
	answer   func(Peer) error
	conns    []*net.TCPConn
	accepted atomic.Int64
	heads    atomic.Int64
	requests []*Message
}

// NewOrigin returns an origin that listens, and speaks HTTP/1.1.
func NewOrigin() (*Origin, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	o := &Origin{Address: address, Wire: Origins[0], waiting: make(chan *net.TCPConn, 10000)}
	return o, o.Up()
}

// Up listens; it does nothing where that is so already.
func (o *Origin) Up() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return err
	}
	o.listener = l.(*net.TCPListener)
	go o.serve(o.listener)
	return nil
}

// Down stops listening: connections are refused. Those that are open stay.
func (o *Origin) Down() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listener == nil {
		return nil
	}
	// A child that is being started holds copies of all sockets until it is a process of its
	// own; the lock waits for that, so that nobody listens when Down has returned.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := o.listener.Close()
	o.listener = nil
	return err
}

func (o *Origin) serve(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return
		}
		o.accepted.Add(1)
		o.mu.Lock()
		answer := o.answer
		o.conns = append(o.conns, conn)
		o.mu.Unlock()
		if answer == nil {
			o.waiting <- conn
			continue
		}
		go o.respond(conn, answer)
	}
}

// Answer makes the origin answer every request on every new connection with the
// same bytes of HTTP/1.
func (o *Origin) Answer(bytes string) {
	o.respondWith(func(p Peer) error {
		_, err := p.Bytes().data.Write([]byte(bytes))
		return err
	})
}

// Reply makes the origin answer every request on every new connection with the
// same message.
func (o *Origin) Reply(h Head, body string) {
	o.respondWith(func(p Peer) error { return Send(p, h, body) })
}

func (o *Origin) respondWith(answer func(Peer) error) {
	o.mu.Lock()
	o.answer = answer
	o.mu.Unlock()
}

func (o *Origin) respond(raw *net.TCPConn, answer func(Peer) error) {
	p, err := o.Wire.Serve(raw)
	if err != nil {
		return
	}
	defer p.Drop()
	for o.respondOnce(p, answer) == nil {
	}
}

func (o *Origin) respondOnce(p Peer, answer func(Peer) error) error {
	m, err := p.Head()
	if err != nil {
		return err
	}
	o.heads.Add(1)
	if err := errors.Join(p.Body(m, false), m.Incomplete); err != nil {
		return err
	}
	o.mu.Lock()
	o.requests = append(o.requests, m)
	o.mu.Unlock()
	return answer(p)
}

// Accept waits for the next connection, and gives its bytes.
func (o *Origin) Accept() (*Conn, error) {
	raw, err := o.next()
	if err != nil {
		return nil, err
	}
	return NewConn(raw), nil
}

// AcceptPeer waits for the next connection.
func (o *Origin) AcceptPeer() (Peer, error) {
	raw, err := o.next()
	if err != nil {
		return nil, err
	}
	return o.Wire.Serve(raw)
}

func (o *Origin) next() (*net.TCPConn, error) {
	select {
	case raw := <-o.waiting:
		return raw, nil
	case <-time.After(Patience):
		return nil, errors.New("the gateway did not connect to the origin")
	}
}

// Requests is how many requests Answer has answered; Heads counts those as well
// whose body never came to its end; Accepted is how many connections there were.
func (o *Origin) Requests() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(len(o.requests))
}

func (o *Origin) Heads() int64    { return o.heads.Load() }
func (o *Origin) Accepted() int64 { return o.accepted.Load() }

// Last is the last request that was answered.
func (o *Origin) Last() *Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) == 0 {
		return nil
	}
	return o.requests[len(o.requests)-1]
}

// Unexpected says whether connections came that nobody accepted.
func (o *Origin) Unexpected() error {
	if n := len(o.waiting); n > 0 {
		return fmt.Errorf("%d connections came to the origin that the script does not know of", n)
	}
	return nil
}

// Close ends everything.
func (o *Origin) Close() {
	_ = o.Down()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		_ = c.Close()
	}
}
