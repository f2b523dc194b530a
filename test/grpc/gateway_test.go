package grpc

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/orca"

	"github.com/sluice-gateway/sluice/test/rig"
)

const configuration = `
admin: { address: "%s" }
telemetry: { access_log: {} }
listeners:
  - { name: plain, address: "%s", protocols: [http/1.1, h2] }
  - { name: secure, address: "%s", tls: { self_signed: true } }
upstreams:
  - { name: h2c, endpoints: ["http://%s"], protocol: h2 }
  - { name: h2, endpoints: ["https://%s"], protocol: h2, tls: { authorities: origin.pem, server_name: example.com } }
  - { name: gone, endpoints: ["http://%s"], protocol: h2 }
routes:
  - { name: h2c, match: { host: h2c.example.com, path: "/**" }, upstream: h2c }
  - { name: h2, match: { host: h2.example.com, path: "/**" }, upstream: h2 }
  - name: fallback
    match: { host: fallback.example.com, path: "/**" }
    fallback: { upstream: h2c, to: { upstream: h2 }, on: "grpc:resource_exhausted", header: x-fallback }
  - { name: gone, match: { host: gone.example.com, path: "/**" }, upstream: gone }
  - name: web
    match: { host: web.example.com, path: "/**" }
    policies: [{ grpc_web: {} }]
    upstream: h2c
  - name: weblocked
    match: { host: weblocked.example.com, path: "/**" }
    policies: [{ ip_rules: { allow: ["192.0.2.1"] } }, { grpc_web: {} }]
    upstream: h2c
  - name: webgone
    match: { host: webgone.example.com, path: "/**" }
    policies: [{ grpc_web: {} }]
    upstream: gone
  - name: locked
    match: { host: locked.example.com, path: "/**" }
    policies: [{ ip_rules: { allow: ["192.0.2.1"] } }]
    upstream: h2c
  - name: small
    match: { host: small.example.com, path: "/**" }
    policies: [{ request_limits: { body: 1KiB } }]
    upstream: h2c
`

// gateway is the binary between grpc-go's clients and grpc-go's servers.
type gateway struct {
	*rig.Gateway
	plain, secure string
	cancelled     *atomic.Int64 // calls of which the origins know that they were cancelled
}

// start runs a gateway with an origin in clear text and one over TLS.
func start(t *testing.T) *gateway {
	t.Helper()
	folder := t.TempDir()
	certificate := certificate(t, filepath.Join(folder, "origin.pem"))
	var addresses [4]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = address
	}
	cancelled := new(atomic.Int64)
	h2c := serve(t, cancelled)
	h2 := serve(t, cancelled, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(configuration, addresses[0], addresses[1], addresses[2], h2c, h2, addresses[3])
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
	return &gateway{Gateway: g, plain: addresses[1], secure: addresses[2], cancelled: cancelled}
}

// serve starts grpc-go's interop server and returns its address.
func serve(t *testing.T, cancelled *atomic.Int64, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, orca.CallMetricsServerOption(nil))...)
	pb.RegisterTestServiceServer(server, service{interop.NewTestServer(), cancelled})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// service is grpc-go's, which does not tell its name where a case asks for it, and has no
// call that waits.
type service struct {
	pb.TestServiceServer
	cancelled *atomic.Int64
}

// untilCancelled is a type of payload for which there is one message, that says in the
// header how much time is left, and then nothing until the call is cancelled.
const untilCancelled pb.PayloadType = 77

func (s service) StreamingOutputCall(request *pb.StreamingOutputCallRequest, stream pb.TestService_StreamingOutputCallServer) error {
	if request.GetResponseType() != untilCancelled {
		return s.TestServiceServer.StreamingOutputCall(request, stream)
	}
	if deadline, ok := stream.Context().Deadline(); ok {
		if err := stream.SetHeader(metadata.Pairs("x-left", time.Until(deadline).String())); err != nil {
			return err
		}
	}
	if err := stream.Send(&pb.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	s.cancelled.Add(1)
	return stream.Context().Err()
}

func (s service) UnaryCall(ctx context.Context, request *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	answer, err := s.TestServiceServer.UnaryCall(ctx, request)
	if err == nil && request.GetFillServerId() {
		answer.ServerId = "the only one"
	}
	return answer, err
}

// certificate borrows the one that net/http/httptest has, and writes it for the gateway.
func certificate(t *testing.T, file string) tls.Certificate {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.TLS.Certificates[0]
}

// dial makes a client that reaches the gateway over a wire and asks for a host.
func (g *gateway) dial(t *testing.T, wire, host string) *grpc.ClientConn {
	t.Helper()
	address, creds := g.plain, insecure.NewCredentials()
	if wire == "h2" {
		address, creds = g.secure, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) // The certificate is self-signed.
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds), grpc.WithAuthority(host),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
