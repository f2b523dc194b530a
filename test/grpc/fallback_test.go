package grpc

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestFallbackForAStatus makes calls that fail everywhere, one after the other: those whose message is there when the
// first origin is asked go to the second one, and none is disturbed by what grpc-go's servers do beside answering.
func TestFallbackForAStatus(t *testing.T) {
	t.Parallel()
	client := pb.NewTestServiceClient(start(t).dial(t, "h2c", "fallback.example.com"))
	request := &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: int32(codes.ResourceExhausted)}}
	asked := 0
	for i := range 400 {
		var header, trailer metadata.MD
		_, err := client.UnaryCall(t.Context(), request, grpc.Header(&header), grpc.Trailer(&trailer))
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatalf("call %d: %v", i, err)
		}
		if len(header.Get("x-fallback"))+len(trailer.Get("x-fallback")) > 0 {
			asked++
		}
	}
	if asked == 0 {
		t.Error("no call went to the second origin")
	}
	t.Logf("%d of 400 calls went to the second origin", asked)
}
