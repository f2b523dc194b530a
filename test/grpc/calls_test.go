package grpc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluice-gateway/sluice/test/rig"
)

// TestDeadlineReachesTheOrigin looks at the deadline that the origin knows of.
func TestDeadlineReachesTheOrigin(t *testing.T) {
	t.Parallel()
	g := start(t)
	client := pb.NewTestServiceClient(g.dial(t, "h2", "h2.example.com"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var header metadata.MD
	if err := watch(ctx, client, &header); err != nil {
		t.Fatal(err)
	}
	left, err := time.ParseDuration(strings.Join(header.Get("x-left"), " "))
	if err != nil || left <= 0 || left > time.Hour {
		t.Errorf("the origin says that %v are left of an hour: %v", left, err)
	}
}

// watch begins a call that the origin ends when it is cancelled, and waits for its first message.
func watch(ctx context.Context, client pb.TestServiceClient, header *metadata.MD) error {
	stream, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{ResponseType: untilCancelled})
	if err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	*header, err = stream.Header()
	return err
}

// TestCancelReachesTheOrigin cancels a call in the middle of its answer, and asks the
// origin whether it has heard of it.
func TestCancelReachesTheOrigin(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, in := range []string{"h2c", "h2"} {
		for _, to := range []string{"h2c", "h2"} {
			conn := g.dial(t, in, to+".example.com")
			client := pb.NewTestServiceClient(conn)
			ctx, cancel := context.WithCancel(t.Context())
			var header metadata.MD
			if err := watch(ctx, client, &header); err != nil {
				t.Fatal(in, to, err)
			}
			cancel()
			err := rig.Eventually(func() error {
				if g.cancelled.Load() == 0 {
					return fmt.Errorf("%s to %s: the origin was not told", in, to)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			g.cancelled.Store(0)
		}
	}
}

// TestStatusOfRefusalsInTheLog reads what the gateway writes of a refusal.
func TestStatusOfRefusalsInTheLog(t *testing.T) {
	t.Parallel()
	g := start(t)
	_, err := pb.NewTestServiceClient(g.dial(t, "h2", "locked.example.com")).EmptyCall(t.Context(), &pb.Empty{})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	err = rig.Eventually(func() error {
		for line := range strings.Lines(g.Log()) {
			if strings.Contains(line, `"problem":"address_refused"`) && strings.Contains(line, `"status":403`) {
				return nil
			}
		}
		return fmt.Errorf("no such line in %s", g.Log())
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLargeMetadata has metadata come back in the head and behind the last message, which have the same limit.
func TestLargeMetadata(t *testing.T) {
	t.Parallel()
	g := start(t)
	const first, last = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
	large := strings.Repeat("\x00\xff=,", 1500)
	for _, in := range []string{"h2c", "h2"} {
		var header, trailer metadata.MD
		ctx := metadata.AppendToOutgoingContext(t.Context(), first, strings.Repeat("x", 12_000), last, large)
		_, err := pb.NewTestServiceClient(g.dial(t, in, "h2.example.com")).UnaryCall(ctx, &pb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil || len(strings.Join(header.Get(first), "")) != 12_000 || strings.Join(trailer.Get(last), "") != large {
			t.Errorf("%s: %v, %d and %d bytes", in, err, len(strings.Join(header.Get(first), "")), len(strings.Join(trailer.Get(last), "")))
		}
	}
}
