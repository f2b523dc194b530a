//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// serveOnce accepts connections until the test ends and hands each to serve.
func serveOnce(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	certificate, key, err := makeCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestMakeCertificate(t *testing.T) {
	t.Parallel()
	pair := certificate(t)
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key is a %T, not ECDSA P-256", pair.PrivateKey)
	}
	if err := pair.Leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"http/1.1"}}
	var mu sync.Mutex
	var states []tls.ConnectionState
	address := serveOnce(t, func(raw net.Conn) {
		conn := tls.Server(raw, config)
		conn.Read(make([]byte, 1)) //nolint:errcheck // The end is awaited.
		mu.Lock()
		states = append(states, conn.ConnectionState())
		mu.Unlock()
		conn.Close() //nolint:errcheck // Nothing is left to lose.
	})
	result, err := runHandshakes(context.Background(), cores{}, load{url: "https://" + address + "/", connections: 2, duration: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if result.requests == 0 || result.errors != 0 || result.p50 <= 0 || result.p99 < result.p50 {
		t.Errorf("%+v", result)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(states) != result.requests {
		t.Errorf("the server saw %d handshakes, the clients %d", len(states), result.requests)
	}
	for _, state := range states {
		if !state.HandshakeComplete || state.DidResume || state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519 {
			t.Fatalf("%+v", state)
		}
	}
}

func TestHandshakeFails(t *testing.T) {
	t.Parallel()
	pair := certificate(t)
	for name, serve := range map[string]func(net.Conn){
		"hangs up": func(net.Conn) {},
		"speaks TLS 1.2 only": func(raw net.Conn) {
			tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12}).Handshake() //nolint:errcheck // The client sees it.
		},
		"speaks first": func(raw net.Conn) {
			tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}}).Write([]byte("hello")) //nolint:errcheck // The same.
		},
		"refuses after the handshake": func(raw net.Conn) {
			tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}).Handshake() //nolint:errcheck // The same.
		},
	} {
		if took, err := shake(serveOnce(t, serve), shakeConfig()); err == nil {
			t.Errorf("%s: %v", name, took)
		}
	}
	if result, err := runHandshakes(context.Background(), cores{}, load{url: "https://127.0.0.1:1/", connections: 1, duration: time.Millisecond}); err == nil {
		t.Errorf("nobody listens: %+v", result)
	}
}
