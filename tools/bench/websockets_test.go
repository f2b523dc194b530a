//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"testing"
)

func TestAcceptKey(t *testing.T) {
	t.Parallel()
	// The example of RFC 6455 section 1.3.
	if got := acceptKey(webSocketKey); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	client, origin := net.Pipe()
	defer client.Close()
	ended := make(chan error)
	go func() { ended <- serveWebSocket(origin) }()
	reader := bufio.NewReader(nil)
	if err := openWebSocket(client, reader); err != nil {
		t.Fatal(err)
	}
	if err := sayHello(client, reader); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-ended; err != io.EOF {
		t.Error(err)
	}
}

func TestWebSocketRefused(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"refused":      "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		"a wrong key":  "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n",
		"hangs up":     "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + acceptKey(webSocketKey) + "\r\n\r\n",
		"speaks first": "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + acceptKey(webSocketKey) + "\r\n\r\n" + serverHello,
	} {
		address := serveOnce(t, func(conn net.Conn) {
			conn.Read(make([]byte, 1024)) //nolint:errcheck // The answer is the same.
			io.WriteString(conn, answer)  //nolint:errcheck // The client sees it.
		})
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := openWebSocket(conn, bufio.NewReader(nil)); err == nil {
			t.Errorf("%s: no error", name)
		}
		conn.Close()
	}
}
