// Package grpc sends gRPC through the real binary, with grpc-go at both ends.
package grpc

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) {
	if chain := os.Getenv(behindEnv); chain != "" {
		os.Exit(beServer(chain))
	}
	grpclog.SetLoggerV2(logger{grpclog.NewLoggerV2(discard{}, discard{}, discard{})})
	os.Exit(rig.Main(m))
}

// discard is where grpc-go's log goes.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// logger turns what grpc-go's cases die of into a failure of one test.
type logger struct{ grpclog.LoggerV2 }

// failed is what such a case panics with.
type failed string

func (logger) Fatal(args ...any)                 { panic(failed(fmt.Sprint(args...))) }
func (logger) Fatalln(args ...any)               { panic(failed(fmt.Sprintln(args...))) }
func (logger) Fatalf(format string, args ...any) { panic(failed(fmt.Sprintf(format, args...))) }

// call is one of grpc-go's interop cases.
type call struct {
	name string
	do   func(context.Context, pb.TestServiceClient, ...grpc.CallOption)
}

// calls are the cases that talk to the test service. Those that need an account at a
// cloud are not here, nor is orca_oob, whose server would have to report more often than grpc-go lets others allow.
var calls = []call{
	{"empty_unary", interop.DoEmptyUnaryCall},
	{"large_unary", interop.DoLargeUnaryCall},
	{"client_streaming", interop.DoClientStreaming},
	{"server_streaming", interop.DoServerStreaming},
	{"ping_pong", interop.DoPingPong},
	{"empty_stream", interop.DoEmptyStream},
	{"timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer},
	{"cancel_after_begin", func(ctx context.Context, client pb.TestServiceClient, options ...grpc.CallOption) {
		interop.DoCancelAfterBegin(ctx, heeding{client}, options...)
	}},
	{"cancel_after_first_response", interop.DoCancelAfterFirstResponse},
	{"custom_metadata", interop.DoCustomMetadata},
	{"status_code_and_message", interop.DoStatusCodeAndMessage},
	{"special_status_message", interop.DoSpecialStatusMessage},
}

// heeding is a client that has heeded a cancellation before it ends its stream of messages. The case cancels
// and ends at once: on a busy machine the service has answered the end before grpc-go looks at either, and
// then it takes the answer as often as not.
type heeding struct{ pb.TestServiceClient }

func (c heeding) StreamingInputCall(ctx context.Context, options ...grpc.CallOption) (pb.TestService_StreamingInputCallClient, error) {
	stream, err := c.TestServiceClient.StreamingInputCall(ctx, options...)
	return heedingStream{stream}, err
}

type heedingStream struct {
	pb.TestService_StreamingInputCallClient
}

func (s heedingStream) CloseAndRecv() (*pb.StreamingInputCallResponse, error) {
	_, _ = s.Header() // Comes with the end of the messages at the earliest, or with the cancellation.
	return s.TestService_StreamingInputCallClient.CloseAndRecv()
}

// others are the cases that take something else; open makes a client of its own for each call of one of them.
func others(conn *grpc.ClientConn, open func() *grpc.ClientConn) []call {
	client := pb.NewTestServiceClient(conn)
	return []call{
		{"unimplemented_method", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedMethod(ctx, conn)
		}},
		{"unimplemented_service", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedService(ctx, pb.NewUnimplementedServiceClient(conn))
		}},
		{"pick_first_unary", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoPickFirstUnary(ctx, client)
		}},
		{"orca_per_rpc", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoORCAPerRPCTest(ctx, client)
		}},
		{"rpc_soak", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			soak(ctx, func() (*grpc.ClientConn, func()) { return conn, func() {} })
		}},
		{"channel_soak", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			soak(ctx, func() (*grpc.ClientConn, func()) {
				own := open()
				return own, func() { _ = own.Close() }
			})
		}},
	}
}

func soak(ctx context.Context, channel func() (*grpc.ClientConn, func())) {
	interop.DoSoakTest(ctx, interop.SoakTestConfig{
		RequestSize: 27182, ResponseSize: 31415, PerIterationMaxAcceptableLatency: rig.Patience, OverallTimeout: rig.Patience,
		NumWorkers: 4, Iterations: 40, ChannelForTest: channel,
	})
}

// run does a case and tells what it died of.
func (c *call) run(t *testing.T, client pb.TestServiceClient, options ...grpc.CallOption) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*rig.Patience)
	defer cancel()
	defer func() {
		switch why := recover().(type) {
		case nil:
		case failed:
			t.Error(strings.TrimSpace(string(why)))
		default:
			panic(why)
		}
	}()
	c.do(ctx, client, options...)
}

// TestInterop runs grpc-go's interop cases over each way in and to each kind of origin.
func TestInterop(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, in := range []string{"h2c", "h2"} {
		for _, to := range []string{"h2c", "h2"} {
			conn := g.dial(t, in, to+".example.com")
			client := pb.NewTestServiceClient(conn)
			for _, c := range slices.Concat(calls, others(conn, func() *grpc.ClientConn { return g.dial(t, in, to+".example.com") })) {
				t.Run(in+" to "+to+"/"+c.name, func(t *testing.T) { c.run(t, client) })
			}
			for _, c := range calls {
				t.Run(in+" to "+to+"/gzip/"+c.name, func(t *testing.T) { c.run(t, client, grpc.UseCompressor(gzip.Name)) })
			}
		}
	}
	if strings.Contains(g.Log(), `"panic"`) {
		t.Errorf("the gateway panicked: %s", g.Log())
	}
}

// TestHalfDuplex reads nothing before everything is sent; grpc-go has no case of its
// own for it.
func TestHalfDuplex(t *testing.T) {
	t.Parallel()
	g := start(t)
	stream, err := pb.NewTestServiceClient(g.dial(t, "h2", "h2c.example.com")).HalfDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for size := range int32(5) {
		request := &pb.StreamingOutputCallRequest{ResponseParameters: []*pb.ResponseParameters{{Size: size << 14}}}
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for size := range int32(5) {
		answer, err := stream.Recv()
		if err != nil || len(answer.GetPayload().GetBody()) != int(size<<14) {
			t.Fatalf("message %d has %d bytes and %v", size, len(answer.GetPayload().GetBody()), err)
		}
	}
}
