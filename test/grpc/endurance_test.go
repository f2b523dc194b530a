package grpc

import (
	"errors"
	"io"
	"strings"
	"testing"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// TestManyMessages sends thousands of small messages over one connection on each side: what gRPC's implementations
// send beside them (pings that measure bandwidth, windows) is no flood.
func TestManyMessages(t *testing.T) {
	t.Parallel()
	g := start(t)
	const messages = 2000
	for _, in := range []string{"h2c", "h2"} {
		for _, to := range []string{"h2c", "h2"} {
			client := pb.NewTestServiceClient(g.dial(t, in, to+".example.com"))
			for name, do := range map[string]func() error{
				"answers": func() error {
					asked := &pb.StreamingOutputCallRequest{}
					for range messages {
						asked.ResponseParameters = append(asked.ResponseParameters, &pb.ResponseParameters{Size: 1, IntervalUs: 50})
					}
					stream, err := client.StreamingOutputCall(t.Context(), asked)
					for n := 0; err == nil; n++ {
						if _, err = stream.Recv(); err == io.EOF && n == messages {
							return nil
						}
					}
					return err
				},
				"requests": func() error {
					stream, err := client.StreamingInputCall(t.Context())
					for range messages {
						if err == nil {
							err = stream.Send(&pb.StreamingInputCallRequest{Payload: &pb.Payload{Body: []byte("x")}})
						}
					}
					if err != nil {
						return err
					}
					got, err := stream.CloseAndRecv()
					if err == nil && got.AggregatedPayloadSize != messages {
						return errors.New("some were lost")
					}
					return err
				},
				"calls": func() error {
					for range messages / 4 {
						if _, err := client.EmptyCall(t.Context(), &pb.Empty{}); err != nil {
							return err
						}
					}
					return nil
				},
			} {
				if err := do(); err != nil {
					t.Errorf("%s to %s, %s: %v", in, to, name, err)
				}
			}
		}
	}
	if _, body, err := g.Get("/metrics"); err != nil {
		t.Error(err)
	} else {
		floods(t, body)
	}
}

// floods reports the floods that were counted.
func floods(t *testing.T, metrics string) {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if strings.Contains(line, "_floods_total{") && !strings.HasSuffix(line, "} 0\n") {
			t.Error(line)
		}
	}
}
