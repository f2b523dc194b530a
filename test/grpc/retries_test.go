package grpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/sluice-gateway/sluice/test/rig"
)

const retriesConfiguration = `
admin: { address: "%s" }
listeners: [{ name: plain, address: "%s", protocols: [http/1.1, h2] }]
upstreams:
  - name: unsteady
    endpoints: ["http://%s"]
    protocol: h2
    retry: { attempts: 3, on: ["grpc:unavailable"], budget: 100%%, budget_minimum: 100, backoff: { base: 1ms, max: 1ms } }
routes: [{ name: all, upstream: unsteady }]
`

// unsteady refuses every other call.
type unsteady struct {
	pb.UnimplementedTestServiceServer
	calls atomic.Int64
}

func (s *unsteady) UnaryCall(_ context.Context, request *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if s.calls.Add(1)%2 == 1 {
		return nil, status.Error(codes.Unavailable, "busy")
	}
	return &pb.SimpleResponse{Payload: request.Payload}, nil
}

// TestCallsAreSentAgain makes calls with one message, whose length nobody announces, of an origin that
// refuses every other one. A call of which not all has come when it is sent on is not sent again, so not all of
// them need succeed.
func TestCallsAreSentAgain(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, origin := grpc.NewServer(), &unsteady{}
	pb.RegisterTestServiceServer(server, origin)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	var addresses [2]string
	for i := range addresses {
		if addresses[i], err = rig.FreeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(retriesConfiguration, addresses[0], addresses[1], listener.Addr())
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
	conn, err := grpc.NewClient(addresses[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewTestServiceClient(conn)
	const calls = 100
	again := 0
	for range calls {
		before := origin.calls.Load()
		answer, err := client.UnaryCall(t.Context(), &pb.SimpleRequest{Payload: &pb.Payload{Body: []byte("hello")}})
		switch {
		case err == nil && string(answer.Payload.Body) != "hello":
			t.Fatalf("the answer is %v", answer)
		case err != nil && status.Code(err) != codes.Unavailable:
			t.Fatal(err)
		case err == nil && origin.calls.Load() == before+2:
			again++
		}
	}
	t.Logf("%d of %d were sent again", again, calls)
	if again == 0 {
		t.Error("no call was sent again")
	}
}
