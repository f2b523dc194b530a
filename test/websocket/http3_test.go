package websocket

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// No peer that others wrote speaks WebSocket over HTTP/3 (RFC 9220), so here the client is ours: it talks to each
// origin, and both ends are told when the gateway goes.
func TestOverHTTP3(t *testing.T) {
	t.Parallel()
	g := begin(t)
	fields := []rig.Field{{Name: ":protocol", Value: "websocket"}, {Name: "Host", Value: "example.com"}, {Name: "Sec-WebSocket-Version", Value: "13"}}
	// A message of 1 MiB, to be masked with a key that is all zeros, and Close, 1001.
	message := strings.Repeat("0123456789abcdef", 1<<16)
	const length, noKey = "\x00\x00\x00\x00\x00\x10\x00\x00", "\x00\x00\x00\x00"
	clients := map[string]rig.Peer{}
	for name, origin := range g.origins {
		client, err := rig.Wire{Version: "3"}.Connect(g.secure, "")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Drop()
		if err := client.Begin(rig.Head{Method: "CONNECT", Target: "/" + name, Fields: fields}, true); err != nil {
			t.Fatal(err)
		}
		head, err := client.Head()
		if err != nil || head.Status() != 200 || head.Value("Sec-WebSocket-Accept")+head.Value("Upgrade") != "" {
			t.Fatalf("%s: %v, %v", name, head, err)
		}
		origin.says("open")
		if err := client.Add("\x82\xff" + length + noKey + message); err != nil {
			t.Fatal(err)
		}
		want := "\x82\x7f" + length + message
		if got, err := client.Part(len(want)); got != want || err != nil {
			t.Errorf("%s: %d bytes came back of %d, %v", name, len(got), len(want), err)
		}
		clients[name] = client
	}
	// Each client reads by itself: with the end of its stream it loses what it has not read.
	ended := make(chan error, len(clients))
	for name, client := range clients {
		go func() {
			const goingAway = "\x88\x02\x03\xe9"
			got, err := client.Part(len(goingAway))
			if err == nil && got != goingAway {
				err = errors.New("no Close")
			}
			if err = errors.Join(err, client.Add("\x88\x82"+noKey+"\x03\xe9")); err != nil {
				err = fmt.Errorf("%s: %q: %w", name, got, err)
			}
			ended <- err
		}()
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for name, origin := range g.origins {
		if code := origin.says("closed"); code != "1001" {
			t.Errorf("%s was closed with %s", name, code)
		}
	}
	if code, err := g.Wait(); code != 0 || err != nil {
		t.Errorf("the gateway ended with %d, %v: %s", code, err, g.Log())
	}
}
