package http1

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// Where only the end of the connection tells the end of an answer, an answer that
// broke must not end like one that is whole; over TLS that would be an alert.
func TestBrokenAnswerOverTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	for _, end := range []error{io.EOF, errors.New("broken")} {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := NewServer("", Limits{}, handlerFunc(func(x *message.Exchange) {
			x.Response.Status = 200
			x.Response.Body = &listBody{chunks: []string{"part"}, length: -1, err: end}
			_ = x.Wire().Respond(x)
		}))
		var work sync.WaitGroup
		work.Go(func() {
			if nc, err := socket.Accept(); err == nil {
				server.Admit()
				server.ServeConn(tls.Server(nc, config), netip.AddrPort{})
			}
		})
		nc, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		p := newPeer(t, nc).send("GET / HTTP/1.0\r\n\r\n")
		got, err := p.rest()
		if clean := err == nil; clean != (end == io.EOF) {
			t.Errorf("an answer that ends with %v ends with %v for the client: %q", end, err, got)
		}
		_ = nc.Close()
		_ = socket.Close()
		work.Wait()
	}
}
