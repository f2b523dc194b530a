package http2

//lint:file-ignore SA1019 The twin is wanted as it is, not as net/http bundles it: that one is older.

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"

	xhttp2 "golang.org/x/net/http2"
)

// origin is the twin's server. Without a number of streams it allows its own.
type origin struct {
	socket net.Listener
	conns  sync.WaitGroup
}

func newOrigin(t testing.TB, streams uint32, handler http.Handler) *origin {
	t.Helper()
	server := &xhttp2.Server{MaxConcurrentStreams: streams}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{socket: socket}
	base := &http.Server{}
	if err := xhttp2.ConfigureServer(base, server); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.conns.Go(func() {
		for {
			nc, err := socket.Accept()
			if err != nil {
				return
			}
			o.conns.Go(func() {
				server.ServeConn(nc, &xhttp2.ServeConnOpts{Handler: handler, BaseConfig: base, Context: ctx})
			})
		}
	})
	t.Cleanup(func() {
		_ = socket.Close()
		cancel()
		o.conns.Wait()
	})
	return o
}

// transport is the twin: a client that somebody else wrote.
func (g *gateway) transport() http.RoundTripper {
	tr := &xhttp2.Transport{
		AllowHTTP:          true,
		DisableCompression: true,
		DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
	g.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// secureTransport is the same over TLS.
func secureTransport(t testing.TB) http.RoundTripper {
	tr := &xhttp2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}
