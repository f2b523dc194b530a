package rig

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Origin is what the gateway forwards to. It either hands its connections to the
// test, one by one, or answers everything by itself (Answer).
type Origin struct {
	Address string

	mu       sync.Mutex
	listener *net.TCPListener
	waiting  chan *net.TCPConn
	answer   string
	conns    []*net.TCPConn
	accepted atomic.Int64
	heads    atomic.Int64
	requests []*Message
}

// NewOrigin returns an origin that listens.
func NewOrigin() (*Origin, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	o := &Origin{Address: address, waiting: make(chan *net.TCPConn, 10000)}
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
		if answer == "" {
			o.waiting <- conn
			continue
		}
		go o.respond(conn, answer)
	}
}

// Answer makes the origin answer every request on every new connection with the
// same bytes.
func (o *Origin) Answer(bytes string) {
	o.mu.Lock()
	o.answer = bytes
	o.mu.Unlock()
}

func (o *Origin) respond(raw *net.TCPConn, answer string) {
	c := NewConn(raw)
	defer c.Drop()
	for {
		m, err := ReadHead(c.reader)
		if err != nil {
			return
		}
		o.heads.Add(1)
		if err := m.ReadBody(c.reader, false); err != nil || m.Incomplete != nil {
			return
		}
		o.mu.Lock()
		o.requests = append(o.requests, m)
		o.mu.Unlock()
		if _, err := raw.Write([]byte(answer)); err != nil {
			return
		}
	}
}

// Accept waits for the next connection.
func (o *Origin) Accept() (*Conn, error) {
	select {
	case raw := <-o.waiting:
		return NewConn(raw), nil
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
