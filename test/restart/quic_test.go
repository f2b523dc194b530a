package restart

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluice-gateway/sluice/test/rig"
)

// packeted is a family that speaks HTTP/3 too.
func packeted(t *testing.T) (f *family, secure string) {
	t.Helper()
	f, secure = newFamily(t, "10s"), free(t)
	f.write(fmt.Sprintf(`drain: { shutdown: %s }
admin: { address: "%s" }
listeners:
  - { name: secure, address: "%s", protocols: [http/1.1, h2, h3], tls: { self_signed: true } }
upstreams:
  - { name: origin, endpoints: ["http://%s"] }
routes:
  - { name: all, match: { path: /** }, upstream: origin }
`, f.drain, f.admin, secure, f.origin.address))
	return f, secure
}

// dialPackets makes a connection of HTTP/3.
func dialPackets(address string) (*quic.Conn, *http3.ClientConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, address, &tls.Config{
		ServerName: "localhost", NextProtos: []string{"h3"},
		InsecureSkipVerify: true, // Each process makes a certificate of its own.
	}, &quic.Config{HandshakeIdleTimeout: rig.Patience})
	if err != nil {
		return nil, nil, err
	}
	return conn, (&http3.Transport{}).NewClientConn(conn), nil
}

// echoed sends a body and wants it back.
func echoed(c *http3.ClientConn, path, body string) error {
	req, err := http.NewRequest("POST", "https://localhost"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || string(got) != body) {
		err = fmt.Errorf("%d %q came back for %q", resp.StatusCode, got, body)
	}
	return err
}

// told says whether an error means that the request was not processed, or could not be sent any more, so that
// a client may send it again on another connection.
func told(err error) bool {
	var stream *quic.StreamError
	if errors.As(err, &stream) && stream.Remote {
		return stream.ErrorCode == quic.StreamErrorCode(http3.ErrCodeRequestRejected)
	}
	text := err.Error()
	return strings.Contains(text, "graceful shutdown") || strings.Contains(text, "H3_REQUEST_REJECTED") || strings.Contains(text, "H3_NO_ERROR")
}

// Clients of HTTP/3 notice no restart but by being told to open another connection.
func TestUpgradesUnderHTTP3(t *testing.T) {
	t.Parallel()
	f, secure := packeted(t)
	pid := f.start()
	f.ready()
	var (
		stop    atomic.Bool
		asked   atomic.Int64
		clients sync.WaitGroup
	)
	for who := range 3 {
		clients.Go(func() {
			for !stop.Load() {
				conn, c, err := dialPackets(secure)
				if err != nil {
					t.Errorf("client %d: a connection: %v", who, err)
					return
				}
				for n := 0; !stop.Load(); n++ {
					if err = echoed(c, "/", fmt.Sprint(who, n)); err != nil {
						break
					}
					asked.Add(1)
				}
				_ = conn.CloseWithError(0x100, "")
				if err != nil && !told(err) {
					t.Errorf("client %d: %v", who, err)
					return
				}
			}
		})
	}
	flows := func() {
		before := asked.Load()
		if err := rig.Eventually(func() error {
			if asked.Load() < before+50 && !t.Failed() {
				return errors.New("nothing flows")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		flows()
		_, c, err := dialPackets(secure)
		if err != nil {
			t.Fatal(err)
		}
		held := make(chan error, 1)
		go func() { held <- echoed(c, "/hold", "held") }()
		<-f.origin.begun
		next := f.upgrade(pid)
		flows()
		select {
		case f.origin.goOn <- struct{}{}:
			err = <-held
		case err = <-held:
		}
		if err != nil {
			t.Errorf("the request that was under way: %v", err)
		}
		f.exits(pid, 0)
		pid = next
	}
	flows()
	stop.Store(true)
	clients.Wait()
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	f.gone()
}

// A UDP socket that systemd has opened is found by its name, like the one beside it.
func TestActivationForHTTP3(t *testing.T) {
	t.Parallel()
	f, _ := packeted(t)
	s := newSupervisor(f)
	named := free(t)
	s.listens("secure", named)
	at, err := net.ResolveUDPAddr("udp", named)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	file, err := udp.File()
	_ = udp.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.gives("secure", file)
	pid := s.starts()
	f.ready()
	for range 2 {
		conn, c, err := dialPackets(named)
		if err != nil {
			t.Fatal(err)
		}
		if err := echoed(c, "/", "hello"); err != nil {
			t.Error(err)
		}
		_ = conn.CloseWithError(0x100, "")
		next := f.upgrade(pid)
		f.exits(pid, 0)
		pid = next
	}
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	f.gone()
}
