package grpc

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// stubborn is an origin that knows of no deadline. It sends what its path asks for, and then waits
// until its stream is reset, with which code it tells.
type stubborn struct {
	address string
	timeout chan string // what it was told in grpc-timeout
	reset   chan error
}

func serveStubborn(t *testing.T) *stubborn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stubborn{address: listener.Addr().String(), timeout: make(chan string, 9), reset: make(chan error, 9)}
	server := &http.Server{Handler: s, Protocols: onlyHTTP2()}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// onlyHTTP2 is HTTP/2 with prior knowledge.
func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func (s *stubborn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.timeout <- r.Header.Get("Grpc-Timeout")
	w.Header().Set("Content-Type", "application/grpc")
	message := binary.BigEndian.AppendUint32([]byte{0}, 5)
	message = append(message, "hello"...)
	switch r.URL.Path {
	case "/x/Messages":
		_, _ = w.Write(append(message, message...))
		w.(http.Flusher).Flush()
	case "/x/Part":
		_, _ = w.Write(message[:7])
		w.(http.Flusher).Flush()
	}
	<-r.Context().Done()
	_, err := r.Body.Read(make([]byte, 1)) // It says why.
	s.reset <- err
}

const deadlineConfiguration = `
admin: { address: "%[1]s" }
telemetry: { access_log: {} }
listeners: [{ name: plain, address: "%[2]s", protocols: [http/1.1, h2] }]
upstreams:
  - { name: stubborn, endpoints: ["http://%[3]s"], protocol: h2 }
  - { name: bounded, endpoints: ["http://%[3]s"], protocol: h2, timeouts: { request: 300ms } }
routes:
  - { name: stubborn, match: { host: stubborn.example.com }, upstream: stubborn }
  - { name: bounded, match: { host: bounded.example.com }, upstream: bounded }
`

// TestDeadlineIsTheGatewaysOwn asks, with a client that would wait for ever, an origin that would too. Who has set the
// deadline makes no difference: the client, or timeouts.request of the upstream, of which a client that says an hour
// does not know.
func TestDeadlineIsTheGatewaysOwn(t *testing.T) {
	t.Parallel()
	origin := serveStubborn(t)
	var addresses [2]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(deadlineConfiguration, addresses[0], addresses[1], origin.address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(folder, file, addresses[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if err := g.Ready(); err != nil {
		t.Fatal(err, g.Log())
	}
	client := &http.Transport{Protocols: onlyHTTP2()}
	t.Cleanup(client.CloseIdleConnections)
	const messages = "\x00\x00\x00\x00\x05hello\x00\x00\x00\x00\x05hello"
	cases := []struct {
		host    string
		timeout string
		path    string
		body    string
		status  string // of gRPC, in the head or in the trailer
		failure string
	}{
		{"stubborn", "300m", "/x/Nothing", "", "4", ""},
		{"stubborn", "300m", "/x/Messages", messages, "4", ""},
		{"stubborn", "300m", "/x/Part", messages[:7], "", "CANCEL"},
		{"bounded", "", "/x/Nothing", "", "4", ""},
		{"bounded", "", "/x/Messages", messages, "4", ""},
		{"bounded", "1H", "/x/Messages", messages, "4", ""},
	}
	for _, want := range cases {
		path := want.path
		hold, held := io.Pipe() // The client does not end its part either.
		req, err := http.NewRequest("POST", "http://"+addresses[1]+path, hold)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = want.host + ".example.com"
		req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
		if want.timeout != "" {
			req.Header.Set("Grpc-Timeout", want.timeout)
		}
		began := time.Now()
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(path, err)
		}
		body, err := io.ReadAll(resp.Body)
		if took := time.Since(began); took < 300*time.Millisecond {
			t.Errorf("%s %s: over after %v", want.host, path, took)
		}
		status := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
		if resp.StatusCode != 200 || string(body) != want.body || status != want.status ||
			(err != nil) != (want.failure != "") || err != nil && !strings.Contains(err.Error(), want.failure) {
			t.Errorf("%s %s: %d %q %q %v", want.host, path, resp.StatusCode, body, status, err)
		}
		if told := <-origin.timeout; want.timeout == "" && told != "" || want.timeout != "" && (told >= "300000u" || !strings.HasSuffix(told, "u") || len(told) != 7) {
			t.Errorf("%s %s: the origin was told of %q", want.host, path, told)
		}
		if err := <-origin.reset; err == nil || !strings.Contains(err.Error(), "CANCEL") {
			t.Errorf("%s %s: the origin's stream ended with %v", want.host, path, err)
		}
		_ = resp.Body.Close()
		_ = held.Close()
	}
	err = rig.Eventually(func() error {
		if n := strings.Count(g.Log(), `"problem":"deadline_exceeded"`); n != len(cases) {
			return fmt.Errorf("%d of %d exchanges are logged with their problem:\n%s", n, len(cases), g.Log())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
