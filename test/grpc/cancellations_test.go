package grpc

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// TestCancellationsAreNoFlood has many clients whose calls run out of time, all over the few connections that the
// gateway has to their origin.
func TestCancellationsAreNoFlood(t *testing.T) {
	t.Parallel()
	g := start(t)
	const clients, calls = 8, 100
	var all sync.WaitGroup
	for i := range clients {
		client := pb.NewTestServiceClient(g.dial(t, "h2c", "h2c.example.com"))
		all.Go(func() {
			for j := range calls {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+(i+j)%10)*time.Millisecond)
				stream, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{ResponseType: untilCancelled})
				for err == nil {
					_, err = stream.Recv()
				}
				if !strings.Contains(err.Error(), "DeadlineExceeded") {
					t.Errorf("client %d, call %d: %v", i, j, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	// The connections that were there are there still, and work.
	if _, err := pb.NewTestServiceClient(g.dial(t, "h2c", "h2c.example.com")).EmptyCall(t.Context(), &pb.Empty{}); err != nil {
		t.Error(err)
	}
	_, metrics, err := g.Get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(metrics, "\n") {
		if strings.Contains(line, "_floods_total{") && !strings.HasSuffix(line, " 0") {
			t.Errorf("%s", line)
		}
	}
	if want := `sluice_upstream_connect_duration_seconds_count{upstream="h2c"} `; !strings.Contains(metrics, want+"1\n") {
		t.Errorf("the origin's connection was not shared:\n%s", metrics)
	}
}
