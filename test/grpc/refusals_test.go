package grpc

import (
	"context"
	"maps"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/sluice-gateway/sluice/test/rig"
)

// TestRefusals asks for what the gateway refuses, and reads the refusals with grpc-go.
func TestRefusals(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, in := range []string{"h2c", "h2"} {
		for _, c := range []struct {
			host   string
			bytes  int
			code   codes.Code
			reason string
			source string
			retry  string
		}{
			{"nobody.example.com", 1, codes.Unimplemented, "route_not_found", "client", "no"},
			{"locked.example.com", 1, codes.PermissionDenied, "address_refused", "client", "no"},
			{"small.example.com", 1 << 20, codes.ResourceExhausted, "request_too_large", "client", "no"},
			{"gone.example.com", 1, codes.Unavailable, "upstream_connect_failed", "upstream", "yes"},
		} {
			t.Run(in+"/"+c.reason, func(t *testing.T) {
				client := pb.NewTestServiceClient(g.dial(t, in, c.host))
				ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
				defer cancel()
				request := &pb.SimpleRequest{Payload: interop.ClientNewPayload(pb.PayloadType_COMPRESSABLE, c.bytes)}
				_, err := client.UnaryCall(ctx, request)
				refused(t, err, c.code, c.reason, c.source, c.retry)

				stream, err := client.FullDuplexCall(ctx)
				if err != nil {
					t.Fatal(err)
				}
				// An error of Send is io.EOF; what has happened, Recv tells.
				_ = stream.Send(&pb.StreamingOutputCallRequest{Payload: request.Payload})
				_, err = stream.Recv()
				refused(t, err, c.code, c.reason, c.source, c.retry)
			})
		}
	}
	if log := g.Log(); strings.Contains(log, `"panic"`) {
		t.Errorf("the gateway panicked: %s", log)
	}
}

// refused checks the status that a client got.
func refused(t *testing.T, err error, code codes.Code, reason, source, retry string) {
	t.Helper()
	s, ok := status.FromError(err)
	if !ok || s.Code() != code || s.Message() == "" || len(s.Details()) != 1 {
		t.Fatalf("%v is no refusal with %v: %v", err, code, s.Details())
	}
	info, ok := s.Details()[0].(*errdetails.ErrorInfo)
	if !ok {
		t.Fatalf("the detail is a %T", s.Details()[0])
	}
	want := map[string]string{"source": source, "retry": retry}
	if info.GetReason() != reason || info.GetDomain() != "sluice" || !maps.Equal(info.GetMetadata(), want) {
		t.Errorf("the detail is %v", info)
	}
}
