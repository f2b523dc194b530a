//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// One text message of WebSocket (RFC 6455 section 5.2), as clients must and servers
// must not mask it.
const (
	clientHello = "\x81\x85\x00\x00\x00\x00hello"
	serverHello = "\x81\x05hello"
)

// webSocketRoute lets connections switch to WebSocket. It follows the upstream, of
// which each WebSocket holds a connection.
const webSocketRoute = `    connections: { max: 100000 }
` + bareRoute + `    upgrades: [websocket]
`

// webSockets holds many silent WebSockets and says what each costs in memory.
func (b *bench) webSockets() (section, error) {
	// Half of the files are those of the origin, which is in this process; the proxy
	// inherits the limit and has as many.
	room, err := roomForConnections(2 * b.options.idle)
	if err != nil {
		return section{}, err
	}
	n := room / 2
	s := section{
		title: fmt.Sprintf("%d idle WebSockets that have each exchanged a message", n),
		head:  []string{"", "memory before MiB", "after MiB", "KiB/WebSocket", "heap KiB/WebSocket", "failed"},
		notes: []string{"Memory is the resident memory of the process; heap is what Go says of live and not yet collected objects."},
	}
	if n < b.options.idle {
		s.notes = append(s.notes, fmt.Sprintf("%d WebSockets were wanted; the limit of open files allows %d.", b.options.idle, n))
	}
	address, err := b.fleet.freeAddress()
	if err != nil {
		return s, err
	}
	origin, err := net.Listen("tcp", address)
	if err != nil {
		return s, err
	}
	defer origin.Close()
	go acceptWebSockets(origin)

	if err := b.writeCertificate(); err != nil {
		return s, err
	}
	for _, secure := range []bool{false, true} {
		c, cost, err := b.holdWebSockets(address, n, secure)
		if err != nil {
			return s, err
		}
		s.add(c.name, mebibytes(cost.before), mebibytes(cost.after), kibibytes(cost.each), kibibytes(cost.heap), fmt.Sprint(cost.failed))
		s.judge(cost.failed == 0, c.name+": no failed WebSocket", "%d of %d", cost.failed, n)
		if !secure { // What crypto/tls holds for each connection is not ours to judge.
			s.judge(cost.each <= 16<<10, "at most 16 KiB a WebSocket", "%s KiB", kibibytes(cost.each))
		}
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	return s, nil
}

// holdWebSockets starts a Sluice in front of an origin and holds n WebSockets through it.
func (b *bench) holdWebSockets(origin string, n int, secure bool) (*contender, idleCost, error) {
	g, err := b.newGateway("sluice")
	if err != nil {
		return nil, idleCost{}, err
	}
	t := talk{first: openWebSocket, again: sayHello}
	if secure {
		g.name, g.tls = "sluice, TLS", secureListener
		t.tls = &tls.Config{InsecureSkipVerify: true} // We have just made the certificate ourselves.
	}
	c, err := b.startGateway(g, origin, webSocketRoute)
	if err != nil {
		return nil, idleCost{}, err
	}
	if secure {
		c.secure()
	}
	c.admin = g.admin
	cost, err := b.holdIdle(c, n, t)
	return c, cost, err
}

// acceptWebSockets is an origin. It answers ordinary requests, too, and each message
// with a hello, until the listener and the connections are closed by others.
func acceptWebSockets(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serveWebSocket(conn) //nolint:errcheck // The client's side sees what went wrong.
		}()
	}
}

func serveWebSocket(conn net.Conn) error {
	reader := bufio.NewReaderSize(conn, 1024)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return err
		}
		key := request.Header.Get("Sec-WebSocket-Key")
		if key == "" {
			if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return err
			}
			continue
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+
			"Upgrade: websocket\r\nSec-WebSocket-Accept: "+acceptKey(key)+"\r\n\r\n"); err != nil {
			return err
		}
		break
	}
	message := make([]byte, len(clientHello))
	for {
		if _, err := io.ReadFull(reader, message); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, serverHello); err != nil {
			return err
		}
	}
}

// acceptKey is the answer to a key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// webSocketKey is the key of all our handshakes; that of the RFC's example.
const webSocketKey = "dGhlIHNhbXBsZSBub25jZQ=="

// openWebSocket makes the handshake and exchanges a message.
func openWebSocket(conn net.Conn, reader *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET /orders/events HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+webSocketKey+"\r\n\r\n"); err != nil {
		return err
	}
	reader.Reset(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	if got := answer.Header.Get("Sec-WebSocket-Accept"); got != acceptKey(webSocketKey) {
		return fmt.Errorf("the key is answered with %q", got)
	}
	if reader.Buffered() > 0 {
		return errors.New("the origin spoke first")
	}
	return sayHello(conn, reader)
}

// sayHello exchanges a message on an open WebSocket.
func sayHello(conn net.Conn, _ *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, clientHello); err != nil {
		return err
	}
	var got [len(serverHello)]byte
	if _, err := io.ReadFull(conn, got[:]); err != nil {
		return err
	}
	if !bytes.Equal(got[:], []byte(serverHello)) {
		return fmt.Errorf("the message is answered with %q", got)
	}
	return nil
}
